"""What may be a handler: whatever can be called, read by what it does, not by what it claims to be."""

from __future__ import annotations

import asyncio
import functools
import operator
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import durable
from durable import Context, RunFailed, StepError, StepOptions, current_step
from durable.functions.annotations import return_type
from durable.functions.handler import checked_handler
from durable.journal.codec.fitting import ABSENT
from durable.testing import Lab


def blocking(value: int = 7) -> int:
    return value


async def asynchronous(value: int = 7) -> int:
    await asyncio.sleep(0)
    return value


class Service:
    def method(self, value: int = 7) -> int:
        return value

    async def later(self, value: int = 7) -> int:
        return value

    @classmethod
    async def of_class(cls, value: int = 7) -> int:
        return value

    @staticmethod
    async def of_none(value: int = 7) -> int:
        return value


class Called:
    def __call__(self, value: int = 7) -> int:
        return value


class CalledLater:
    async def __call__(self, value: int = 7) -> int:
        return value


class OddlyCalled:
    __call__ = functools.partialmethod(lambda self, value: value, 7)  # type: ignore[assignment]


class Proxy:
    """Answers to every name, with more of the same."""

    def __getattr__(self, name: str) -> Any:
        return Proxy()

    def __call__(self, value: int = 7) -> int:
        return value


class Claims:
    """Says that it is a function, and hates to be hashed or compared."""

    __class__ = property(lambda self: type(blocking))  # type: ignore[assignment]

    def __hash__(self) -> int:
        raise RuntimeError("no")

    def __call__(self, value: int = 7) -> int:
        return value


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return around


def in_a_circle() -> Callable[..., Any]:
    function = wrapped(lambda: 7)
    function.__wrapped__ = function  # type: ignore[attr-defined]
    return function


def patched(target: str, **options: Any) -> Any:
    with mock.patch(f"{__name__}.{target}", **options) as double:
        double.return_value = 7
        return double


HANDLERS: dict[str, tuple[Any, bool]] = {
    "a function": (blocking, False),
    "an async function": (asynchronous, True),
    "a lambda": (lambda: 7, False),
    "a lambda that returns a coroutine": (lambda: asynchronous(), False),
    "a bound method": (Service().method, False),
    "an async bound method": (Service().later, True),
    "an async class method": (Service.of_class, True),
    "an async static method": (Service().of_none, True),
    "a callable object": (Called(), False),
    "an async callable object": (CalledLater(), True),
    "an oddly callable object": (OddlyCalled(), False),
    "a partial": (functools.partial(blocking, 7), False),
    "a partial of a partial of an async function": (functools.partial(functools.partial(asynchronous), 7), True),
    "a partial of an async callable object": (functools.partial(CalledLater(), 7), True),
    "a wrapper": (wrapped(blocking), False),
    "a wrapper around an async function": (wrapped(asynchronous), False),
    "a wrapper around itself": (in_a_circle(), False),
    "a cached function": (functools.lru_cache(blocking), False),
    "a C function": (functools.partial(operator.add, 3, 4), False),
    "a C method": ("seventh".__len__, False),
    "a class": (functools.partial(int, "7"), False),
    "a proxy": (Proxy(), False),
    "an object that claims to be a function": (Claims(), False),
    "a Mock": (mock.Mock(return_value=7), False),
    "a MagicMock": (mock.MagicMock(return_value=7), False),
    "an AsyncMock": (mock.AsyncMock(return_value=7), False),
    "a Mock of a function": (mock.Mock(spec=blocking, return_value=7), False),
    "a Mock of an async function": (mock.Mock(spec=asynchronous, return_value=7), False),
    "an AsyncMock of a function": (mock.AsyncMock(spec=blocking, return_value=7), False),
    "an AsyncMock of an async function": (mock.AsyncMock(spec=asynchronous, return_value=7), False),
    "a Mock of a method": (mock.Mock(spec=Service().method, return_value=7), False),
    "a Mock of a partial": (mock.Mock(spec=functools.partial(blocking), return_value=7), False),
    "a Mock of a class": (mock.Mock(spec=Service, return_value=7), False),
    "a partial of a Mock of an async function": (
        functools.partial(mock.AsyncMock(spec=asynchronous, return_value=7), 1),
        False,
    ),
    "a double of a function": (mock.create_autospec(blocking, return_value=7), False),
    "a double of an async function": (mock.create_autospec(asynchronous, return_value=7), None),
    "patched with its spec": (patched("blocking", spec=True), False),
    "patched with its spec, async": (patched("asynchronous", spec=True), False),
    "patched with its whole spec": (patched("blocking", autospec=True), False),
    "patched with its whole spec, async": (patched("asynchronous", autospec=True), None),
}
if sys.version_info >= (3, 12):
    import inspect

    HANDLERS["a function marked as async"] = (inspect.markcoroutinefunction(lambda: asynchronous()), False)


@pytest.mark.parametrize("threads", ["inline", "threads"])
@pytest.mark.parametrize("name", HANDLERS)
def test_whatever_can_be_called_is_a_handler(name: str, threads: str) -> None:
    """It runs, in a thread and inline, alone and with StepOptions; mocks of functions too: people test with them."""
    handler, is_async = HANDLERS[name]

    @durable.function(retries=0)
    async def calling(ctx: Context) -> Any:
        return [await ctx.step.run("plain", handler), await ctx.step.run(StepOptions("s", timeout="1h"), handler)]

    async def story() -> None:
        async with Lab([calling], threads=threads == "threads") as lab:
            run = await lab.start(calling)
            assert await lab.result(run) == [7, 7]
            await lab.crash()
            assert await run.result() == [7, 7]

    asyncio.run(story())
    if is_async is not None:
        assert checked_handler("s", handler) is is_async


def test_a_double_says_nothing_of_what_its_original_returns() -> None:
    """Read by its own behaviour; what it returns is kept as what it is."""
    for name, (handler, _) in HANDLERS.items():
        if isinstance(handler, mock.NonCallableMock):
            assert return_type(handler) is ABSENT, name


def numbers() -> Any:
    yield 1


async def async_numbers() -> Any:
    yield 1


class Yields:
    def __call__(self) -> Any:
        yield 1


@pytest.mark.parametrize(
    "handler",
    [numbers, async_numbers, functools.partial(numbers), Yields(), Yields().__call__],
    ids=["function", "async", "partial", "object", "method"],
)
def test_a_generator_is_refused_at_the_call(handler: Any) -> None:
    """R10a: its value cannot be kept."""
    with pytest.raises(TypeError, match="handler of step 's' is a generator"):
        checked_handler("s", handler)


def test_a_mock_that_raises_fails_its_step_and_one_that_counts_is_called_once_for_each_try() -> None:
    double = mock.AsyncMock(spec=asynchronous, side_effect=[ValueError("boom"), 7])

    @durable.function(retries=0)
    async def calling(ctx: Context) -> Any:
        return await ctx.step.run(StepOptions("s", retries=1), double, 3)

    async def story() -> None:
        async with Lab([calling]) as lab:
            assert await lab.result(await lab.start(calling)) == 7

    asyncio.run(story())
    double.assert_has_awaits([mock.call(3), mock.call(3)])


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("threads", ["inline", "threads"])
def test_a_call_that_does_not_fit_the_handler_ends_the_step_at_once(threads: str, debug: bool) -> None:
    """R13a: a TypeError of which no line is the handler's; one of its own lines is tried again."""
    calls: list[int] = []

    def own() -> None:
        calls.append(current_step().attempt)
        raise TypeError("of its own")

    class Wrong:
        def method(self) -> None: ...

    wrong: list[tuple[Any, tuple[Any, ...]]] = [
        (blocking, (1, 2)),
        (asynchronous, (1, 2)),
        (functools.partial(asynchronous, 1), (2,)),
        (Wrong().method, (1,)),
        (Wrong.method, ()),
        (CalledLater(), (1, 2)),
        (len, ()),
        (operator.add, (1,)),
        (Service, (1,)),
    ]

    @durable.function(retries=0)
    async def calling(ctx: Context) -> Any:
        said = []
        for handler, args in wrong:
            with pytest.raises(StepError) as caught:
                await ctx.step.run(StepOptions("s", retries=3), handler, *args)
            said.append(caught.value.name)
        await ctx.step.run(StepOptions("own", retries=3), own)
        return said

    async def story() -> None:
        async with Lab([calling], threads=threads == "threads") as lab:
            run = await lab.start(calling)
            info = await run.info()
            assert [step.error.name for step in info.steps.values() if step.error] == ["TypeError"] * (len(wrong) + 1)
            assert {step.attempts for key, step in info.steps.items() if key != "own"} == {1}
            with pytest.raises(RunFailed, match="of its own"):
                await lab.result(run)
            assert calls == [0, 1, 2, 3]

    asyncio.run(story(), debug=debug)
