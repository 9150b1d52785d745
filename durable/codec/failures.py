"""An exception to what is kept of it, and back to the exception that the function sees.

Separate because it must work for any exception whatever, and needs nothing of how values are written.
Leaves to `bodies` how a `RecordedError` is written, to `retries` which errors are final.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType

from durable.errors import InvokeTimeoutError, RecordedError, SignalConflictError, StepError

MESSAGE_BYTES = 16 * 1024
STACK_BYTES = 32 * 1024

_CAUSES = 5
_LISTED = 50
_GROUPS = 5
_FRAMES = 100
_LAST_LINE = 1_000
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_RAISED = {cls.__name__: cls for cls in (InvokeTimeoutError, SignalConflictError)}


def recorded(error: BaseException) -> RecordedError:
    """Return what is kept of the exception.

    `message` is `str(error)`, at most 16 KiB in UTF-8, and lists what an exception group holds. `stack` is the
    traceback without locals, at most 32 KiB, its first and last frames; frames of this library that lead are left
    out. `causes` are up to five. A `StepError` is kept under the name and message of the error that it stands for.
    Never raises because of the exception: one that cannot be shown says so. Source: rules R10, R14.
    """
    return _kept(error, tuple(_kept(cause, ()) for cause in _causes(error)))


def raised(error: RecordedError, key: str) -> StepError:
    """Return the exception that the function sees for the step recorded under `key`.

    An `InvokeTimeoutError` or a `SignalConflictError` if that was its name, else a `StepError`.
    """
    cls = _RAISED.get(error.name, StepError)
    return cls(error.name, error.message, error.stack, key)


def _kept(error: BaseException, causes: tuple[RecordedError, ...]) -> RecordedError:
    if isinstance(error, StepError):
        return RecordedError(
            name=str(error.name),
            message=_cut(str(error.message), MESSAGE_BYTES),
            stack=_cut(str(error.stack), STACK_BYTES) or _stack(error),
            step_id=str(error.step_id),
            causes=causes,
        )
    message = _cut("\n".join(_lines(error, 0)), MESSAGE_BYTES)
    return RecordedError(name=_name(error), message=message, stack=_stack(error), causes=causes)


def _name(error: BaseException) -> str:
    return type(error).__name__


def _message(error: BaseException) -> str:
    try:
        return str.__str__(str(error))
    except Exception as broken:  # a __str__ of the user's
        return f"<its message cannot be shown: {_name(broken)} in __str__>"


def _lines(error: BaseException, depth: int) -> Iterator[str]:
    yield _message(error)
    if not isinstance(error, BaseExceptionGroup):
        return
    if depth == _GROUPS:
        yield "  " * depth + "- ..."
        return
    indent = "  " * depth
    for inner in error.exceptions[:_LISTED]:
        first, *more = _lines(inner, depth + 1)
        yield f"{indent}- {_name(inner)}: {first}"
        yield from more
    if len(error.exceptions) > _LISTED:
        yield f"{indent}- and {len(error.exceptions) - _LISTED} more"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    cause = _cause(error)
    while cause is not None and id(cause) not in seen and len(seen) <= _CAUSES:
        yield cause
        seen.add(id(cause))
        cause = _cause(cause)


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.__context__


def _stack(error: BaseException) -> str:
    frames = _frames(error.__traceback__)
    last = f"{_name(error)}: {_message(error)}"
    end = _cut(last, _LAST_LINE) + "\n"
    if not frames:
        return end
    try:
        shown = "".join(traceback.StackSummary.extract(iter(frames), lookup_lines=True).format())
    except Exception as broken:  # a loader of the user's may raise when it is asked for a line
        shown = f"  <its frames cannot be shown: {_name(broken)}>\n"
    head = "Traceback (most recent call last):\n"
    return head + _cut(shown, STACK_BYTES - len(head) - len(end.encode("utf-8", "replace"))) + end


def _frames(trace: TracebackType | None) -> list[tuple[FrameType, int]]:
    frames = list(traceback.walk_tb(trace))
    leading = 0
    while leading < len(frames) and frames[leading][0].f_code.co_filename.startswith(_PACKAGE):
        leading += 1
    # An error raised by the library alone keeps its frames.
    frames = frames[leading:] or frames
    return frames if len(frames) <= 2 * _FRAMES else frames[:_FRAMES] + frames[-_FRAMES:]


def _cut(text: str, limit: int) -> str:
    """Return the text within `limit` bytes of UTF-8: its first and last parts, and a mark of what is missing."""
    if len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= limit:
        return text
    half = (limit - 60) // 2
    first, last = (part.decode("utf-8", "ignore") for part in (data[:half], data[-half:]))
    return f"{first}\n[... {len(data) - 2 * half} bytes cut ...]\n{last}"
