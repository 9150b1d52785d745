"""What a wait asks, and until when: kept with it, shown where the run is looked at (R6, R10, R17, R19)."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import CodecError, Context, Engine, LimitError
from durable.engine.opened import inside
from durable.functions.options import ASK_BYTES
from durable.journal.codec.write import read, write
from durable.journal.records import ForEvent, ForSignal, StepOpened
from durable.testing import Lab, torture
from tests.proof.crashes import ROOT
from tests.support.logged import unusual
from tests.support.ways import WAYS, lab_of

START = datetime(2030, 1, 1, tzinfo=UTC)
ASKS = [
    "Ship order 7?",
    {"of": "ann", "what": ["ship", 7], "by": START},
    ("tuple", Decimal("1.5"), b"x", {1: 2}, {3}),
    "half a \ud83d and \U0001f600 and\na line, \x1b[31m",
    '{"~',
    {"~": 1},
    0,
    False,
    "",
]
# The two waits that can ask.
WAITS: dict[str, Callable[..., Any]] = {
    "event": lambda ctx, **asked: ctx.step.wait_for_event("w", **{"event": "e", "timeout": "1h", **asked}),
    "signal": lambda ctx, **asked: ctx.step.wait_for_signal("w", **{"signal": "s", "timeout": "1h", **asked}),
}


def shown(ask: object) -> str:
    return f", until 2030-01-01 01:00:00+00:00, asks {ask!r}"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", WAITS)
@pytest.mark.parametrize("ask", ASKS, ids=ascii)
def test_what_is_asked_is_shown_with_the_wait(ask: Any, kind: str, way: str, tmp_path: Path) -> None:
    """R10: whatever a step can return can be asked; live, after a crash and from another process alike."""

    @durable.function
    async def asks(ctx: Context) -> Any:
        return await WAITS[kind](ctx, ask=ask)

    async def story() -> None:
        async with lab_of(way, [asks], tmp_path) as lab:
            run = await lab.start(asks)
            await lab.crash()
            info = await run.info()
            assert info.waiting_for["w"].endswith(shown(ask)), info.waiting_for
            assert "asks " in str(info) and "\x1b" not in str(info) and len(str(info).splitlines()) == 2
            await lab.advance("1h")
            assert await run.result() is None
            assert (await run.info()).waiting_for == {}

    asyncio.run(story())


def test_what_is_asked_is_shown_in_another_process(tmp_path: Path) -> None:
    """R29: a reader beside the engine sees it."""

    @durable.function
    async def asks(ctx: Context) -> Any:
        return await WAITS["event"](ctx, timeout=START + timedelta(days=36_500), ask="Ship?")

    async def story() -> None:
        async with Engine([asks], store=tmp_path / "x.db") as engine:
            run = await engine.start(asks)
            await engine.settled()
            show = [sys.executable, "-m", "durable", "show", str(tmp_path / "x.db"), run.id]
            shown = await asyncio.to_thread(subprocess.run, show, capture_output=True, text=True, timeout=60, cwd=ROOT)
            assert shown.stdout.endswith(", asks 'Ship?'\n"), shown

    asyncio.run(story())


@pytest.mark.parametrize("kind", WAITS)
def test_a_parked_run_still_shows_what_it_asks(kind: str) -> None:
    """R25: its memory holds nothing of it, its record does."""

    @durable.function
    async def asks(ctx: Context) -> Any:
        return await WAITS[kind](ctx, timeout="30d", ask="Ship?")

    async def story() -> None:
        async with Engine([asks], resident=0) as engine:
            run = await engine.start(asks)
            await engine.settled()
            state = inside(engine, "test").state
            assert list(state.parked) == [run.id]
            wait = state.parked[run.id].wait
            assert isinstance(wait, ForEvent | ForSignal) and wait.ask is None
            assert (await run.info()).waiting_for["w"].endswith("asks 'Ship?'")
            assert (await engine.why(run.id)).text.endswith("asks 'Ship?'")
            await (engine.send("e") if kind == "event" else engine.send_signal("s"))
            assert (await run.result(5)) is not None

    asyncio.run(story())


@pytest.mark.parametrize("kind", WAITS)
def test_what_is_recorded_as_asked_stands_when_the_code_asks_otherwise(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """R6."""
    asks = ["Ship?"]

    @durable.function
    async def asking(ctx: Context) -> Any:
        return await WAITS[kind](ctx, ask=asks[-1])

    async def story() -> None:
        async with Lab([asking]) as lab:
            run = await lab.start(asking)
            asks.append("Really ship? " + "x" * 10_000)
            await lab.crash()
            assert (await run.info()).waiting_for["w"].endswith(shown("Ship?"))

    asyncio.run(story())
    [said] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "ask 'Ship?' is recorded, and 'Really ship? xxx" in said and len(said) < 500


REFUSED: dict[str, tuple[object, type[Exception], str]] = {
    "an object": (object(), CodecError, "ask of step 'w': $: a builtins.object cannot be kept"),
    "one deep inside": ({"a": [object()]}, CodecError, "ask of step 'w': $.a[0]: "),
    "a method": (ASKS.append, CodecError, "ask of step 'w': $: "),
    "too much": ("x" * ASK_BYTES, LimitError, "ask of step 'w' is 65,538 bytes, the limit is 65,536: "),
}


@pytest.mark.parametrize("kind", WAITS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_at_the_call(name: str, kind: str) -> None:
    """R10, R28: before anything is recorded; who catches it goes on (R7)."""
    ask, error, text = REFUSED[name]

    @durable.function
    async def asks(ctx: Context) -> int:
        with pytest.raises(error) as refused:
            WAITS[kind](ctx, ask=ask)
        assert str(refused.value).startswith(text)
        return 1

    async def story() -> None:
        async with Lab([asks]) as lab:
            run = await lab.start(asks)
            assert await run.result() == 1
            assert (await run.info()).steps == {}

    asyncio.run(story())


def test_a_record_without_it_is_as_it_was() -> None:
    """The format stays: what an earlier release has written reads, and what asks nothing is written as it was."""
    waits = [ForEvent("e", START, "data.n", None), ForSignal("s", START)]
    for wait in waits:
        opened = StepOpened("r", "w", "wait_for_event", wait, START)
        assert "ask" not in write(opened)
        assert read("StepOpened", write(opened)) == opened
    opened = StepOpened("r", "w", "wait_for_signal", ForSignal("s", START, '"\\ud83d\\ude00"'), START)
    assert read("StepOpened", write(opened)) == opened


def test_a_function_that_asks_is_deterministic() -> None:
    @durable.function
    async def asks(ctx: Context) -> Any:
        first, second = await asyncio.gather(
            WAITS["event"](ctx, ask={"of": "ann"}), ctx.step.wait_for_signal("s", signal="s", timeout="2h", ask="?")
        )
        return first is None and second is None

    assert asyncio.run(torture(asks)).endings == 1


# Until when.

ZONE = timezone(timedelta(hours=2))
INSTANTS = {
    "in an hour": START + timedelta(hours=1),
    "in another zone": (START + timedelta(hours=1)).astimezone(ZONE),
    "past": START - timedelta(days=1),
    "now": START,
}
BOUNDED: dict[str, Callable[[Context, Any], Any]] = {
    "event": lambda ctx, when: ctx.step.wait_for_event("w", event="e", timeout=when),
    "signal": lambda ctx, when: ctx.step.wait_for_signal("w", signal="s", timeout=when),
    "invoke": lambda ctx, when: ctx.step.invoke("w", function=endless, timeout=when),
}


@durable.function
async def endless(ctx: Context) -> None:
    await ctx.step.wait_for_event("never", event="never", timeout="1000d")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", BOUNDED)
@pytest.mark.parametrize("instant", INSTANTS)
def test_the_timeout_of_a_wait_can_be_an_instant(
    instant: str, kind: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R17: absolute, whatever its zone; one that has passed is over at once."""
    when = INSTANTS[instant]

    @durable.function
    async def waits(ctx: Context) -> Any:
        try:
            return await BOUNDED[kind](ctx, when)
        except durable.InvokeTimeoutError:
            return None
        finally:
            assert ctx.now() == max(when, START)

    async def story() -> None:
        async with lab_of(way, [waits, endless], tmp_path) as lab:
            run = await lab.start(waits)
            await lab.crash()
            assert ((await run.info()).ended_at is None) == (when > START)
            assert await lab.result(run) is None
            assert lab.clock.now() == max(when, START)

    asyncio.run(story())
    assert unusual(caplog.records) == []


@pytest.mark.parametrize("kind", BOUNDED)
def test_another_instant_is_not_told_of_and_the_recorded_one_stands(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """R6."""
    hours = [1]

    @durable.function
    async def waits(ctx: Context) -> Any:
        try:
            return await BOUNDED[kind](ctx, START + timedelta(hours=hours[-1]))
        except durable.InvokeTimeoutError:
            return None

    async def story() -> None:
        async with Lab([waits, endless]) as lab:
            run = await lab.start(waits)
            hours.append(5)
            await lab.crash()
            assert await lab.result(run) is None
            assert lab.clock.now() == START + timedelta(hours=1)

    asyncio.run(story())
    assert unusual(caplog.records) == []


@pytest.mark.parametrize("kind", BOUNDED)
@pytest.mark.parametrize("when", [datetime(2030, 1, 2), "5 minutes", True, -1, START.date()], ids=repr)
def test_a_timeout_that_is_neither_is_refused_at_the_call(when: Any, kind: str) -> None:
    @durable.function
    async def waits(ctx: Context) -> str:
        with pytest.raises((TypeError, ValueError), match="the timeout of step 'w'"):
            BOUNDED[kind](ctx, when)
        return "refused"

    async def story() -> None:
        async with Lab([waits, endless]) as lab:
            assert await (await lab.start(waits)).result() == "refused"

    asyncio.run(story())
