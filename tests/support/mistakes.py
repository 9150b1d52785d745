"""Make a mistake as a new user makes it, and tell what is said of it and after how long.

Separate because the tables of mistakes, one for each subject, try their rows alike.
Leaves to the tables the mistakes and the words.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import pytest

import durable
from durable import Context, DictStore, Engine, RunFailed
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.lives import records

TRIED_AGAIN = {"RunRetried", "StepRetried"}


@attrs.frozen(init=False)
class Mistake:
    """A mistake: what is written, the words that are said of it, and after how many virtual seconds."""

    made: Callable[..., Any]
    words: tuple[str, ...]
    after: float

    def __init__(self, made: Callable[..., Any], *words: str, after: float = 0) -> None:
        self.__attrs_init__(made, words, after)  # type: ignore[attr-defined]

    def check(self, said: str) -> None:
        """Check that the words are said."""
        for words in self.words:
            assert words in said, f"{words!r} is not in:\n{said}"


def whole(error: BaseException) -> str:
    """Return what Python prints last of an error: its class, its text, its notes."""
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])


class Door:
    """The engine and the Lab in which a function makes its mistake."""

    lab: Lab

    def send(self, name: str) -> Any:
        return self.lab.engine.send(name)

    async def close(self) -> None:
        await self.lab.engine.close()

    async def result(self, run_id: str) -> Any:
        return await self.lab.engine.result(run_id)


HERE = Door()


@durable.function
async def child(ctx: Context) -> None: ...


def in_a_function(mistake: Mistake) -> durable.RecordedError:
    """Check that a function that makes the mistake fails with its words, after its time: at once, with no try spent.

    What takes longer is what Python raises in a line of the user's, which may go well the next time (R14).
    """

    @durable.function
    async def mistaken(ctx: Context) -> Any:
        return await mistake.made(ctx)

    async def story() -> durable.RecordedError:
        store = DictStore()
        async with Lab([mistaken, child], store=store) as HERE.lab:
            run = await HERE.lab.start(mistaken, {"order_id": 7}, id="r")
            with pytest.raises(RunFailed):
                await HERE.lab.result(run)
            assert (HERE.lab.clock.now() - START).total_seconds() == pytest.approx(mistake.after, abs=0.1)
            error = (await run.info()).error
        again = TRIED_AGAIN & {type(record).__name__ for record in records(store.mapping)}
        assert bool(again) == bool(mistake.after), again
        assert error is not None
        return error

    error = asyncio.run(story())
    mistake.check(str(error))
    return error


def at_the_call(mistake: Mistake) -> None:
    """Check that a call, which may be async, is refused with the mistake's words."""

    async def story(made: Any) -> None:
        await made

    with pytest.raises(Exception) as refused:
        made = mistake.made()
        if inspect.isawaitable(made):
            asyncio.run(story(made))
    mistake.check(whole(refused.value))


def with_an_engine(mistake: Mistake, functions: Sequence[Any]) -> None:
    """Check that the use of an open engine is refused with the mistake's words."""

    async def story() -> None:
        async with Engine(functions) as engine:
            await mistake.made(engine)

    with pytest.raises(Exception) as refused:
        asyncio.run(story())
    mistake.check(whole(refused.value))


def in_a_test(mistake: Mistake, test: Callable[[], Awaitable[object]]) -> None:
    """Check that an async test fails with the mistake's words, within seconds of real time."""

    async def story() -> None:
        async with asyncio.timeout(20):  # a test that hangs for ever is the worst that can be said
            await test()

    with pytest.raises(Exception) as failed:
        asyncio.run(story())
    mistake.check(whole(failed.value))
