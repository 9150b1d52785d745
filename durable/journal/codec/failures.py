"""Turn an exception into a `RecordedError`, and that into a `StepError`.

Separate because it must work for every exception, and does not depend on how values are written.
Leaves to `write` the text of a `RecordedError`, to `retries` the choice of final errors.

Nothing is read from an exception that its class could override (see `guests`), except `__str__`, the notes, and the
attributes of a subclass of the library's errors. These may raise anything.

Text is made safe here once, so that it can go anywhere afterwards, to a column, JSON or a terminal: halves of surrogate
pairs, which no encoding can hold, are written as `\\ud83d`.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from types import FrameType, TracebackType

from durable.errors import HOME, InvokeTimeoutError, RecordedError, SignalConflictError, StepError
from durable.journal.codec.guests import cause_of, is_of, members_of, name_of, text_of, trace_of
from durable.timers import keepable

MESSAGE_BYTES = 16 * 1024
STACK_BYTES = 32 * 1024

_NAME_BYTES = 1_000
_CAUSES = 5
_LISTED = 50
_LINES = 500
_GROUPS = 5
_MEMBER_BYTES = 600  # the least of a group member's stack that is of any use
_NOTES = 20
_FRAMES = 100
_LAST_LINE = 1_000
_RAISED = {cls.__name__: cls for cls in (InvokeTimeoutError, SignalConflictError)}


def recorded(error: BaseException, *, notes: Iterable[str] = (), before: BaseException | None = None) -> RecordedError:
    """Return the record of an exception.

    `message` is `str(error)`, at most 16 KiB in UTF-8, followed by the members of an exception group. `stack` is the
    traceback without locals, cut to its first and last frames, at most 32 KiB. It leaves out frames of this library,
    and does not end in asyncio's: its last line is the user's. The notes follow it, then the stacks of a group's
    members and of what caused them. There are at most five `causes`. A `StepError` is kept under the name, the message,
    the stack and the causes of the error that it stands for.

    `notes` are added to the error's own. `before` is an error that could not be recorded because of this one: it
    becomes one of the causes.

    No exception makes this raise: the record of one that cannot be shown says so. Source: rules R10, R14.
    """
    try:
        causes = _causes(error)
        if before is not None and not any(one is before for one in _chain(error)):
            causes = [_kept(before), *_causes(before), *causes]
        return _kept(error, tuple(causes[:_CAUSES]), tuple(notes))
    except Exception as broken:  # no more stack or memory
        return RecordedError(_name(error), f"<the error cannot be shown: {_name(broken)}>")


def raised(error: RecordedError, key: str) -> StepError:
    """Return the exception that the function gets for the failed step `key`.

    It is an `InvokeTimeoutError` or a `SignalConflictError` if it is recorded under that name, else a `StepError`.
    """
    cls = _RAISED.get(error.name, StepError)
    return cls(error.name, error.message, error.stack, key, error.causes)


def _kept(error: BaseException, causes: tuple[RecordedError, ...] = (), notes: Sequence[str] = ()) -> RecordedError:
    name = _attribute(error, "name") if is_of(error, StepError) else ""
    if name:
        stack = _attribute(error, "stack")
        return RecordedError(
            name=_cut(name, _NAME_BYTES),
            message=_cut(_attribute(error, "message"), MESSAGE_BYTES),
            stack=_with_notes(stack, error, notes, STACK_BYTES) if stack else _stack(error, notes),
            step_id=_attribute(error, "step_id") or None,
            causes=causes,
        )
    message = _cut("\n".join(islice(_lines(error), _LINES)), MESSAGE_BYTES)
    return RecordedError(name=_name(error), message=message, stack=_stack(error, notes), causes=causes)


def _name(error: BaseException) -> str:
    return _cut(name_of(error), _NAME_BYTES)


def _message(error: BaseException) -> str:
    return _cut(text_of(error, what="message"), MESSAGE_BYTES)


def _attribute(error: BaseException, name: str) -> str:
    """Return an attribute of a library error's subclass as text, or ""."""
    try:
        value = getattr(error, name)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a user's property has failed: leave its text out
        return ""
    return "" if value is None else keepable(text_of(value, what=name))


def _lines(error: BaseException, depth: int = 0, start: str = "") -> Iterator[str]:
    yield start + _message(error)
    inside = members_of(error)
    indent = "  " * depth
    if inside and depth == _GROUPS:
        yield f"{indent}- ..."
        return
    for inner in inside[:_LISTED]:
        yield from _lines(inner, depth + 1, f"{indent}- {_name(inner)}: ")
    if len(inside) > _LISTED:
        yield f"{indent}- and {len(inside) - _LISTED} more"


def _causes(error: BaseException) -> list[RecordedError]:
    told = _told_causes(error) if is_of(error, StepError) else ()
    return list(told) or [_kept(cause) for cause in _chain(error)]


def _told_causes(error: BaseException) -> tuple[RecordedError, ...]:
    try:
        told = getattr(error, "causes", ())
    except KeyboardInterrupt:
        raise
    except BaseException:  # a user's property has failed
        return ()
    return tuple(cause for cause in told if type(cause) is RecordedError) if type(told) is tuple else ()


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    cause = cause_of(error)
    while cause is not None and id(cause) not in seen and len(seen) <= _CAUSES:
        yield cause
        seen.add(id(cause))
        cause = cause_of(cause)


# The stack.


def _stack(error: BaseException, notes: Sequence[str] = (), limit: int = STACK_BYTES, depth: int = 0) -> str:
    inside = members_of(error)
    own = limit // 2 if inside else limit
    end = _with_notes(_cut(f"{_name(error)}: {_message(error)}", min(_LAST_LINE, own)) + "\n", error, notes, own // 2)
    frames = _frames(trace_of(error))
    text = end
    if frames:
        head = "Traceback (most recent call last):\n"
        text = head + _cut(_shown(frames), own - len(head) - _size(end)) + end
    return text + "".join(_member_stacks(inside, limit - own, depth))


def _member_stacks(inside: Sequence[BaseException], limit: int, depth: int) -> Iterator[str]:
    shown = inside[: max(limit // _MEMBER_BYTES, 1)] if limit >= _MEMBER_BYTES and depth < _GROUPS else ()
    for number, inner in enumerate(shown, 1):
        yield f"  +---------------- {number} ----------------\n"
        each = limit // len(shown) - 100
        told = _attribute(inner, "stack") if is_of(inner, StepError) else ""
        stack = _cut(told.rstrip("\n"), each) + "\n" if told else _stack(inner, (), each, depth + 1)
        causes = "".join(f"caused by {_cut(str(cause), _LAST_LINE)}\n{_frames_in(cause)}" for cause in _causes(inner))
        lines = _cut(f"{stack}{causes}".rstrip("\n"), each).splitlines()
        yield "".join(f"  | {line}\n" for line in lines)
    if len(shown) < len(inside):
        yield f"  +---------------- and {len(inside) - len(shown)} more\n"


def _frames_in(cause: RecordedError) -> str:
    return cause.stack if "\n  File " in cause.stack else ""


def _with_notes(text: str, error: BaseException, notes: Sequence[str], limit: int) -> str:
    own = text.strip("\n")  # a StepError carries its stack as a note
    told = [note for note in map(keepable, (*_notes(error), *notes)) if note != own]
    if not told:
        return _cut(text, limit)
    added = _cut("\n".join(told), limit // 2) + "\n"
    return _cut(text.rstrip("\n"), limit - _size(added) - 1) + "\n" + added


def _notes(error: BaseException) -> list[str]:
    try:
        found = object.__getattribute__(error, "__notes__")
    except KeyboardInterrupt:
        raise
    except BaseException:  # there is no such attribute, or a user's property has failed
        return []
    base = next((base for base in (list, tuple) if issubclass(type(found), base)), None)
    if base is None:
        return []
    return [text_of(note, what="note") for note in base.__getitem__(found, slice(0, _NOTES))]


def _shown(frames: list[tuple[FrameType, int]]) -> str:
    try:
        return keepable("".join(traceback.StackSummary.extract(iter(frames), lookup_lines=True).format()))
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # a user's module loader may raise when it is asked for a line
        return f"  <its frames cannot be shown: {_name(broken)}>\n"


def _frames(trace: TracebackType | None) -> list[tuple[FrameType, int]]:
    frames = list(traceback.walk_tb(trace))
    # Readers look for lines of their own. If all frames are the library's, they are kept.
    frames = [frame for frame in frames if not frame[0].f_code.co_filename.startswith(HOME)] or frames
    last = len(frames)
    while last and _is_of_loop(frames[last - 1][0]):  # what waits for tasks, and raises what they ended with
        last -= 1
    frames = frames[:last] or frames
    return frames if len(frames) <= 2 * _FRAMES else frames[:_FRAMES] + frames[-_FRAMES:]


def _is_of_loop(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    return type(module) is str and module.partition(".")[0] in ("asyncio", "anyio")


# Text.


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))


def _cut(text: str, limit: int) -> str:
    """Return a safe text of at most `limit` bytes of UTF-8.

    Of a longer one the first and last parts are kept, with a mark between them.
    """
    if len(text) > 2 * limit:  # else a gigabyte of text would be encoded, only to be cut
        first, last, missing = keepable(text[:limit]), keepable(text[-limit:]), len(text) - limit
    else:
        first = last = text = keepable(text)
        if len(text) * 4 <= limit or _size(text) <= limit:
            return text
        missing = _size(text) - limit
    half = max(limit - 60, 0) // 2
    head = first.encode()[:half].decode("utf-8", "ignore")
    tail = last.encode()[-half:].decode("utf-8", "ignore") if half else ""
    return f"{head}\n[... {missing + 60} bytes cut ...]\n{tail}"
