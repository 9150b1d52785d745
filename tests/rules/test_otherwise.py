"""What the code asks otherwise than is recorded, and is no error: it is said, once, and the record stands (R6, R9)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, Event
from durable.engine.opened import inside
from durable.journal.records import ForEvent, RunClosed, RunOpened, RunRetried, StepOpened
from durable.journal.rules.ledger import Ledger
from durable.scheduler.drift import tell_other_wait
from durable.stores.log import Log
from durable.testing import Lab
from tests.support.logged import unusual
from tests.support.ways import WAYS, lab_of

Ask = Callable[[Context], Any]


@durable.function
async def child(ctx: Context) -> str:
    await ctx.step.sleep("s", "2h")
    return "child"


@durable.function
async def another(ctx: Context) -> str:
    await ctx.step.sleep("s", "2h")
    return "another"


def event(**asked: Any) -> Ask:
    return lambda ctx: ctx.step.wait_for_event("w", **{"event": "e", "timeout": "1h", **asked})


def signal(**asked: Any) -> Ask:
    return lambda ctx: ctx.step.wait_for_signal("w", **{"signal": "s", "timeout": "1h", **asked})


# Each: what was asked first, what is asked now, and what is said of it, None for nothing.
OTHERWISE: dict[str, tuple[Ask, Ask, str | None]] = {
    "a longer sleep": (
        lambda ctx: ctx.step.sleep("w", "1h"),
        lambda ctx: ctx.step.sleep("w", "3h"),
        "time 1:00:00 is recorded, and 3:00:00 is asked for",
    ),
    "the same sleep": (lambda ctx: ctx.step.sleep("w", "1h"), lambda ctx: ctx.step.sleep("w", 3600), None),
    "an instant for a span": (
        lambda ctx: ctx.step.sleep("w", "1h"),
        lambda ctx: ctx.step.sleep_until("w", ctx.now() + timedelta(hours=5)),
        None,
    ),
    "another instant": (
        lambda ctx: ctx.step.sleep_until("w", ctx.now() + timedelta(hours=1)),
        lambda ctx: ctx.step.sleep_until("w", ctx.now() + timedelta(hours=5)),
        None,
    ),
    "a span for an instant": (
        lambda ctx: ctx.step.sleep_until("w", ctx.now() + timedelta(hours=1)),
        lambda ctx: ctx.step.sleep("w", "5h"),
        "time 1:00:00 is recorded, and 5:00:00 is asked for",
    ),
    "another event": (event(), event(event="other"), "event 'e' is recorded, and 'other' is asked for"),
    "another timeout": (event(), event(timeout="2h"), "time 1:00:00 is recorded, and 2:00:00 is asked for"),
    "a match": (event(), event(match="data.n"), "match None is recorded, and 'data.n' is asked for"),
    "another filter": (
        event(if_exp="async.data.n == 1"),
        event(if_exp="async.data.n == 2"),
        "if_exp 'async.data.n == 1' is recorded, and 'async.data.n == 2' is asked for",
    ),
    "event and filter": (event(), event(event="x", if_exp="true"), "; if_exp None is recorded"),
    "the same event": (event(match="data.n"), event(match="data.n", timeout=3_600.0), None),
    "another signal": (signal(), signal(signal="t"), "signal 's' is recorded, and 't' is asked for"),
    "a signal's timeout": (signal(), signal(timeout="9h"), "time 1:00:00 is recorded, and 9:00:00 is asked for"),
    "another function": (
        lambda ctx: ctx.step.invoke("w", function=child),
        lambda ctx: ctx.step.invoke("w", function=another),
        "function 'child' is recorded, and 'another' is asked for",
    ),
    "another timeout of an invoke": (
        lambda ctx: ctx.step.invoke("w", function=child, timeout="5h"),
        lambda ctx: ctx.step.invoke("w", function=child, timeout="9h"),
        "time 5:00:00 is recorded, and 9:00:00 is asked for",
    ),
    "a timeout for an invoke without one": (
        lambda ctx: ctx.step.invoke("w", function=child),
        lambda ctx: ctx.step.invoke("w", function=child, timeout="9h"),
        "time None is recorded, and 9:00:00 is asked for",
    ),
    "the same timeout of an invoke": (
        lambda ctx: ctx.step.invoke("w", function=child, timeout="5h"),
        lambda ctx: ctx.step.invoke("w", function=child, timeout=18_000),
        None,
    ),
    "the same function": (
        lambda ctx: ctx.step.invoke("w", function=child),
        lambda ctx: ctx.step.invoke("w", function="child", data={"other": 1}),
        None,
    ),
}


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize("name", OTHERWISE)
def test_an_open_wait_stands_as_it_is_recorded_and_one_warning_a_function_says_so(
    name: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R6: span, event, signal, filter, function; not an instant."""
    first, now, said = OTHERWISE[name]
    asks = [first]

    @durable.function
    async def waits(ctx: Context) -> Any:
        got = await asks[-1](ctx)
        return got.name if isinstance(got, Event | durable.Signal) else got

    async def story() -> None:
        async with lab_of(way, [waits, child, another], tmp_path) as lab:
            runs = [await lab.start(waits, {"n": 1}) for _ in range(1 if "signal" in name else 3)]
            before = (await runs[0].info()).waiting_for
            asks.append(now)
            await lab.crash()
            assert (await runs[0].info()).waiting_for == before
            if "event" in before["w"]:
                await lab.send("e", {"n": 1})
            elif "signal" in before["w"]:
                await lab.signal("s")
            else:
                await lab.advance("2h")
            outputs = [(await run.info()).output for run in runs]
            what = {"event": "e", "signal": "s", "the end of": "child"}
            assert outputs == [next((what[key] for key in what if key in before["w"]), None)] * len(runs)

    asyncio.run(story())
    warned = [record.getMessage() for record in caplog.records if "asks otherwise" in record.getMessage()]
    assert len(warned) == (said is not None)
    assert said is None or (said in warned[0] and "step 'w'" in warned[0] and "function 'waits'" in warned[0])
    assert [record.levelname for record in caplog.records] == ["WARNING"] * len(warned)


def test_a_wait_that_is_opened_again_in_a_later_attempt_is_not_compared(caplog: pytest.LogCaptureFixture) -> None:
    """R9: its recorded deadline stands there, which counts from the first attempt."""

    @durable.function(retries=3, backoff=durable.Backoff("30m", 1.0, jitter=0))
    async def tries(ctx: Context) -> Any:
        waiting = asyncio.ensure_future(ctx.step.wait_for_event("w", event="e", timeout="2h"))
        if ctx.attempt < 2:
            await ctx.step.sleep(f"s{ctx.attempt}", "1m")
            waiting.cancel()
            await asyncio.wait([waiting])
            raise ValueError("again")
        return await waiting

    async def story() -> None:
        async with Lab([tries]) as lab:
            run = await lab.start(tries)
            await lab.advance("70m")
            await lab.crash()
            assert await lab.result(run) is None

    asyncio.run(story())
    assert [text for text in caplog.messages if "asks otherwise" in text] == []


def test_a_wait_that_got_a_new_deadline_when_its_run_was_opened_again_is_not_compared_by_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R32: nothing says any more from when that counts; what it is for is compared all the same."""
    noon, hour = datetime(2030, 1, 1, 12, tzinfo=UTC), timedelta(hours=1)
    ledger = Ledger.opened(RunOpened("r", "f", Event("go"), noon))
    ledger.fold(StepOpened("r", "w", "wait_for_event", ForEvent("e", noon + hour), noon))
    ledger.fold(RunClosed("r", "failed", noon, error=durable.RecordedError("E", "no")))
    ledger.fold(RunRetried("r", 0, noon + 5 * hour, None, noon + 5 * hour, reopened=True))
    ledger.fold(StepOpened("r", "w", "wait_for_event", ForEvent("e", noon + 6 * hour), noon + 5 * hour))
    parts: Any = SimpleNamespace(logger=Log(logging.getLogger("durable")))  # all that is asked of one here
    tell_other_wait(parts, ledger, "w", ForEvent("e", noon + 7 * hour), hour)
    assert caplog.messages == []
    tell_other_wait(parts, ledger, "w", ForEvent("other", noon + 7 * hour), hour)
    assert len(caplog.messages) == 1 and "'other' is asked for" in caplog.messages[0]


# Recorded steps that nobody asks for.


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize("gone", [["a"], ["b"], ["c"], ["a", "b"], ["b", "c"], ["a", "b", "c"]])
def test_steps_that_the_code_no_longer_has_are_named_once_each(
    gone: list[str], way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R6: the first at its turn, for the run may be stuck there, the others in one line at the end; no other is."""
    has = ["a", "b", "c"]

    @durable.function
    async def forgets(ctx: Context) -> str:
        for id in has:
            await ctx.step.sleep(id, "1m")
        await ctx.step.sleep("last", "1h")
        return "over"

    async def story() -> None:
        async with lab_of(way, [forgets], tmp_path) as lab:
            run = await lab.start(forgets, id="r")
            await lab.advance("3m")
            has[:] = [id for id in has if id not in gone]
            await lab.crash()
            assert await lab.result(run) == "over"

    caplog.set_level("INFO", "durable")
    asyncio.run(story())
    lines = [text for text in unusual(caplog.records) if "run 'r'" in text]
    assert [id for line in lines for id in ("a", "b", "c") if repr(id) in line] == gone
    assert len(lines) == min(len(gone), 2)


# What is recorded as cancelled may not be answered any more.


async def _gives_up(ctx: Context, id: str) -> bool:
    try:
        async with asyncio.timeout(0.01):
            await ctx.step.wait_for_event(id, event="never", timeout="9d")
    except TimeoutError:
        return True
    return False


@durable.function
async def alone(ctx: Context) -> Any:
    await _gives_up(ctx, "a")
    event = await ctx.step.wait_for_event("w", event="e", timeout="20d")
    return event and event.data


@durable.function
async def one_by_one(ctx: Context) -> Any:
    given = [await _gives_up(ctx, f"a{number}") for number in range(3)]
    await ctx.step.sleep("s", "1h")
    event = await ctx.step.wait_for_event("w", event="e", timeout="20d")
    return given and event and event.data


@durable.function
async def beside_what_ended(ctx: Context) -> Any:
    """The sleep has ended, but its turn comes after the cancelling: it is decided, and not pending either."""
    slept = asyncio.create_task(ctx.step.sleep("s", "1h"))
    await asyncio.gather(_gives_up(ctx, "a"), slept)
    event = await ctx.step.wait_for_event("w", event="e", timeout="20d")
    return event and event.data


@durable.function
async def in_a_handler_that_hung(ctx: Context) -> Any:
    try:
        async with asyncio.timeout(0.01):
            await ctx.step.run("hangs", asyncio.sleep, 3_600)
    except TimeoutError:
        event = await ctx.step.wait_for_event("w", event="e", timeout="20d")
        return event and event.data


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", [alone, one_by_one, beside_what_ended, in_a_handler_that_hung])
def test_a_run_that_is_about_to_cancel_a_step_again_is_not_at_rest(
    function: durable.Function[Any], way: str, tmp_path: Path
) -> None:
    """The lab waits until the clock outside the steps has come again, and does not skip time before it has."""

    async def story() -> None:
        async with lab_of(way, [function], tmp_path) as lab:
            run = await lab.start(function)
            while "w" not in (await run.info()).steps:
                await asyncio.sleep(0.001)
                await lab.settle()
                if "s" in (await run.info()).waiting_for and "a" not in (await run.info()).waiting_for:
                    await lab.advance("1h")
            for _ in range(3):
                await lab.crash()
                info = await run.info()
                assert info.status == "waiting" and list(info.waiting_for) == ["w"]
            await lab.send("e", {"n": 1})
            assert await lab.result(run) == {"n": 1}

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["dict", "file"])
def test_settled_hears_of_a_run_that_comes_to_a_recorded_wait(kind: str, tmp_path: Path) -> None:
    """Nothing is recorded when the code comes to what is recorded; who waits for it must hear of it all the same."""

    @durable.function
    async def late(ctx: Context) -> None:
        await asyncio.sleep(0.02)
        await ctx.step.wait_for_event("w", event="e", timeout="1h")

    async def story() -> None:
        store: Any = DictStore() if kind == "dict" else tmp_path / "x.db"
        async with Engine([late], store=store) as engine:
            await engine.start(late, id="r")
            while not (await engine.info("r")).waiting_for:
                await asyncio.sleep(0.001)
        async with Engine([late], store=store) as engine:
            assert not inside(engine, "a test").scheduler.is_settled()
            await asyncio.wait_for(engine.settled(), 5)
            assert inside(engine, "a test").scheduler.is_settled()

    asyncio.run(story())
