"""The loop goes on: what many records, timers or runs call for at once is done a few at a time (R17)."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import attrs
import pytest

import durable
from durable import (
    Cancel,
    Context,
    DictStore,
    Engine,
    Entry,
    Event,
    FileStore,
    Limits,
    StepOptions,
    StoreError,
    Timeouts,
)
from durable.engine.opened import inside
from durable.journal.records import EngineClosed, RunClosed, RunOpened, StepClosed
from durable.journal.rules.retries import Backoff
from durable.scheduler.deadlines import Deadlines, RunDue, StepDue, What
from durable.scheduler.pacing import ADMITTED_AT_ONCE, BACKLOG, Pace
from durable.scheduler.rounds import Rounds
from durable.scheduler.scheduler import BEGUN_AT_ONCE, STOPPED_AT_ONCE
from durable.testing import FailingStore, Lab, VirtualClock
from durable.timers.wheel import AT_ONCE
from tests.support.lives import records, rounds
from tests.unit.timers.test_clock import LeapingLoop, Wall

START = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MANY = 1_000
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def batches(store: DictStore) -> list[Counter[str]]:
    """How many records of each kind were written at once, write by write."""
    numbers = sorted(int(key[6:]) for key in store.mapping if key.startswith("batch/"))
    return [Counter(fact[2] for fact in store.mapping[f"batch/{number}"]) for number in numbers]


async def turns(count: Callable[[], int], until: int) -> list[int]:
    """Let the loop go round until a count has come to `until`; return by how much it rose in each turn."""
    steps, before = [], count()
    while before < until:
        await asyncio.sleep(0)
        steps.append(count() - before)
        before = count()
    return steps


async def opened(engine: Engine, count: int, name: str = "go") -> None:
    """Open runs, and let them come to where they wait."""
    for _ in range(0, count, 100):
        await engine.send([Event(name) for _ in range(100)])
    await engine.settled()


# Timers.


@durable.function("go", retries=0)
async def sleeper(ctx: Context) -> datetime:
    await ctx.step.sleep("a", "1h" if hash(ctx.run_id) % 2 else "2h")
    return ctx.now()


@pytest.mark.parametrize("resident", [10, 10_000], ids=["parked", "resident"])
@pytest.mark.parametrize("late", ["2h", "10d"])
async def test_sleeps_that_end_at_once_are_recorded_at_their_deadlines_200_in_a_turn(late: str, resident: int) -> None:
    """R17: the clock rings once; however late its turn comes, a sleep ends when it was to end, and so `ctx.now()`."""
    store, clock = DictStore(), VirtualClock(START)
    async with Engine([sleeper], store=store, clock=clock, resident=resident) as engine:
        await opened(engine, MANY)
        before = len(batches(store))
        clock.advance(late)
        await engine.settled()
        written = batches(store)[before:]
        closed = [record for record in records(store.mapping) if isinstance(record, StepClosed)]
        ends = [await engine.result(record.run) for record in closed]
    assert max(batch["StepClosed"] for batch in written) <= 2 * AT_ONCE  # a write may take in what two turns post
    due = [START + timedelta(hours=1 if hash(record.run) % 2 else 2) for record in closed]
    assert [record.at for record in closed] == sorted(due)
    assert ends == [record.at for record in closed]


async def test_a_deadline_is_never_recorded_before_what_the_run_has_recorded() -> None:
    """R19: a step that ended later, and was noticed earlier, stands before it: time does not go back within a run."""
    late = asyncio.Event()

    @durable.function
    async def races(ctx: Context) -> list[datetime]:
        nap = asyncio.ensure_future(ctx.step.sleep("nap", "1h"))
        await ctx.step.run("work", late.wait)
        times = [ctx.now()]
        await nap
        return [*times, ctx.now()]

    clock, store = VirtualClock(START), DictStore()
    async with Engine([races], store=store, clock=clock) as engine:
        run = await engine.start(races)
        await rounds()
        for number in range(2 * AT_ONCE):  # all due before it, and so before its turn
            inside(engine, "test").timers.set(StepDue("other", str(number)), START + SECOND)
        clock.advance("3h")
        late.set()
        assert await run.result() == [START + timedelta(hours=3)] * 2
    ats = [record.at for record in records(store.mapping) if getattr(record, "run", "") == run.id]
    assert ats == sorted(ats)


async def test_deadlines_that_passed_while_nothing_ran_count_from_the_opening() -> None:
    """R17: nobody was there to end them, and what follows from an ending counts from when there is somebody."""

    @durable.function("go", timeouts=Timeouts(finish="1h"))
    async def timed(ctx: Context) -> None:
        await ctx.step.sleep("a", "9d")

    @durable.function("later")
    async def started(ctx: Context) -> datetime:
        return ctx.now()

    store, clock = DictStore(), VirtualClock(START)
    async with Engine([timed, started], store=store, clock=clock) as engine:
        await engine.send("later", ts=START + timedelta(hours=1))
        await engine.send("go")
        await engine.settled()
    clock.advance("30d")
    async with Lab([timed, started], store=store, start=clock.now()):
        pass
    ended = [record for record in records(store.mapping) if isinstance(record, RunClosed)]
    begun = [record for record in records(store.mapping) if isinstance(record, RunOpened)]
    assert [(record.status, record.at) for record in ended] == [("cancelled", clock.now()), ("completed", clock.now())]
    assert begun[-1].at == clock.now()


async def test_a_deadline_that_fails_loses_no_other_one(caplog: pytest.LogCaptureFixture) -> None:
    """What one guest raises in a batch of deadlines is named in the log, and the batch goes on."""
    begun: list[str] = []

    def begin(run: str) -> None:
        begun.append(run)
        if run == "bad":
            raise OverflowError("on purpose")

    async with Engine(clock=VirtualClock(START)) as engine:
        parts = inside(engine, "test").parts
        Deadlines(parts, begin, lambda run, key: begun.append(key))
        due = [*(RunDue(run, What.ATTEMPT) for run in ("a", "bad", "b")), StepDue("c", "key")]
        parts.timers.on_due([(one, START) for one in due])
    assert begun == ["a", "bad", "b", "key"]
    [line] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "'bad'" in line.getMessage() and "on purpose" in str(line.exc_info)


@attrs.define
class Jumping:
    """A clock that reads what it is told to read next, then `time`; its alarms never ring."""

    time: datetime = START
    then: list[datetime] = attrs.field(factory=list)

    def now(self) -> datetime:
        return self.then.pop(0) if self.then else self.time

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Jumping:
        return self

    def cancel(self) -> None:
        pass


@pytest.mark.parametrize("of", ["step", "function"])
async def test_what_is_given_as_due_is_done_though_the_clock_is_set_back_just_then(of: str) -> None:
    """R17: asked again, the clock would say that it is not due yet, and nothing would ever call it again."""
    calls = 0

    async def fails_once() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("once")
        return calls

    @durable.function(backoff=Backoff(first="10s", jitter=0))
    async def tries(ctx: Context) -> int:
        return await (ctx.step.run("a", fails_once) if of == "step" else fails_once())

    clock = Jumping()
    async with Engine([tries], clock=clock) as engine:
        run = await engine.start(tries)
        await engine.settled()
        clock.then = [START + 10 * SECOND] * 2  # what `fire` and the wheel read; from then on it is earlier
        clock.time = START - timedelta(days=1)
        inside(engine, "test").timers.fire()
        assert await run.result(timeout=5) == 2


@pytest.mark.parametrize("span", ["back-off of a step", "back-off of a function", "timeout of a try"])
def test_spans_are_over_in_time_when_the_wall_clock_is_set_back(span: str) -> None:
    """R17: told within 30 s, the timers bring back-offs and tries' timeouts forward; deadlines stand."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, LeapingLoop)
        clock = Wall(loop)
        calls = 0

        async def work() -> int:
            nonlocal calls
            calls += 1
            if calls == 1 and span == "timeout of a try":
                await asyncio.Event().wait()
            if calls == 1:
                raise ValueError("once")
            return calls

        @durable.function(backoff=Backoff(first="20s" if "back-off" in span else 0, jitter=0))
        async def tries(ctx: Context) -> int:
            options = StepOptions("a", timeout="20s")
            return await (work() if span == "back-off of a function" else ctx.step.run(options, work))

        async def story() -> float:
            async with Engine([tries, sleeper], clock=clock) as engine:
                nap = await engine.start(sleeper)
                run = await engine.start(tries)
                loop.call_later(10, lambda: setattr(clock, "offset", timedelta(hours=-1)))
                assert await run.result() == 2
                over = loop.time()
                await nap.result()
                assert clock.now() >= START + timedelta(hours=1)
                return over

        assert 20 <= runner.run(story()) <= 40.2


# What follows from many records.


@pytest.mark.parametrize("kind", ["cancelled", "answered", "timed out"])
async def test_what_one_event_does_to_a_thousand_runs_is_one_write_and_many_turns(kind: str) -> None:
    """R18, R27: all are decided in one write; their tasks are stopped 200 in a turn, or woken so."""
    woken = 0

    @durable.function("go", cancel=[Cancel("stop")])
    async def waits(ctx: Context) -> None:
        nonlocal woken
        try:
            await ctx.step.wait_for_event("w", event="answer", timeout="1h")
        finally:
            woken += 1

    store, clock = DictStore(), VirtualClock(START)
    async with Engine([waits], store=store, clock=clock) as engine:
        await opened(engine, MANY)
        before = len(batches(store))
        if kind == "timed out":
            clock.advance("1h")
        else:
            await engine.send({"cancelled": "stop", "answered": "answer"}[kind])
        steps = await turns(lambda: woken, MANY)
        await engine.settled()
        written = batches(store)[before:]
    assert max(steps) <= max(STOPPED_AT_ONCE, AT_ONCE) and sum(steps) == MANY
    decided = [batch["RunClosed" if kind == "cancelled" else "StepClosed"] for batch in written]
    if kind == "timed out":
        assert sum(decided) == MANY and max(decided) <= 2 * AT_ONCE
    else:
        assert [count for count in decided if count] == [MANY]


async def test_a_thousand_runs_that_are_opened_at_once_begin_a_few_in_a_turn() -> None:
    """A thousand invokes in one gather: all are posted at the call, and their children begin 50 in a turn."""
    begun = 0

    @durable.function
    async def child(ctx: Context) -> None:
        nonlocal begun
        begun += 1

    @durable.function
    async def parent(ctx: Context) -> int:
        return len(await asyncio.gather(*[ctx.step.invoke("c", function=child) for _ in range(MANY)]))

    async with Engine([parent, child], limits=Limits(steps=MANY)) as engine:
        run = await engine.start(parent)
        steps = await turns(lambda: begun, MANY)
        assert await run.result() == MANY
    assert max(steps) <= BEGUN_AT_ONCE


async def test_runs_whose_function_is_declared_at_last_begin_a_few_in_a_turn() -> None:
    begun = 0

    @durable.function("go")
    async def late(ctx: Context) -> None:
        nonlocal begun
        begun += 1
        await ctx.step.wait_for_event("w", event="x", timeout="1h")

    store = DictStore()
    async with Engine([late], store=store, clock=VirtualClock(START)) as engine:
        await opened(engine, MANY)
    begun = 0
    async with Engine([], store=store, clock=VirtualClock(START)) as engine:
        await engine.settled()
        await engine.start(late)
        steps = await turns(lambda: begun, MANY)
        await engine.settled()
    assert max(steps) <= BEGUN_AT_ONCE and begun == MANY + 1


async def test_a_run_cancelled_while_it_waits_to_be_stopped_or_begun_leaves_nothing() -> None:
    """Closed in the middle of it: every task has ended, and nothing is lost or done twice."""
    ended = 0

    @durable.function("go", cancel=[Cancel("stop")])
    async def waits(ctx: Context) -> None:
        nonlocal ended
        try:
            await ctx.step.wait_for_event("w", event="answer", timeout="1h")
        finally:
            ended += 1

    store, before = DictStore(), asyncio.all_tasks()
    async with Engine([waits], store=store, clock=VirtualClock(START)) as engine:
        await opened(engine, MANY)
        await engine.send("stop")
        await engine.send([Event("go") for _ in range(MANY)])
        assert ended < MANY
    assert ended >= MANY and asyncio.all_tasks() == before
    async with Engine([waits], store=store, clock=VirtualClock(START)) as engine:
        await engine.settled()
        assert len(await engine.runs(status="waiting", limit=2 * MANY)) == MANY
        assert len(await engine.runs(status="cancelled", limit=2 * MANY)) == MANY


# What many callers ask for at once.


@durable.function("go")
async def nothing(ctx: Context) -> None: ...


@pytest.mark.parametrize("kind", ["dict", "file"])
async def test_a_crowd_that_sends_at_once_is_let_in_a_few_in_a_turn_and_in_order(kind: str, tmp_path: Path) -> None:
    """Nothing is made of a send that waits at the door; what runs are still to begin, and what is to be written, is
    bounded. Starts stand in the same queue."""
    sent = 5_000
    backlogs = []
    store = DictStore() if kind == "dict" else FileStore(tmp_path / "x.db")
    async with Engine([nothing], store=store) as engine:
        runtime = inside(engine, "test")
        sends = [asyncio.ensure_future(engine.send("go", {"n": n})) for n in range(sent)]
        last = asyncio.ensure_future(engine.start(nothing, {"n": sent}))
        while not last.done():
            await asyncio.sleep(0)
            backlogs.append(
                (sum(map(len, runtime.scheduler.to_begin)), runtime.journal.posted - runtime.journal.durable)
            )
        await asyncio.gather(*sends)
        infos = await engine.runs(limit=10 * sent)
        assert len(infos) == sent + 1
        assert [info.event.data["n"] for info in infos] == list(range(sent, -1, -1))
    assert max(begin for begin, _ in backlogs) <= BACKLOG + 2 * ADMITTED_AT_ONCE
    assert max(written for _, written in backlogs) <= BACKLOG + 6 * ADMITTED_AT_ONCE


async def test_who_waits_at_the_door_may_leave_and_is_told_when_the_store_fails() -> None:
    store = FailingStore(DictStore(), at=500)
    async with Engine([nothing], store=store) as engine:
        sends = [asyncio.ensure_future(engine.send("go", {"n": n})) for n in range(1_000)]
        await asyncio.sleep(0)
        sends[900].cancel()
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert isinstance(outcomes[900], asyncio.CancelledError)
    kinds = Counter(type(outcome) for outcome in outcomes)
    assert kinds[StoreError] and kinds[list] + kinds[StoreError] == 999


class Counted(DictStore):
    """A DictStore that counts the runs that are read."""

    reads = 0

    async def history(self, run: str) -> AsyncIterator[Entry]:
        self.reads += 1
        async for entry in super().history(run):
            yield entry


@pytest.mark.parametrize("resident", [0, 10_000], ids=["parked", "resident"])
async def test_listing_reads_the_runs_that_it_shows_and_no_others(resident: int) -> None:
    """What the status of an unfinished run is, is known in memory; however many others there are."""

    @durable.function("wait")
    async def waits(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="never", timeout="10d")

    @durable.function
    async def works(ctx: Context) -> None:
        await ctx.step.run("hangs", asyncio.Event().wait)

    @durable.function("quick")
    async def quick(ctx: Context) -> None: ...

    store = Counted()
    async with Engine([waits, works, quick], store=store, clock=VirtualClock(START), resident=resident) as engine:
        await opened(engine, 300, "quick")
        working = [(await engine.start(works)).id for _ in range(3)]
        for _ in range(5):
            await engine.send([Event("wait") for _ in range(100)])
        await rounds(3_000)
        store.reads = 0
        assert [info.id for info in await engine.runs(status="running", limit=2)] == working[:0:-1]
        assert store.reads <= 2 * 2
        assert len(await engine.runs(status="running")) == 3 and not await engine.runs(status="queued")
        assert len(await engine.runs(status="waiting", limit=450)) == 450
        assert not await engine.runs(status="waiting", limit=0) and not await engine.runs(
            status="waiting", function=quick
        )
        assert [info.status for info in await engine.runs(status="completed", limit=4)] == ["completed"] * 4
        store.reads = 0
        waiting = await engine.runs(status="waiting", limit=7)
        assert store.reads <= 7 * 2
        everything = await engine.runs(limit=600)
        assert [info.id for info in waiting] == [info.id for info in everything[:7]] and len(everything) == 600


# The parts.


async def test_of_many_who_wait_for_one_write_200_are_told_in_a_turn() -> None:
    told: list[int] = []
    async with Engine() as engine:
        journal = inside(engine, "test").journal
        number = journal.posted + 1
        for one in range(MANY):
            journal.tell(number, lambda error, one=one: told.append(one))
        journal.post(EngineClosed(START))
        steps = await turns(lambda: len(told), MANY)
    assert told == list(range(MANY)) and max(steps) <= 200


async def test_who_waits_for_what_is_durable_is_told_so_though_the_store_fails_before_its_turn() -> None:
    """R31: it is known to be recorded, whatever fails after it."""
    told: list[StoreError | None] = []
    async with Engine() as engine:
        journal = inside(engine, "test").journal
        for number in (1, 2):
            for _ in range(300):
                journal.tell(journal.posted + number, told.append)
        journal.post(EngineClosed(START))
        journal.flush()
        journal.fail(StoreError("on purpose"))
    assert [error is None for error in told] == [True] * 300 + [False] * 300


async def test_in_one_round_200_are_called_back_and_none_is_passed_over() -> None:
    called: list[tuple[int, int]] = []
    rounds = Rounds()
    for one in range(MANY):
        rounds.call_at(5, partial(lambda one: called.append((rounds.now, one)), one))
    rounds.call_at(6, lambda: called.append((rounds.now, MANY)))
    await rounds.passed(30)
    assert [one for _, one in called] == list(range(MANY + 1))
    assert max(Counter(number for number, _ in called).values()) <= 200


async def test_a_pace_acts_in_order_and_at_once_while_there_is_room() -> None:
    done: list[int] = []
    pace: Pace[int] = Pace(asyncio.get_running_loop(), done.append, 10)
    for one in range(25):
        pace.add(one)
    assert done == list(range(10)) and not pace.is_idle
    await asyncio.sleep(0)
    pace.add(25)
    assert done == list(range(20))
    await asyncio.sleep(0)
    assert done == list(range(26)) and pace.is_idle
    pace.add(26)
    assert done == list(range(27))  # there was room left in this turn
    await asyncio.sleep(0)
    for one in range(27, 50):
        pace.add(one)
    assert pace.clear() == list(range(37, 50)) and pace.is_idle
