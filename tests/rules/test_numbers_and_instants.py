"""Numbers, instants, spans and mappings at every door: subclasses are taken as what they stand for, others refused.

What is taken is of the plain type: what a user's class makes of arithmetic, comparing or showing changes nothing. R31
"""

from __future__ import annotations

import asyncio
import enum
from collections import ChainMap, OrderedDict, UserDict, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import Mock

import pytest

import durable
from durable import (
    Backoff,
    Cancel,
    CodecError,
    Context,
    DictStore,
    Engine,
    Event,
    ExpressionError,
    FileStore,
    LimitError,
    Limits,
    RetryAfterError,
    RunQuery,
    Sender,
    StepOptions,
    Timeouts,
    TriggerEvent,
)
from durable.engine.opened import inside
from durable.functions import policy_of
from durable.testing import Lab, VirtualClock
from durable.timers.clock import Handle, SystemClock
from durable.timers.durations import aware, duration
from durable.timers.spelling import shown
from tests.support.wordings import EAST, NOON, Count, Elsewhere, Instant, NotATime, Odd, Real, Span, Whole, Word, says

INSTANTS: dict[str, datetime] = {
    "a subclass": Instant(2030, 1, 1, 12, tzinfo=UTC),
    "a subclass elsewhere": Instant(2030, 1, 1, 17, 30, tzinfo=EAST),
    "elsewhere": datetime(2030, 1, 1, 17, 30, tzinfo=EAST),
    "another zero": datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(0), "zero")),
}
NONE_AT_ALL: dict[str, tuple[Any, type[Exception]]] = {
    "a naive subclass": (Instant(2030, 1, 1), ValueError),
    "a zone that fails": (datetime(2030, 1, 1, tzinfo=Elsewhere()), ValueError),
    "what is no instant": (NotATime(2030, 1, 1, tzinfo=UTC), ValueError),
    "a double": (Mock(spec=datetime), TypeError),
    "a date": (date(2030, 1, 1), TypeError),
    "a number": (1.9e9, TypeError),
}


async def slept(ctx: Context, when: Any) -> Any:
    await ctx.step.sleep_until("s", when)
    return ctx.now()


def woken(when: Any) -> Any:
    """Return what the clock says after a `sleep_until`."""

    @durable.function(retries=0)
    async def sleeps(ctx: Context) -> Any:
        return await slept(ctx, when)

    async def story() -> Any:
        async with Lab([sleeps], start=NOON - timedelta(hours=1)) as lab:
            run = await lab.start(sleeps)
            if (await run.info()).error is not None:
                await run.result()
            await lab.crash()
            return await lab.result(run)

    return asyncio.run(story())


def sent(when: Any) -> Any:
    """Return what a run is told of the instant at which its event was sent."""

    @durable.function("e", id="takes")
    async def takes(ctx: Context) -> Any:
        return ctx.event.ts

    async def story() -> Any:
        async with Lab([takes], start=NOON + timedelta(hours=1)) as lab:
            [run] = await lab.send("e", ts=when)
            await lab.crash()
            return await lab.result(run)

    return asyncio.run(story())


class Moved:
    """A clock that stands at what it is told."""

    def __init__(self, now: Any) -> None:
        self._now = now
        self._clock = SystemClock()

    def now(self) -> Any:
        return self._now

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Handle:
        assert type(when) is datetime
        return self._clock.call_at(when, callback)


def told_by_a_clock(now: Any) -> Any:
    """Return when a run was opened by a foreign clock."""

    async def story() -> Any:
        async with Engine([says], clock=Moved(now)) as engine:
            run = await engine.start(says)
            await run.result()
            return (await run.info()).ended_at

    return asyncio.run(story())


INSTANT_DOORS: dict[str, Callable[[Any], Any]] = {
    "aware": aware,
    "ts of an Event": lambda when: Event("e", ts=when).ts,
    "ts of a send": sent,
    "retry_after": lambda when: RetryAfterError("later", when).retry_after,
    "the start of a clock": lambda when: VirtualClock(when).now(),
    "the start of a Lab": lambda when: Lab([], start=when).clock.now(),
    "sleep_until": woken,
    "a clock": told_by_a_clock,
}


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("door", INSTANT_DOORS)
def test_an_instant_is_taken_as_a_plain_one_in_utc(door: str, instant: str) -> None:
    found = INSTANT_DOORS[door](INSTANTS[instant])
    assert type(found) is datetime and found.tzinfo is UTC and found == NOON


@pytest.mark.parametrize("what", NONE_AT_ALL)
@pytest.mark.parametrize("door", [door for door in INSTANT_DOORS if door != "retry_after"])
def test_what_is_no_instant_is_refused(door: str, what: str) -> None:
    given, error = NONE_AT_ALL[what]
    with pytest.raises((error, durable.RunFailed)) as caught:
        INSTANT_DOORS[door](given)
    text = str(caught.value)
    assert (
        error.__name__ in text if isinstance(caught.value, durable.RunFailed) else "instant" in text or "time" in text
    )


def test_an_instant_at_the_edge_stays_one() -> None:
    """Moved over the edge by its zone, it is the last there is."""
    for edge, zone in ((datetime.min, timedelta(hours=1)), (datetime.max, -timedelta(hours=1))):
        assert aware(edge.replace(tzinfo=timezone(zone))) == edge.replace(tzinfo=UTC)


def test_the_hour_that_comes_twice_is_told_apart() -> None:
    """`fold` counts, also of a subclass."""
    zone = pytest.importorskip("zoneinfo").ZoneInfo("Europe/Berlin")
    for kind in (datetime, Instant):
        hours = [aware(kind(2030, 10, 27, 2, 30, tzinfo=zone, fold=fold)).hour for fold in (0, 1)]
        assert hours == [0, 1]


SPANS: dict[str, Any] = {
    "a timedelta": Span(seconds=3),
    "an int": Whole(3),
    "an enum": Count.THREE,
    "a float": Real(3.0),
    "a text": Odd("3s"),
}
SPAN_DOORS: dict[str, Callable[[Any], Any]] = {
    "duration": duration,
    "Backoff.first": lambda span: Backoff(first=span).first,
    "Backoff.max": lambda span: Backoff(max=span).max,
    "Timeouts.start": lambda span: Timeouts(start=span).start,
    "Timeouts.finish": lambda span: Timeouts(finish=span).finish,
    "StepOptions.timeout": lambda span: StepOptions("s", timeout=span).timeout,
    "Cancel.timeout": lambda span: Cancel("e", timeout=span).timeout,
    "retry_after": lambda span: RetryAfterError("later", span).retry_after,
}


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("door", SPAN_DOORS)
def test_a_span_is_taken_as_a_plain_timedelta(door: str, span: str) -> None:
    found = SPAN_DOORS[door](SPANS[span])
    assert type(found) is timedelta and found == timedelta(seconds=3)


NO_SPANS = ["١s", "1²s", "1s\n", "1.5.2s", "", Word.ONE, True, float("inf"), Real("nan"), -1, b"1s", Mock(spec=str)]


@pytest.mark.parametrize("bad", [*NO_SPANS, 10**5_000, "9" * 5_000 + "s", "x" * (1 << 20)], ids=shown)
@pytest.mark.parametrize("door", SPAN_DOORS)
def test_what_is_no_span_is_refused_in_a_line_or_two(door: str, bad: Any) -> None:
    """Digits are those of ASCII; what is shown of a long text is its beginning."""
    if door == "retry_after" and issubclass(type(bad), str):
        return  # the text of a header is never refused (R12)
    with pytest.raises((TypeError, ValueError)) as caught:
        SPAN_DOORS[door](bad)
    assert len(str(caught.value)) < 400 and "cannot be" in str(caught.value)


COUNT_DOORS: dict[str, Callable[[Any], Any]] = {
    **{
        f"Limits.{name}": (lambda count, name=name: getattr(Limits(**{name: count}), name))
        for name in ("steps", "step_bytes", "run_bytes", "event_bytes")
    },
    "max_crashes": lambda count: Engine(max_crashes=count)._settings.max_crashes,
    "resident": lambda count: Engine(resident=count)._settings.resident,
    "retries of a function": lambda count: policy_of(durable.function(retries=count)(says.code)).retries,
    "retries of a step": lambda count: StepOptions("s", retries=count).retries,
    "limit of a query": lambda count: RunQuery(limit=count).limit,
}


@pytest.mark.parametrize("count", [3, Count.THREE, Whole(3)], ids=["int", "enum", "subclass"])
@pytest.mark.parametrize("door", COUNT_DOORS)
def test_a_count_is_taken_as_a_plain_int(door: str, count: int) -> None:
    found = COUNT_DOORS[door](count)
    assert type(found) is int and found == 3


@pytest.mark.parametrize("bad", [True, False, "5", 3.0, None, -1, Whole(-1), [1], Mock(spec=int)], ids=repr)
@pytest.mark.parametrize("door", COUNT_DOORS)
def test_what_is_no_count_is_refused(door: str, bad: Any) -> None:
    """The message names the option."""
    if bad is None and door == "retries of a step":
        return
    with pytest.raises((TypeError, ValueError)) as caught:
        COUNT_DOORS[door](bad)
    assert door.rpartition(".")[2].partition(" ")[0] in str(caught.value)


@pytest.mark.parametrize("field", ["factor", "jitter"])
def test_the_numbers_of_a_backoff_are_plain_and_finite(field: str) -> None:
    for number, expected in ((Real(1.5), 1.5), (Whole(2), 2), (Count.THREE, 3)):
        found = getattr(Backoff(**{field: number}), field)
        assert found == expected and type(found) in (int, float)
    for bad in (True, "2", -1, float("inf"), Real("nan"), None, 2j):
        with pytest.raises((TypeError, ValueError), match=rf"Backoff\({field}=...\) must be a number, zero or more"):
            Backoff(**{field: bad})  # type: ignore[arg-type]


MAPPINGS: dict[str, Any] = {
    "OrderedDict": OrderedDict(a=1),
    "defaultdict": defaultdict(int, a=1),
    "UserDict": UserDict(a=1),
    "MappingProxyType": MappingProxyType({"a": 1}),
    "ChainMap": ChainMap({"a": 1}),
}


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_any_mapping_may_be_the_data_of_an_event(mapping: str, tmp_path: Path) -> None:
    @durable.function("e", id="takes")
    async def takes(ctx: Context) -> Any:
        return ctx.event.data

    async def story(store: Any) -> None:
        async with Engine([takes], store=store) as engine:
            [id] = await engine.send("e", MAPPINGS[mapping])
            found = [await engine.result(f"{id}/takes"), await engine.invoke(takes, MAPPINGS[mapping])]
            assert found == [{"a": 1}] * 2 and {type(one) for one in found} == {dict}

    for store in (DictStore(), FileStore(tmp_path / "s.db", durability="none")):
        asyncio.run(story(store))


@pytest.mark.parametrize("data", [[1], "text", b"bytes", 7, [("a", 1)], Mock(spec=list)], ids=repr)
def test_what_is_no_mapping_is_refused(data: Any) -> None:
    async def story() -> None:
        async with Engine([says]) as engine:
            for call in (lambda: engine.send("e", data), lambda: engine.start(says, data)):
                with pytest.raises(TypeError, match="must be a mapping"):
                    await call()
            assert await engine.runs() == []

    asyncio.run(story())


def test_a_clock_that_gives_no_instant_later_fails_its_caller() -> None:
    clock = Moved(NOON)

    async def story() -> None:
        async with Engine([says], clock=clock) as engine:
            clock._now = datetime(2030, 1, 1)
            with pytest.raises(ValueError, match="what now\\(\\) of the clock gives must say its time zone"):
                await engine.send("e")
            clock._now = NOON

    asyncio.run(story())


# What an expression and a path are written in.


class Source(enum.StrEnum):
    PATH = "data.n"
    TRUTH = "event.data.n == 1"


def waits(**options: Any) -> Any:
    """Return what is recorded of a wait with these options, or raise what refuses it at the call."""

    @durable.function(retries=0)
    async def waiting(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="e", timeout="1h", **options)

    async def story() -> Any:
        async with Lab([waiting]) as lab:
            run = await lab.start(waiting, {"n": 1})
            if (await run.info()).status == "failed":
                await run.result()
            wait = inside(lab.engine, "test").state.ledgers[run.id].steps["w"].wait
            return next(getattr(wait, "expression" if name == "if_exp" else name) for name in options)

    return asyncio.run(story())


SOURCE_DOORS: dict[str, Callable[[Any], Any]] = {
    "if_exp of a trigger": lambda text: TriggerEvent("e", if_exp=text).if_exp,
    "if_exp of a Cancel": lambda text: Cancel("e", if_exp=text).if_exp,
    "if_exp of a wait": lambda text: waits(if_exp=text),
    "idempotency": lambda text: durable.function(idempotency=text)(says.code).idempotency.source,  # type: ignore[union-attr]
    "match of a Cancel": lambda text: Cancel("e", match=text).match,
    "match of a wait": lambda text: waits(match=text),
}


@pytest.mark.parametrize("door", SOURCE_DOORS)
def test_an_expression_and_a_path_are_taken_as_the_plain_text_that_they_spell(door: str) -> None:
    member = Source.PATH if "match" in door else Source.TRUTH
    for given in (member, Odd(member.value), member.value):
        found = SOURCE_DOORS[door](given)
        assert type(found) is str and found == member.value


@pytest.mark.parametrize(
    "bad",
    ["data.\ud800", Odd("data.\ud83d\ude00"), "data." + "x" * (1 << 20), "", 7, b"data.n", Mock(spec=str), ["data.n"]],
    ids=shown,
)
@pytest.mark.parametrize("door", SOURCE_DOORS)
def test_what_is_no_expression_or_path_is_refused_in_a_line_or_two(door: str, bad: Any) -> None:
    errors = (TypeError, ValueError, LimitError, ExpressionError, durable.RunFailed)
    with pytest.raises(errors) as caught:
        SOURCE_DOORS[door](bad)
    message = caught.value.error.message if isinstance(caught.value, durable.RunFailed) else str(caught.value)
    assert len(message) < 600, message
    assert not isinstance(caught.value, UnicodeError)


# Inside a value every type is exact (R10): a lesser one would come back.


class Flags(enum.IntFlag):
    A = 1


LOST = [Word.ONE, Odd("x"), Count.THREE, Whole(3), Flags.A, Real(1.5), Span(1), Instant(2030, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    "value", [*LOST, OrderedDict(a=1), type("B", (bytes,), {})(b"x"), type("L", (list,), {})()], ids=shown
)
def test_inside_data_what_would_lose_its_type_is_refused_wherever_it_is_sent(value: Any, tmp_path: Path) -> None:
    """With its path, at the call; the engine goes on."""

    @durable.function(retries=0)
    async def sends(ctx: Context) -> None:
        step = ctx.step
        for call in (
            lambda: step.send_event("e", Event("e", {"a": [value]})),
            lambda: step.send_signal("s", "s", {"a": [value]}),
            lambda: step.invoke("i", function=says, data={"a": [value]}),
        ):
            with pytest.raises(CodecError, match=r"\$\.a\[0\]"):
                await call()

    async def story(store: Any) -> None:
        async with Engine([sends, says], store=store) as engine:
            for call in (engine.send, engine.send_signal):
                with pytest.raises(CodecError, match=r"\$\.a\[0\]"):
                    await call("e", {"a": [value]})
            for start in (engine.start, engine.invoke):
                with pytest.raises(CodecError, match=r"\$\.a\[0\]"):
                    await start(says, {"a": [value]})
            await engine.invoke(sends)
            assert [info.function_id for info in await engine.runs()] == ["sends"]
        if isinstance(store, FileStore):
            async with Sender(store.path) as sender:
                for call in (sender.send, sender.send_signal):
                    with pytest.raises(CodecError, match=r"\$\.a\[0\]"):
                        await call("e", {"a": [value]})

    for store in (DictStore(), FileStore(tmp_path / "s.db", durability="none")):
        asyncio.run(story(store))
