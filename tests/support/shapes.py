"""Define exceptions of every shape that a class can give them.

They are frozen, have slots, lie about themselves, or raise when they are read.

Separate because errors enter the library in many places, each of which must accept every shape.
Leaves to the tests the raising.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, NoReturn

import attrs

from durable import DriftError, NonRetriableError, RetryAfterError, StepError

Make = Callable[[], BaseException]
SHAPES: dict[str, Make] = {}


def shape(make: Make) -> Make:
    """Register a shape under its function's name."""
    SHAPES[make.__name__.replace("_", " ")] = make
    return make


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Raise, as every reading of an unwilling exception does."""
    raise RuntimeError("look away")


@shape
def a_plain_one() -> BaseException:
    return ValueError("boom")


@dataclasses.dataclass(frozen=True)
class Declined(Exception):
    reason: str = "no money"


@shape
def a_frozen_dataclass() -> BaseException:
    return Declined()


@shape
def a_frozen_attrs_class() -> BaseException:
    @attrs.frozen
    class Frozen(Exception):
        reason: str = "no money"

    return Frozen()


@shape
def one_with_slots_that_takes_no_attribute() -> BaseException:
    class Slotted(Exception):
        __slots__ = ("code",)

        def __setattr__(self, name: str, value: object) -> NoReturn:
            refuse()

    return Slotted("boom")


def unwilling(*names: str, base: type[BaseException] = Exception, how: Callable[..., Any] = refuse) -> BaseException:
    """Return an exception that raises, or lies, where one of these attributes is read."""
    return type("Unwilling", (base,), {name: property(how) for name in names})("boom")


for _name in (
    "__cause__",
    "__context__",
    "__traceback__",
    "__notes__",
    "__suppress_context__",
    "__class__",
    "__dict__",
):
    SHAPES[f"{_name} raises"] = lambda name=_name: unwilling(name)  # type: ignore[misc]
    SHAPES[f"{_name} lies"] = lambda name=_name: unwilling(name, how=lambda self: 7)  # type: ignore[misc]
for _name in (
    "__str__",
    "__repr__",
    "__reduce__",
    "__reduce_ex__",
    "__eq__",
    "__hash__",
    "__getattribute__",
    "__bool__",
):
    SHAPES[f"{_name} raises"] = lambda name=_name: type("Unwilling", (Exception,), {name: refuse})("boom")  # type: ignore[misc]
for _error in (SystemExit, GeneratorExit, MemoryError, asyncio.CancelledError):

    def _of(self: object, error: type[BaseException] = _error) -> NoReturn:
        raise error

    SHAPES[f"__str__ raises {_error.__name__}"] = lambda of=_of: type("Unwilling", (Exception,), {"__str__": of})()  # type: ignore[misc]


@shape
def text_that_is_none() -> BaseException:
    class Mute(Exception):
        def __str__(self) -> str:
            return None  # type: ignore[return-value]

    return Mute()


@shape
def text_that_no_encoding_holds() -> BaseException:
    return ValueError("no such item \ud83d, nor \ud83d\ude00, nor \0")


@shape
def text_without_end() -> BaseException:
    return ValueError("x" * 3_000_000)


@shape
def an_int_too_long_to_show() -> BaseException:
    return ValueError(10**5000)


@shape
def a_metaclass_that_lies() -> BaseException:
    names = ("__name__", "__module__", "__mro__", "__bases__", "__dict__")
    methods = ("__instancecheck__", "__eq__", "__hash__", "__repr__")  # __subclasscheck__ is asked when one is raised
    meta: Any = type("Meta", (type,), {**{name: property(refuse) for name in names}, **dict.fromkeys(methods, refuse)})
    error: BaseException = meta("Lying", (Exception,), {})("boom")
    return error


@shape
def a_group_of_groups() -> BaseException:
    group: Exception = ValueError("boom")
    for number in range(300):
        group = ExceptionGroup(f"depth {number}", [group])
    return group


@shape
def a_group_that_holds_one_group_many_times() -> BaseException:
    group: Exception = ValueError("boom")
    for number in range(12):
        group = ExceptionGroup(f"depth {number}", [group] * 40)
    return group


@shape
def a_group_whose_members_lie() -> BaseException:
    class Hidden(ExceptionGroup[Exception]):
        exceptions = property(refuse)  # type: ignore[assignment]

    return Hidden("boom", [unwilling("__traceback__", "__cause__"), Declined()])  # type: ignore[list-item]


@shape
def a_circle_of_causes() -> BaseException:
    one, two = ValueError("boom"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


@shape
def a_cause_that_lies() -> BaseException:
    error = ValueError("boom")
    error.__cause__ = unwilling("__cause__", "__traceback__", "__notes__")
    return error


@shape
def notes_that_lie() -> BaseException:
    class Note:
        __str__ = refuse

    class Notes(list[Any]):
        __iter__ = refuse
        __len__ = refuse

    error = ValueError("boom")
    error.__notes__ = Notes([Note(), "\ud800"])
    return error


@shape
def notes_without_end() -> BaseException:
    error = ValueError("boom")
    for _ in range(10_000):
        error.add_note("and again " * 100)
    return error


@shape
def a_subclass_of_ours_without_its_constructor() -> BaseException:
    class Busy(RetryAfterError):
        def __init__(self) -> None:
            self.code = 429

    return Busy()


@shape
def a_retry_after_that_is_no_time() -> BaseException:
    class Busy(RetryAfterError):
        retry_after = "soon"  # type: ignore[assignment]

    return Busy("boom", None)


@shape
def a_retry_after_that_raises() -> BaseException:
    class Busy(RetryAfterError):
        retry_after = property(refuse)  # type: ignore[assignment]

    return Busy("boom", None)


@shape
def a_step_error_without_its_constructor() -> BaseException:
    class Ours(StepError):
        def __init__(self, code: int) -> None:
            self.code = code

    return Ours(7)


@shape
def a_step_error_of_odd_values() -> BaseException:
    return StepError(7, None, b"", ["s"], ())  # type: ignore[arg-type]


@shape
def a_step_error_that_raises() -> BaseException:
    class Ours(StepError):
        pass

    error = Ours("n", "boom")
    for name in ("name", "message", "stack", "step_id", "causes"):
        setattr(Ours, name, property(refuse))
    return error


@shape
def a_final_one_that_lies() -> BaseException:
    return unwilling("__class__", "__traceback__", base=NonRetriableError)


@shape
def a_drift_of_the_users_own() -> BaseException:
    return DriftError("boom")


class Odd(BaseException):
    pass


class Stops(StopIteration):
    pass


for _cls in (
    Odd,
    Stops,
    StopIteration,
    StopAsyncIteration,
    GeneratorExit,
    asyncio.CancelledError,
    asyncio.InvalidStateError,
    asyncio.QueueShutDown if hasattr(asyncio, "QueueShutDown") else asyncio.QueueFull,
    TimeoutError,
    RecursionError,
    MemoryError,
    AssertionError,
):
    SHAPES[f"a {_cls.__name__}"] = lambda cls=_cls: cls("boom")  # type: ignore[misc]


@shape
def a_group_of_base_exceptions() -> BaseException:
    return BaseExceptionGroup("boom", [Odd(), GeneratorExit()])
