"""The checks of torture checked: each invariant is able to fail, on a record or a process that breaks it; and each
planted fault has its line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from durable import DictStore, Engine, Event
from durable.engine.opened import inside
from durable.errors import RecordedError
from durable.functions.current import CurrentStep
from durable.journal.codec.values import encode
from durable.journal.records import (
    Cancelled,
    EventSent,
    ForEvent,
    Ok,
    RunClosed,
    RunOpened,
    RunRetried,
    StepClosed,
    StepOpened,
    StepRetried,
    Until,
)
from durable.journal.rules.ledger import Ledger
from durable.scheduler.stand_in import Call
from durable.testing.lab import START
from tests.proof.torture.faults import CONTROL, FAULTS
from tests.proof.torture.invariants import Watch, check_ends, check_events, check_quiet, check_timers
from tests.proof.torture.planting import ROOT, Fault

ERROR = RecordedError("ValueError", "broken")
EVENT = Event("e", {"k": 1}, "x", START)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def opened(run: str = "r") -> RunOpened:
    return RunOpened(run, "f", Event("go", {"k": 1}), at(0))


def waits(key: str = "w", *, seconds: float = 100, match: str | None = None) -> StepOpened:
    return StepOpened("r", key, "wait_for_event", ForEvent("e", at(seconds), match, None), at(1))


def answered(seconds: float, by: Event | None = EVENT, key: str = "w") -> StepClosed:
    return StepClosed("r", key, "wait_for_event", Ok(encode(by)), 1, at(seconds), 0)


def ran(seconds: float, key: str = "a") -> StepClosed:
    return StepClosed("r", key, "run", Ok("1"), 1, at(seconds), 1)


SLEEP = StepOpened("r", "s", "sleep", Until(at(10)), at(1))
WOKEN = StepClosed("r", "s", "sleep", Ok("null"), 1, at(10), 0)
TRIED = StepRetried("r", "a", "run", 1, at(10), ERROR, at(1))
AGAIN = RunRetried("r", 1, at(10), ERROR, at(1))
LATER = EventSent("x", EVENT, at(1), due=at(10))
SENT = EventSent("x", EVENT, at(10))
CLOSED = RunClosed("r", "completed", at(20))

Check = Callable[[list[Any]], None]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([SLEEP, WOKEN], "woken early"),
        ([waits(seconds=10), answered(10, None)], "timed out early"),
        ([TRIED, ran(10)], "retried early"),
        ([AGAIN, ran(10)], "called again early"),
        ([AGAIN, attrs.evolve(SLEEP, at=at(10))], "called again early"),
        ([AGAIN, attrs.evolve(AGAIN, at=at(10))], "called again early"),
        ([AGAIN, attrs.evolve(CLOSED, at=at(10))], "called again early"),
        ([LATER, SENT], "delivered early"),
    ],
)
def test_a_timer_that_is_early_is_seen(records: list[Any], message: str) -> None:
    """R17: at the deadline all is well, a moment before it is not."""
    check_timers([opened(), *records])
    early = attrs.evolve(records[-1], at=at(9.999))
    with pytest.raises(AssertionError, match=message):
        check_timers([opened(), *records[:-1], early])


def test_an_answer_after_the_deadline_is_seen() -> None:
    """R19"""
    check_timers([opened(), waits(seconds=10), answered(9.999)])
    with pytest.raises(AssertionError, match="after its deadline"):
        check_timers([opened(), waits(seconds=10), answered(10)])


MATCHING = [opened(), waits(), waits("v", match="data.k"), SENT, answered(10), answered(10, key="v")]
NOT_FOR_IT = attrs.evolve(SENT, event=Event("e", {"k": 2}, "x", START))


@pytest.mark.parametrize(
    "records",
    [
        [*MATCHING[:-1], ran(11)],  # one of two waits is passed over
        MATCHING[:-1],
        [*MATCHING[:-2], attrs.evolve(answered(10), outcome=Ok("null"))],
        [opened(), SENT, waits(), answered(10)],  # sent before the wait
        [opened(), waits("v", match="data.k"), NOT_FOR_IT, answered(10, key="v")],  # of another k
        [opened(), waits(seconds=10), SENT, answered(10)],  # at its deadline
    ],
)
def test_an_event_that_answers_other_waits_than_those_recorded_before_it_is_seen(records: list[Any]) -> None:
    """R18, R19, R20"""
    check_events(MATCHING)
    check_events([opened(), waits("v", match="data.k"), NOT_FOR_IT, answered(100, None, "v")])
    with pytest.raises(AssertionError):
        check_events(records)


@pytest.mark.parametrize(
    "records",
    [
        [ran(1), ran(2)],
        [ran(1), attrs.evolve(TRIED, at=at(2))],
        [SLEEP, WOKEN, SLEEP],
        [CLOSED, ran(21)],
        [CLOSED, CLOSED],
        [ran(1), AGAIN, ran(11)],
    ],
)
def test_what_goes_on_after_its_end_is_seen(records: list[Any]) -> None:
    """R1, R27"""
    check_ends([opened(), ran(1), SLEEP, WOKEN, AGAIN, CLOSED])
    cancelled = attrs.evolve(ran(1), outcome=Cancelled())
    check_ends([opened(), cancelled, AGAIN, ran(11), CLOSED])
    with pytest.raises(AssertionError):
        check_ends([opened(), *records])


# The planted faults.


@pytest.mark.parametrize("fault", [CONTROL, *FAULTS], ids=lambda fault: fault.name)
def test_each_fault_can_still_be_planted(fault: Fault) -> None:
    """One whose line has gone would be taken for one that is caught. `tests.proof.torture.faults` plants them."""
    text = (ROOT / "durable" / fault.file).read_text()
    assert text.count(fault.old) == 1 and (fault.old == fault.new) is (fault is CONTROL)
    assert all((ROOT / test).exists() for test in fault.tests if test.endswith(".py"))


# What a process does.


class Disk:
    """What a store has synced."""

    def __init__(self, *keys: str) -> None:
        self.closed: dict[str, dict[str, Any]] = {"r": {key: ran(1, key) for key in keys}}


class Memory:
    """What an engine has folded; it has no coroutine."""

    def __init__(self) -> None:
        self.state = self.scheduler = self
        self.sessions: dict[str, Any] = {}
        self.ledgers = {"r": Ledger.opened(opened())}
        self.ledgers["r"].fold(ran(1))


def watch(disk: Disk) -> Watch:
    """Return a watch over a run of which step "a" ended in turn 1."""
    memory = Memory()
    return Watch(lambda: memory, disk)  # type: ignore[arg-type, return-value]


def call(key: str, turn: int) -> Call:
    return Call("r", key, "run", 0, turn, False)


def test_a_function_that_goes_on_after_a_step_that_is_not_durable_is_seen() -> None:
    """R2: acknowledged implies present."""
    for disk, is_whole in ((Disk("a"), True), (Disk(), False)):
        watching = watch(disk)
        watching.asked(call("a", 0))
        watching.asked(call("b", 1))
        if is_whole:
            watching.check(0)
        else:
            with pytest.raises(AssertionError, match="went on after a, which is not durable"):
                watching.check(0)


def executed(watching: Watch, key: str, attempt: int = 0) -> None:
    watching.count(CurrentStep("r", key, attempt))


def test_a_finished_handler_that_is_called_again_is_seen() -> None:
    """R1"""
    watching = watch(Disk("a"))
    executed(watching, "b")
    watching.check(0)
    watching.begin()
    executed(watching, "a")
    with pytest.raises(AssertionError, match="although its end is durable"):
        watching.check(1)


@pytest.mark.parametrize("deaths", [0, 1, 3])
def test_more_than_one_extra_execution_for_each_death_is_seen(deaths: int) -> None:
    watching = watch(Disk())
    for _ in range(deaths):
        executed(watching, "b")
        watching.begin()
    executed(watching, "b")
    watching.check(deaths)
    with pytest.raises(AssertionError, match=f"ran {deaths + 1} times with"):
        watching.check(deaths - 1)
    executed(watching, "b")
    with pytest.raises(AssertionError, match="runs twice in one process"):
        watching.check(deaths)


def test_a_replay_that_calls_other_steps_is_seen() -> None:
    """R5: the calls of one life begin the calls of the other, with the turns at which they came."""
    for third, is_same in ((call("c", 1), True), (call("d", 1), False), (call("c", 2), False)):
        watching = watch(Disk("a"))
        for one in (call("a", 0), call("b", 0), call("c", 1)):
            watching.asked(one)
        watching.begin()
        watching.asked(call("a", 0))
        watching.begin()
        for one in (call("a", 0), call("b", 0), third, call("e", 1)):
            watching.asked(one)
        if is_same:
            watching.check(2)
        else:
            with pytest.raises(AssertionError, match="before it died, and then"):
                watching.check(2)


def test_a_run_that_is_quiet_and_waits_for_nothing_is_seen() -> None:
    async def story() -> None:
        store = DictStore()
        async with Engine([], store=store) as engine:
            runtime = inside(engine, "a test")
            runtime.journal.post(opened())
            await runtime.journal.synced()
            infos = [await engine.info("r")]
            with pytest.raises(AssertionError, match="waits for nothing"):
                check_quiet(runtime, infos)
            runtime.journal.post(waits())
            await runtime.journal.synced()
            check_quiet(runtime, [await engine.info("r")])
            runtime.journal.post(answered(2))
            with pytest.raises(AssertionError):
                check_quiet(runtime, [])

    asyncio.run(story())
