"""Define the functions whose recorded runs are kept in `tests/proof/golden`.

`write_missing()` records those that are not there yet.

Separate because the files were written by the version of their time, and must never be written again: a change after
which they no longer replay is a change of the format.
"""

from __future__ import annotations

import asyncio
import enum
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs

import durable
from durable import Backoff, Context, DictStore, Event, RunFailed, StepError, StepOptions
from durable.engine.opened import inside
from durable.journal import rest_of, scheduled_run
from durable.journal.records import MessageTaken, Record
from durable.journal.schedule_records import (
    FunctionPaused,
    FunctionResumed,
    ScheduleEnded,
    ScheduleMade,
    TicksPassed,
    TicksReplaced,
)
from durable.stores.file.inbox import message_run
from durable.stores.jsonl import write_lines
from durable.testing import Lab

GOLDEN = Path(__file__).parent
SCHEDULES = ("durable/ticks/", "durable/schedule/", "durable/pause/")
PLAIN: list[Any] = [
    "text \u00fc \u2028 \U0001f600 \ud800 ~ \" \\ \n", "\ud83d\ude00",
    0, -1, 2**53 + 1, 2**3000, 1.5, -0.0, 1e300, float("inf"), float("-inf"), True, False, None,
    [], [[1], {"a": []}], {}, {"~dict": 1, "": 2}, {"~": {"~tuple": []}},
]  # fmt: skip
TAGGED: list[Any] = [
    datetime(2026, 11, 22, 1, 2, 3, 4, tzinfo=UTC),
    datetime(2026, 11, 22, 1, 2, 3),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    date(2026, 2, 28), time(23, 59, 59, 999_999), time(1, 2, tzinfo=UTC), timedelta(days=-1, microseconds=7),
    ZoneInfo("Asia/Tokyo"), timezone(timedelta(hours=-3)), Path("/x"), Decimal("1.50"), Decimal("NaN"),
    UUID(int=7), b"", b"\x00\xff",
    {1, 2}, set(), frozenset(["a"]), (), (1, (2, [3])), PurePosixPath("/a/b"), PureWindowsPath("c:\\d"),
    {1: "a", (2, 3): "b", None: "c"}, {True: 1.5, UUID(int=1): float("nan")},
    Event("e", {"at": date(2026, 1, 1)}, "id", datetime(2030, 1, 1, tzinfo=UTC), "2"),
    durable.Signal("s", (1,)),
]  # fmt: skip


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Line:
    name: str
    price: Decimal
    colours: list[Colour]


class Point(NamedTuple):
    x: int
    y: int


def plain() -> list[Any]:
    return PLAIN


def tagged() -> list[Any]:
    return TAGGED


def line() -> Line:
    return Line("tea", Decimal("2.50"), [Colour.RED])


def points() -> dict[str, Point]:
    return {"a": Point(1, 2)}


async def back(value: Any = None) -> Any:
    await asyncio.sleep(0)
    return value


@durable.function
async def values(ctx: Context) -> Line:
    """Every tag of the codec, plain and through annotations, in straight-line code."""
    assert (await ctx.step.run("plain", plain)) == PLAIN
    assert repr(await ctx.step.run("tagged", tagged)) == repr(TAGGED)
    made = await ctx.step.run("line", line)
    assert isinstance(made, Line) and (await ctx.step.run("points", points))["a"].y == 2
    await ctx.step.run(StepOptions("typed", output_type=tuple[Line, ...]), lambda: (made,))
    return made


def flaky() -> str:
    attempt = durable.current_step().attempt
    if attempt == 0:
        raise durable.RetryAfterError("later", "5m")
    if attempt == 1:
        raise ValueError("again") from KeyError("cause")
    return "at last"


def broken() -> None:
    raise durable.NonRetriableError("never")


@durable.function(timeouts=durable.Timeouts(finish="300d"), idempotency="event.data.key")
async def kinds(ctx: Context) -> list[Any]:
    """Every kind of step and of outcome, repeats, branches, a race and a step that is cancelled."""
    seen: list[Any] = [await ctx.step.run("flaky", flaky), await ctx.step.run("flaky", back, 2)]
    try:
        await ctx.step.run("broken", broken)
    except StepError as error:
        seen.append(error.name)
    await ctx.step.sleep("sleep", "1h")
    await ctx.step.sleep_until("until", datetime(2030, 1, 2, tzinfo=UTC))
    seen.append(await ctx.step.send_event("send", [Event("told", {"x": (1,)}), Event("later", ts=ctx.now())]))
    seen.append(await ctx.step.send_signal("nobody", "nobody"))
    event = await ctx.step.wait_for_event("event", event="paid", timeout="9d", match="data.key", if_exp="async.data.ok")
    signal = await ctx.step.wait_for_signal("signal", signal="go", timeout="9d", on_conflict="replace")
    seen += [event and event.data, signal, await ctx.step.wait_for_event("none", event="none", timeout="1m")]
    seen.append((await ctx.step.invoke("child", function=values, timeout="1d")).name)
    return [*seen, *await _branches(ctx)]


async def _branches(ctx: Context) -> list[Any]:
    async def branch(number: int) -> Any:
        return [await ctx.step.run("one", back, number), await ctx.step.run("two", back, -number)]

    gathered = await asyncio.gather(branch(1), branch(2), ctx.step.run("three", back, 3))
    racers = [asyncio.ensure_future(ctx.step.run(name, back, name)) for name in ("a", "b")]
    racers.append(asyncio.ensure_future(ctx.step.sleep("c", "1d")))
    done, _ = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
    for racer in racers:
        racer.cancel()
    await asyncio.wait(racers)
    return [gathered, [racer in done for racer in racers], ctx.now(), ctx.random.random()]


@durable.function(retries=1, backoff=Backoff(first="1m"))
async def failing(ctx: Context) -> str:
    """Attempts, a failure, and R32: the run is opened again, and fails again."""
    await ctx.step.run("kept", back, 1)
    waiting = ctx.step.sleep("cancelled", "1d")
    waiting.close()
    if ctx.attempt == 0:
        raise RuntimeError("the function itself")
    return await ctx.step.run(StepOptions("out of tries", retries=0), broken) or ""


@durable.function
async def parked(ctx: Context) -> None:
    """A run that takes the process down, goes on, and is cancelled."""
    await ctx.step.run("hangs", hangs)
    await ctx.step.wait_for_event("never", event="never", timeout="1d")


@durable.function
async def resting(ctx: Context) -> None:
    """A run that is recorded to rest, as if there were very many."""
    await ctx.step.sleep("nap", "1d")


@durable.function(throttle=durable.Throttle(1, "1h", key="event.data.user"))
async def bounded(ctx: Context) -> None:
    """A run that waits for its start."""


HANGS = [True]


async def hangs() -> None:
    if HANGS.pop():
        await asyncio.Event().wait()


async def _story_of_kinds(lab: Lab) -> list[str]:
    run = await lab.start(kinds, {"key": 1}, id="golden-kinds")
    await lab.advance("2d")
    await lab.send("paid", {"key": 1, "ok": True, "sum": Decimal("1.5")}, id="given")
    await lab.send("paid", ts=lab.clock.now() + timedelta(days=1))
    await lab.signal("go", {1, 2})
    await lab.result(run)
    return [run.id, f"{run.id}/child"]


async def _story_of_failing(lab: Lab) -> list[str]:
    run = await lab.start(failing, {"at": datetime(2026, 1, 1, tzinfo=UTC)}, id="golden-failing")
    for _ in range(2):
        try:
            await lab.result(run)
        except RunFailed:
            await lab.engine.retry(run.id)
            await lab.settle()
    return [run.id]


async def _story_of_parked(lab: Lab) -> list[str]:
    HANGS[:] = [False, True]
    starting = asyncio.ensure_future(lab.start(parked, id="golden-parked"))
    while len(HANGS) == 2:
        await asyncio.sleep(0)
    starting.cancel()
    await lab.crash()
    await lab.engine.cancel("golden-parked")
    return ["golden-parked"]


async def _story_of_resting(lab: Lab) -> list[str]:
    run = await lab.start(resting, {"n": 1}, id="golden-resting")
    runtime = inside(lab.engine, "golden")
    runtime.journal.post(rest_of(runtime.state.ledgers[run.id], "nap", lab.clock.now()))
    await lab.result(run)
    return [run.id]


@durable.function("golden/doc", debounce=durable.Debounce("5s", "1m", "event.data.k"))
async def indexed(ctx: Context) -> Any:
    return ctx.event.data


@durable.function("golden/row", batch_events=durable.Batch(2, "5s"))
async def inserted(ctx: Context) -> Any:
    await ctx.step.sleep("s", "1h")
    return [event.data for event in ctx.events]


@durable.function("golden/job", singleton=durable.Singleton(key="event.data.k"))
async def alone(ctx: Context) -> None:
    await ctx.step.sleep("s", "1h")


async def held() -> str:
    """Live a story of events that are held, replaced, taken back and skipped; return all its records as one file."""
    store = DictStore()
    async with Lab([indexed, inserted, alone], store=store) as lab:
        for n in range(2):
            await lab.send("golden/doc", {"n": n, "k": {"a": [1.0, "ü"]}}, id=f"doc{n}")
            await lab.send("golden/job", {"n": n, "k": n == n})
        await lab.send("golden/doc", {"k": {"a": [1, "ü"]}}, ts=datetime(2029, 1, 1, tzinfo=UTC))
        *_, last = [(await lab.engine.send("golden/row", {"n": n, "at": date(2030, 1, n + 1)}))[0] for n in range(3)]
        runtime = inside(lab.engine, "golden")
        runtime.journal.post_all(runtime.decisions.gathering.taken_back(last, lab.clock.now()))
        await lab.advance("1m")
        lab._functions = [
            indexed,
            durable.function("golden/row", id="inserted", batch_events=durable.Batch(3, "5s"))(_lost),
        ]
        await lab.crash()
        for n in range(2):
            last = (await lab.engine.send("golden/row", {"n": n}))[0]
        runtime = inside(lab.engine, "golden")
        runtime.journal.post_all(runtime.decisions.gathering.taken_back(last, lab.clock.now()))
        waiting = next(one for one in runtime.state.ledgers.values() if one.function == "inserted")
        runtime.journal.post(rest_of(waiting, "s", lab.clock.now()))
        await lab.advance("2h")
    await store.open()
    runs = dict.fromkeys(fact[1] for key in store.mapping if key.startswith("batch/") for fact in store.mapping[key])
    return write_lines("", "", [entry for run in runs if run async for entry in store.history(run)])


async def _lost(ctx: Context) -> None:
    await ctx.step.sleep("s", "1h")


async def _story_of_bounded(lab: Lab) -> list[str]:
    await lab.start(bounded, {"user": 1.0}, id="golden-first")
    run = await lab.start(bounded, {"user": 1}, id="golden-bounded")
    await lab.result(run)
    return [run.id]


async def _story_of_a_fork(lab: Lab) -> list[str]:
    first, *_, last = (await lab.engine.info("golden-kinds/child")).steps
    steps = {first: plain()}
    run = await lab.engine.fork("golden-kinds/child", before=last, steps=steps, id="golden-forked")
    await lab.result(run)
    return [run.id]


def _of_schedules(now: datetime) -> list[Record]:
    nine = ("0 9 * * *", "Europe/Berlin", now)
    return [
        TicksPassed("cron/values", 0, (nine,), None, now),
        TicksReplaced("cron/values", 0, now),
        TicksPassed("cron/values", 1, (nine, ("every 90m", "UTC", now)), now, now),
        ScheduleMade("acme", "values", "@daily", "UTC", "last", '{"tenant":"acme"}', now),
        ScheduleMade("acme", "values", "@hourly", "Asia/Tokyo", "all", "{}", now, 90.5),
        ScheduleEnded("acme", now),
        FunctionPaused("values", now),
        FunctionResumed("values", now, ((now, now),)),
        FunctionPaused("values", now, ((now, now),)),
        FunctionResumed("values", now),
    ]


async def tell() -> dict[str, str]:
    """Live all the stories; return the files that they make, by name."""
    files: dict[str, str] = {}
    store = DictStore()
    async with Lab([values, kinds, failing, parked, resting, bounded], store=store) as lab:
        stories = (_story_of_kinds, _story_of_failing, _story_of_parked, _story_of_resting, _story_of_bounded)
        for story in (*stories, _story_of_a_fork):
            for run in await story(lab):
                info = await lab.engine.info(run)
                files[f"{run.replace('/', '-')}.jsonl"] = write_lines(run, info.function_id, info.record)
        [withdrawn] = await lab.engine.send("paid", id="free", ts=lab.clock.now() + timedelta(days=1))
        await lab.engine.unsend(withdrawn)
        journal = inside(lab.engine, "golden").journal
        journal.post(MessageTaken("golden-message", lab.clock.now()))
        journal.post_all(_of_schedules(lab.clock.now()))
        await journal.synced()
    await store.open()
    kept = [entry async for entry in store.history("")]
    facts = [entry for entry in kept if entry.kind != "Counted"]
    files["counted.jsonl"] = write_lines("", "", [entry for entry in kept if entry.kind == "Counted"])
    runs = [row.id for row in await store.find(durable.RunQuery()) if row.id.startswith("durable/")]
    scheduled = [fact[1] for key in store.mapping if key.startswith("batch/") for fact in store.mapping[key]]
    for run in dict.fromkeys(one for one in [*runs, *scheduled] if one.startswith("durable/event/")):
        facts += [entry async for entry in store.history(run)]
    messages = [entry async for entry in store.history(message_run("golden-message"))]
    taken_back = [entry async for entry in store.history(scheduled_run(withdrawn))]
    files["withdrawn.jsonl"] = write_lines("", "", taken_back)
    files["inbox.jsonl"] = write_lines("", "", messages)
    schedules = [run for run in dict.fromkeys(scheduled) if run.startswith(SCHEDULES)]
    files["schedules.jsonl"] = write_lines("", "", [one for run in schedules async for one in store.history(run)])
    files["facts.jsonl"] = write_lines("", "", facts)
    files["held.jsonl"] = await held()
    return files


def write_missing() -> None:
    """Write the files that lack; to be called by hand."""
    GOLDEN.mkdir(exist_ok=True)
    for name, text in asyncio.run(tell()).items():
        text = text.replace(str(GOLDEN.parent.parent.parent), "/code")  # as stacks name it
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_text(text, encoding="utf-8")
            print(name)
