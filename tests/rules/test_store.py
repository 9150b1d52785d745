"""What is durable when: sends in steps, cuts of the record, a store that fails, restarts (R22, R25, R31)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durable
from durable import Backoff, Context, DictStore, Engine, Event, StoreError
from durable.engine.opened import inside
from durable.journal.codec.write import read
from durable.stores.store import Entry
from durable.testing import Lab, VirtualClock

START = datetime(2030, 1, 1, tzinfo=UTC)


class Suspending(DictStore):
    """A store whose appends take a round of the loop, so that they come in other groups."""

    immediate = False

    async def append(self, entries: Sequence[Entry]) -> None:
        await asyncio.sleep(0)
        await super().append(entries)


def cuts(store: DictStore) -> list[dict[str, Any]]:
    """Return the mapping as it was after each batch, from none on."""
    batches = [key for key in store.mapping if key.startswith("batch/")]
    return [{key: store.mapping[key] for key in batches[:count]} for count in range(len(batches) + 1)]


def closed_steps(mapping: dict[str, Any]) -> set[tuple[str, str]]:
    facts = [fact for key, batch in mapping.items() if key.startswith("batch/") for fact in batch]
    return {(fact[1], read("StepClosed", fact[3]).key) for fact in facts if fact[2] == "StepClosed"}  # type: ignore[union-attr]


# A run that invokes, sends events and signals, cut after every batch (R22, R23, R24).


@durable.function()
async def listens(ctx: Context) -> Any:
    first, second = [
        await ctx.step.wait_for_event("paid", event="paid", timeout="9d", if_exp=f"async.data.n == {n}") for n in (1, 2)
    ]
    return [event and event.data["n"] for event in (first, second)]


@durable.function()
async def is_signalled(ctx: Context) -> Any:
    signal = await ctx.step.wait_for_signal("s", signal="s", timeout="9d")
    return signal and signal.data


@durable.function("paid")
async def audit(ctx: Context) -> int:
    return await ctx.step.run(f"audit {ctx.event.data['n']}", lambda: ctx.event.data["n"])


@durable.function()
async def child(ctx: Context) -> str:
    await ctx.step.run("child works", lambda: None)
    await ctx.step.sleep("pause", "1h")
    await ctx.step.send_event("second", Event("paid", {"n": 2}))
    return ctx.run_id


@durable.function("go")
async def parent(ctx: Context) -> Any:
    await ctx.step.send_event("first", [Event("paid", {"n": 1}), Event("nobody")])
    name, _ = await asyncio.gather(ctx.step.invoke("child", function=child), ctx.step.run("works", lambda: None))
    received = await ctx.step.send_signal("signal", "s", "hello")
    await ctx.step.run("ends", lambda: None)
    return [name, received]


EVERYONE = [listens, is_signalled, audit, child, parent]
STEPS = {"child works": 1, "works": 1, "ends": 1, "audit 1": 1, "audit 2": 1}


async def drive(lab: Lab) -> None:
    """Tell the story; told again it adds nothing, since everything from outside has an id."""
    await lab.start(listens, id="listens")
    await lab.start(is_signalled, id="signalled")
    await lab.start(parent, id="parent")
    await lab.advance("1h")


async def outcome(lab: Lab) -> tuple[Any, ...]:
    infos = await lab.engine.runs()
    functions = Counter(info.function_id for info in infos)
    results = [(await lab.engine.info(run)).output for run in ("listens", "signalled", "parent")]
    return functions, {info.status for info in infos}, results


@pytest.mark.parametrize("downtime", ["0s", "5h"])
@pytest.mark.parametrize("make_store", [DictStore, Suspending])
def test_wherever_the_record_is_cut_no_child_wake_up_or_event_is_lost_or_doubled(
    make_store: Callable[[], DictStore], downtime: str
) -> None:
    """R22, R23, R24: no orphan child, no lost wake-up, no event twice, and no finished handler again (R1)."""
    expected = (
        {"listens": 1, "is_signalled": 1, "parent": 1, "child": 1, "audit": 2},
        {"completed"},
        [[1, 2], "hello", ["parent/child", "signalled"]],
    )

    async def story() -> None:
        store = make_store()
        async with Lab(EVERYONE, store=store) as lab:
            await drive(lab)
            assert await outcome(lab) == expected
            assert lab.calls == STEPS
        records = cuts(store)
        assert len(records) > 12
        for cut in records:
            finished = Counter(key for _, key in closed_steps(cut) if key in STEPS)
            clock = VirtualClock(START)
            clock.advance(downtime)
            async with Lab(EVERYONE, store=DictStore(cut), start=clock.now()) as lab:
                await drive(lab)
                assert await outcome(lab) == expected, f"cut after {len(cut)} batches"
                assert lab.calls + finished == STEPS, f"cut after {len(cut)} batches"

    asyncio.run(story())


def test_events_of_a_step_and_its_record_are_one_write() -> None:
    """R22: exactly once: whoever has the events has the step's record, and the other way round."""

    async def story() -> None:
        store = Suspending()
        async with Lab(EVERYONE, store=store) as lab:
            await drive(lab)
        for cut in cuts(store):
            facts = [fact for key, batch in cut.items() if key.startswith("batch/") for fact in batch]
            audits = {fact[1] for fact in facts if fact[2] == "RunOpened" and fact[1].endswith("/audit")}
            sent = {("parent", "first"), ("parent/child", "second")} & closed_steps(cut)
            answered = {("listens", "paid"), ("listens", "paid:1")} & closed_steps(cut)
            assert len(audits) == len(sent) == len(answered)

    asyncio.run(story())


# A store that fails (R31).


class Failing(DictStore):
    """A store whose append number `at` fails, before or after its entries were kept; it counts the calls."""

    def __init__(self, at: int, *, kept: bool, immediate: bool) -> None:
        super().__init__()
        self.at, self.kept, self.calls = at, kept, 0
        self.immediate = immediate  # type: ignore[misc]

    async def append(self, entries: Sequence[Entry]) -> None:
        self.calls += 1
        if not self.immediate:
            await asyncio.sleep(0)
        if self.calls < self.at or self.kept:
            await super().append(entries)
        if self.calls == self.at:
            raise OSError("no space left on device")


def two_steps(mapping: dict[str, Any], seen: list[str]) -> durable.Function[Any]:
    """Return a function that notes what it sees, and whether that is durable by then."""

    @durable.function("go")
    async def f(ctx: Context) -> list[int]:
        values = []
        for key in ("a", "b"):
            values.append(await ctx.step.run(key, lambda: seen.append("called") or 1))
            assert ("r", key) in closed_steps(mapping)
        event = await ctx.step.wait_for_event("w", event="e", timeout="1d")
        assert ("r", "w") in closed_steps(mapping)
        seen.append(f"answered by {event and event.name}")
        return values

    return f


async def failing_story(store: Failing, seen: list[str]) -> bool:
    """Tell a story on a store that fails; return whether its sender was told that the event is kept."""
    f = two_steps(store.mapping, seen)
    engine, sent = Engine([f], store=store), False
    await engine.open()
    try:
        run = await engine.start(f, id="r")
        result = asyncio.create_task(run.result())
        await engine.settled()
        await engine.send("e", id="once")
        sent = True
        await result
    except StoreError:
        pass
    else:
        result.cancel()
    calls = store.calls
    if calls >= store.at:
        await everything_is_refused(engine, f)
        assert store.calls == calls == store.at
    await engine.close()
    return sent


async def everything_is_refused(engine: Engine, f: durable.Function[Any]) -> None:
    asked: list[Callable[[], Awaitable[Any]]] = [
        lambda: engine.send("e"),
        lambda: engine.send_signal("s"),
        lambda: engine.start(f),
        lambda: engine.start(f, id="r"),
        lambda: engine.invoke(f),
        lambda: engine.run("r"),
        lambda: engine.runs(),
        lambda: engine.cancel("r"),
        lambda: engine.retry("r"),
        lambda: engine.settled(),
        lambda: engine.result("r"),
        lambda: engine.info("r"),
    ]
    for ask in asked:
        with pytest.raises(StoreError, match=r"no space left|not known to be recorded"):
            await ask()


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_store_that_fails_shows_nothing_unrecorded_and_a_restart_goes_on(
    at: int, kept: bool, immediate: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """R31: the engine stops, every caller gets StoreError, nothing is appended again; a restart goes on."""

    async def story() -> None:
        seen: list[str] = []
        store = Failing(at, kept=kept, immediate=immediate)
        sent = await failing_story(store, seen)
        known = closed_steps(store.mapping)
        del seen[:]
        async with Engine([two_steps(store.mapping, seen)], store=DictStore(store.mapping)) as engine:
            run = await engine.start("f", id="r")
            await engine.settled()
            if sent:  # acknowledged implies present
                assert ("r", "w") in known
            await engine.send("e", id="once")
            assert await run.result() == [1, 1]
        assert seen.count("called") == len({("r", "a"), ("r", "b")} - known)

    asyncio.run(story())


def test_a_caller_that_waits_for_a_run_gets_the_store_error() -> None:
    """R31: everyone who waits is told, not only who wrote."""

    async def story() -> None:
        store, f = Failing(99, kept=False, immediate=False), two_steps({}, [])
        async with Engine([listens, f], store=store) as engine:
            run = await engine.start(listens)
            waiting = [asyncio.create_task(run.result()) for _ in range(3)]
            await engine.settled()
            store.at = store.calls + 1
            with pytest.raises(StoreError) as first:
                await engine.send("paid", {"n": 1})
            with pytest.raises(StoreError) as second:
                await engine.send("paid", {"n": 1})
            assert first.value is not second.value  # one error raised for ever would keep every caller's frames
            told = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(error) for error in told] == [StoreError] * 3

    asyncio.run(story())


# Restarts (R25).


async def boom() -> None:
    raise ValueError("not yet")


@durable.function("go", retries=1, backoff=Backoff("1h", 1.0, jitter=0))
async def lives_on(ctx: Context) -> str:
    """Be found in every state in which a restart can find a run."""
    kind = ctx.event.data["kind"]
    if kind == "sleeping":
        await ctx.step.sleep("s", "1h")
    elif kind == "retrying":
        if ctx.attempt == 0:
            raise ValueError("not yet")
    elif kind == "trying":
        try:
            await ctx.step.run("try", boom)
        except durable.StepError:
            return "tried"
    return kind


def test_after_a_restart_every_unfinished_run_goes_on_without_being_asked() -> None:
    """R25: sleeping, waiting for its next attempt, for a step's next try, just opened, or at work in a handler."""
    kinds = ["sleeping", "retrying", "trying", "opened"]

    async def story() -> None:
        store, clock = DictStore(), VirtualClock(START)
        engine = Engine([lives_on], store=store, clock=clock)
        await engine.open()
        for kind in kinds[:3]:
            await engine.start(lives_on, {"kind": kind}, id=kind)
        await engine.settled()
        await engine.start(lives_on, {"kind": "opened"}, id="opened")
        await inside(engine, "a test").abandon()
        clock.advance("3h")
        async with Lab([lives_on], store=DictStore(store.mapping), start=clock.now()) as lab:
            statuses = {info.id: info.status for info in await lab.engine.runs()}
            assert statuses == dict.fromkeys(kinds, "completed")

    asyncio.run(story())


def test_a_handler_that_was_running_runs_again_after_a_restart() -> None:
    """R25: what was at work when the process died begins again, and its run ends."""
    started = asyncio.Event()
    calls: list[int] = []

    async def work() -> int:
        calls.append(len(calls))
        started.set()
        if len(calls) == 1:
            await asyncio.get_running_loop().create_future()
        return calls[-1]

    @durable.function()
    async def f(ctx: Context) -> int:
        return await ctx.step.run("work", work)

    async def story() -> None:
        store = DictStore()
        engine = Engine([f], store=store)
        await engine.open()
        run = await engine.start(f)
        await started.wait()
        await inside(engine, "a test").abandon()
        async with Engine([f], store=DictStore(store.mapping)) as engine:
            assert await engine.result(run.id) == 1

    asyncio.run(story())


def test_a_run_whose_function_is_not_registered_stays_parked_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """R25: named in the log with what to do; it goes on once the function is there."""

    async def story() -> None:
        store = DictStore()
        async with Lab([lives_on], store=store) as lab:
            await lab.start(lives_on, {"kind": "sleeping"}, id="r")
        async with Lab([], store=DictStore(store.mapping)) as lab:
            await lab.advance(timedelta(hours=2))
            assert (await lab.engine.info("r")).status == "waiting"
        assert "'r'" in caplog.text and "'lives_on'" in caplog.text and "Engine(functions=[...])" in caplog.text
        async with Lab([lives_on], store=DictStore(store.mapping)) as lab:
            assert (await lab.engine.info("r")).status == "completed"

    asyncio.run(story())
