"""R14: what is kept of an exception, and the exception that the function sees."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from durable.errors import CodecError, InvokeTimeoutError, RecordedError, SignalConflictError, StepError
from durable.journal.codec.failures import raised, recorded
from durable.journal.codec.values import decode
from durable.timers.durations import duration


def caught(error: BaseException) -> BaseException:
    try:
        secret = "a local that must not be kept"
        raise error
    except BaseException as same:
        assert secret
        return same


def test_name_message_and_stack_are_kept() -> None:
    error = recorded(caught(ValueError("boom")))
    assert (error.name, error.message, error.step_id, error.causes) == ("ValueError", "boom", None, ())
    assert error.stack.startswith("Traceback (most recent call last):\n")
    assert error.stack.endswith("ValueError: boom\n")
    assert "in caught" in error.stack and "must not be kept" not in error.stack.replace('secret = "a local', "")


def test_an_exception_that_was_never_raised_has_no_frames() -> None:
    assert recorded(KeyError("k")).stack == "KeyError: 'k'\n"


def test_causes_are_five_deep_and_outermost_first() -> None:
    """R14"""
    error: Exception = ValueError("0")
    for number in range(1, 9):
        try:
            raise ValueError(str(number)) from error
        except ValueError as next_:
            error = next_
    assert [cause.message for cause in recorded(error).causes] == ["7", "6", "5", "4", "3"]


def test_a_context_counts_unless_it_is_suppressed() -> None:
    def chained(suppressed: Any) -> RecordedError:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                if suppressed:
                    raise ValueError("second") from None
                raise ValueError("second")  # noqa: B904
        except ValueError as error:
            return recorded(error)

    assert [cause.name for cause in chained(None).causes] == ["KeyError"]
    assert chained("yes").causes == ()


def test_causes_in_a_circle_end() -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert [cause.message for cause in recorded(one).causes] == ["2"]


def test_a_group_lists_what_it_holds() -> None:
    """R14"""
    inner = ExceptionGroup("inner", [KeyError("k"), StepError("OSError", "disk", "", "save")])
    message = recorded(ExceptionGroup("outer", [ValueError("v"), inner])).message
    assert message.splitlines() == [
        "outer (2 sub-exceptions)",
        "- ValueError: v",
        "- ExceptionGroup: inner (2 sub-exceptions)",
        "  - KeyError: 'k'",
        "  - StepError: step 'save': OSError: disk",
    ]


@pytest.mark.parametrize("text", ["x" * 100_000, "é" * 100_000, "\ud800" * 100_000])
def test_a_long_message_is_cut_with_a_mark(text: str) -> None:
    """R14: 16 KiB."""
    message = recorded(ValueError("start" + text + "end")).message
    assert len(message.encode("utf-8", "surrogatepass")) <= 16 * 1024
    assert message.startswith("start") and message.endswith("end") and "bytes cut" in message


def test_a_long_stack_keeps_its_first_and_last_frames() -> None:
    """R14: 32 KiB."""

    def first() -> None:
        exec(code, {"last": last})

    def last() -> None:
        raise ValueError("boom")

    names = [f"frame_number_{number:04}_{'x' * 200}" for number in range(150)]
    lines = [f"def {name}(): {next_}()" for name, next_ in zip(names, [*names[1:], "last"], strict=True)]
    code = compile("\n".join([*lines, f"{names[0]}()"]), "<made>", "exec")
    try:
        first()
    except ValueError as error:
        stack = recorded(error).stack
    assert len(stack.encode()) <= 32 * 1024
    assert "in first" in stack and "in last" in stack and "bytes cut" in stack
    assert stack.endswith("ValueError: boom\n")


def test_endless_recursion_is_kept() -> None:
    def endless() -> None:
        endless()

    try:
        endless()
    except RecursionError as error:
        kept = recorded(error)
    assert kept.name == "RecursionError" and len(kept.stack.encode()) <= 32 * 1024


def test_a_message_that_cannot_be_shown_says_so() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    error = recorded(caught(Broken()))
    assert error.name == "Broken"
    assert "cannot be shown" in error.message and "RuntimeError" in error.message


def test_a_message_of_a_string_subclass_is_kept_as_text() -> None:
    class Text(str):
        pass

    class Named(Exception):
        def __str__(self) -> str:
            return Text("t")

    assert type(recorded(Named()).message) is str


def test_frames_of_the_library_that_end_a_stack_are_left_out() -> None:
    """What durable says of an argument stands at the line that gave it."""
    with pytest.raises(ValueError) as caught_:
        duration("5 minutes")
    stack = recorded(caught_.value).stack
    assert "times.py" not in stack and "duration(" in stack and "cannot be '5 minutes'" in stack


def test_frames_of_the_library_that_lead_are_left_out() -> None:
    def handler() -> None:
        raise ValueError("boom")

    class Lists(list[int]):
        def __init__(self, _: object) -> None:
            handler()

    try:
        decode('{"~=Lists":[]}', Lists)
    except CodecError as error:
        assert error.__cause__ is not None
        cause = error.__cause__
    assert len(traceback.extract_tb(cause.__traceback__)) > 2
    stack = recorded(cause).stack
    assert "values.py" not in stack and "in handler" in stack


def test_an_error_of_the_library_alone_keeps_its_frames() -> None:
    with pytest.raises(CodecError) as caught_:
        decode("{")
    caught_.value.__traceback__ = caught_.tb.tb_next
    assert "values.py" in recorded(caught_.value).stack


def test_a_step_error_is_kept_under_the_original_name() -> None:
    """R14"""
    error = recorded(caught(StepError("ValueError", "boom", "the stack", "charge:1")))
    assert error == RecordedError("ValueError", "boom", "the stack", "charge:1")


@pytest.mark.parametrize("cls", [StepError, InvokeTimeoutError, SignalConflictError])
def test_the_function_sees_the_class_that_was_recorded(cls: type[StepError]) -> None:
    """R14: the same live and on replay, also when it left one run and is the failure of another's step."""
    name = "ValueError" if cls is StepError else cls.__name__
    first = raised(RecordedError(name, "boom", "s"), "a")
    again = raised(recorded(first), "b")
    for error, key in ((first, "a"), (again, "b")):
        assert type(error) is cls
        assert (error.name, error.message, error.stack, error.step_id) == (name, "boom", "s", key)
