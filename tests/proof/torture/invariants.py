"""Check what must be true of every case.

Separate because the simulated crashes, the corpus, the generator and the long form all end in the same checks.
Leaves to each of these the comparison of a case's result with the expected one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs

from durable import RunInfo
from durable.engine.runtime import Runtime
from durable.functions.current import CurrentStep, current_step
from durable.functions.handler import Handler
from durable.journal.codec.values import decode
from durable.journal.codec.write import read
from durable.journal.records import (
    Cancelled,
    Err,
    EventSent,
    ForEvent,
    ForSignal,
    Ok,
    RunClosed,
    RunOpened,
    RunRetried,
    StepClosed,
    StepOpened,
    StepRetried,
    Until,
)
from durable.scheduler.session import Session
from durable.scheduler.stand_in import Call
from durable.stores.store import Entry
from durable.testing.stubs import Stubs
from tests.proof.torture.facts import matches

NULL = Ok("null")
ACTS = ("run", "send_event", "send_signal")  # which end only while a function runs; what waits may end in between


class Durable(Protocol):
    """What a store has synced: by run, the records of its ended steps by key."""

    closed: dict[str, dict[str, Any]]


@attrs.define
class Life:
    """The calls of steps in one process, by run, attempt of its function since it was opened for the last time, and
    execution: a parked run has several."""

    calls: dict[tuple[str, int, Session | None], list[tuple[str, str, int]]] = attrs.field(factory=dict)


class Watch(Stubs):
    """Sees every call of a step and of a handler in an engine, over all its deaths."""

    def __init__(self, runtime: Callable[[], Runtime], store: Durable) -> None:
        super().__init__({})
        self.executions: Counter[tuple[str, str, int]] = Counter()
        self._runtime = runtime
        self._store = store
        self._lives = [Life()]
        self._in_process: set[tuple[str, str, int]] = set()
        self._broken: list[str] = []
        self._attempts: dict[str, int] = {}  # how often a run's function was called again: steps may open anew then

    def begin(self) -> None:
        """Note that a process begins."""
        self._lives.append(Life())
        self._in_process.clear()

    def asked(self, call: Call) -> None:
        """Acknowledged implies present: whatever a function has seen is durable when it goes on (R2)."""
        runtime = self._runtime()
        ledger = runtime.state.ledgers.get(call.run)
        reopenings = ledger.reopenings if ledger is not None else 0
        place = (call.run, call.attempt + 1_000 * reopenings, runtime.scheduler.sessions.get(call.run))
        self._lives[-1].calls.setdefault(place, []).append((call.key, call.kind, call.turn))
        for key in ledger.turns.get(call.turn, ()) if ledger is not None else ():
            if key not in self._store.closed.get(call.run, ()):
                self._broken.append(f"R2: {call.run} went on after {key}, which is not durable")

    def handler(self, step_id: str, handler: Handler) -> Handler:
        """Count a call of a handler."""
        called = super().handler(step_id, handler)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count(current_step())
            return called.function(*args, **kwargs)

        async def counted_async(*args: Any, **kwargs: Any) -> Any:
            self.count(current_step())
            return await called.function(*args, **kwargs)

        return attrs.evolve(called, function=counted_async if called.is_async else counted)

    def count(self, step: CurrentStep) -> None:
        """Finished never runs again; once in a process (R1)."""
        place = (step.run_id, step.key, step.attempt)
        ledger = self._runtime().state.ledgers[step.run_id]
        closed = self._store.closed.get(step.run_id, {}).get(step.key)
        if closed is not None:
            self._broken.append(f"R1: {place} runs although its end is durable: {closed}")
        self._attempts[step.run_id] = ledger.attempt + ledger.reopenings
        if place in self._in_process and not self._attempts[step.run_id]:
            self._broken.append(f"{place} runs twice in one process")
        self._in_process.add(place)
        self.executions[place] += 1

    def check(self, deaths: int) -> None:
        """Check what was seen: at most one extra execution for each death; a replay's calls begin as those before."""
        assert not self._broken, self._broken[0]
        for place, count in self.executions.items():
            allowed = 1 + deaths + self._attempts.get(place[0], 0)
            assert count <= allowed, f"{place} ran {count} times with {deaths} deaths"
        seen: dict[tuple[str, int], list[tuple[str, str, int]]] = {}
        for life in self._lives:
            for (run, attempt, _), calls in life.calls.items():
                place = run, attempt
                before = seen.get(place, [])
                same = min(len(before), len(calls))
                assert before[:same] == calls[:same], f"{place} called {before} before it died, and then {calls}"
                seen[place] = max(before, calls, key=len)


def check_record(entries: Sequence[Entry]) -> None:
    """Check the whole journal: timers, events and waits, ends."""
    records = [read(entry.kind, entry.body) for entry in entries]
    check_timers(records)
    check_events(records)
    check_ends(records)


def _is_answer(outcome: Any) -> bool:
    return isinstance(outcome, Ok) and outcome != NULL  # neither a timeout nor a conflict


def check_timers(records: Sequence[Any]) -> None:
    """Timers are never early: nothing times out, wakes, is retried or delivered before its deadline (R17)."""
    opened: dict[tuple[str, str], StepOpened] = {}
    due: dict[tuple[str, str], Any] = {}
    for record in records:
        _check_due(record, due)
        if isinstance(record, StepOpened):
            opened[record.run, record.key] = record
        elif isinstance(record, StepRetried):
            due[record.run, record.key] = record.due
        elif isinstance(record, StepClosed) and not isinstance(record.outcome, Cancelled):
            wait = opened.get((record.run, record.key))
            if wait is not None and isinstance(wait.wait, Until):
                assert record.at >= wait.wait.until, f"woken early: {record}"
            if wait is not None and isinstance(wait.wait, ForEvent) and record.outcome == NULL:
                assert record.at >= wait.wait.until, f"timed out early: {record}"
            if wait is not None and isinstance(wait.wait, ForEvent | ForSignal) and _is_answer(record.outcome):
                assert record.at < wait.wait.until, f"answered after its deadline: {record}"
            retry = due.pop((record.run, record.key), None)
            assert retry is None or record.at >= retry, f"retried early: {record}"


def _check_due(record: Any, due: dict[tuple[str, str], Any]) -> None:
    """Check that a function is not called again before it is due, and that no event comes before its `ts`."""
    if isinstance(record, EventSent) and record.withdrawn:
        due.pop(("", record.id), None)
    elif isinstance(record, EventSent) and record.due is None:
        assert record.at >= due.pop(("", record.id), record.at), f"delivered early: {record}"
    elif isinstance(record, EventSent):
        due["", record.id] = record.due
    elif _is_of_a_call(record):
        assert record.at >= due.pop((record.run, ""), record.at), f"called again early: {record}"
    elif isinstance(record, RunClosed):  # cancelled: it may be opened again before the attempt that it waited for
        due.pop((record.run, ""), None)
    if isinstance(record, RunRetried):
        due[record.run, ""] = record.due


def _is_of_a_call(record: Any) -> bool:
    match record:
        case StepOpened() | RunRetried():
            return True
        case StepClosed():
            return record.kind in ACTS
        case RunClosed():
            return record.status != "cancelled"
        case _:
            return False


def check_events(records: Sequence[Any]) -> None:
    """An event with an id answers exactly the waits that were recorded before it, and no others (R18, R19)."""
    runs: dict[str, RunOpened] = {}
    open_waits: dict[tuple[str, str], StepOpened] = {}
    awaited: dict[tuple[str, str], str] = {}
    happened: set[str] = set()
    for record in records:
        if awaited and not (isinstance(record, StepClosed) and (record.run, record.key) in awaited):
            raise AssertionError(f"an event did not answer {awaited}, but {record} came")
        if isinstance(record, RunOpened):
            runs[record.run] = record
        elif isinstance(record, RunClosed):
            open_waits = {place: one for place, one in open_waits.items() if place[0] != record.run}
        elif isinstance(record, StepOpened):
            open_waits[record.run, record.key] = record
        elif isinstance(record, StepClosed):
            _check_answer(record, open_waits.pop((record.run, record.key), None), awaited, happened)
        elif isinstance(record, EventSent) and record.due is None and not record.withdrawn:
            happened.add(record.event.id or "")
            for place, one in open_waits.items():
                if _answers(record, one, runs[place[0]]):
                    awaited[place] = record.event.id or ""
    assert not awaited, f"an event did not answer {awaited}"


def _answers(record: EventSent, opened: StepOpened, run: RunOpened) -> bool:
    if not isinstance(opened.wait, ForEvent) or record.at >= opened.wait.until:
        return False
    rule = {"event": opened.wait.event, "match": opened.wait.match, "if_exp": opened.wait.expression}
    return matches(rule, run.event, record.event)


def _check_answer(
    record: StepClosed, opened: StepOpened | None, awaited: dict[tuple[str, str], str], happened: set[str]
) -> None:
    expected = awaited.pop((record.run, record.key), None)
    if expected is not None:
        answer = decode(record.outcome.value) if isinstance(record.outcome, Ok) else None
        assert answer is not None and answer.id == expected, f"not answered by {expected}: {record}"
    elif opened is not None and isinstance(opened.wait, ForEvent) and isinstance(record.outcome, Ok):
        event = decode(record.outcome.value)
        assert event is None or event.id not in happened, f"answered by an event that is not for it: {record}"


def check_ends(records: Sequence[Any]) -> None:
    """A step ends once, a run ends once, and nothing of it follows, unless they are opened again."""
    steps: dict[tuple[str, str], Any] = {}
    runs: set[str] = set()
    for record in records:
        run = getattr(record, "run", None)
        if isinstance(record, RunRetried):
            again: Any = (Cancelled, Err) if record.reopened else Cancelled
            for place in [place for place, one in steps.items() if place[0] == run and isinstance(one.outcome, again)]:
                del steps[place]
            runs.discard(str(run))
        elif isinstance(record, RunClosed):
            assert run not in runs, f"ended twice: {record}"
            runs.add(str(run))
        elif isinstance(record, StepClosed | StepOpened | StepRetried):
            assert run not in runs, f"recorded after the end of its run: {record}"
            assert (run, record.key) not in steps, f"recorded after its end: {record}"
            if isinstance(record, StepClosed):
                steps[record.run, record.key] = record


def check_quiet(runtime: Runtime, infos: Sequence[RunInfo]) -> None:
    """When all is quiet, every run has ended or waits for something that has a name."""
    for info in infos:
        assert info.waiting_for or info.error is not None, f"run {info.id!r} waits for nothing: {info.status}"
    assert runtime.journal.posted == runtime.journal.durable


def sizes(runtime: Runtime) -> dict[str, int]:
    """Return how much an engine holds in memory: all zero once its runs have ended and their ids are forgotten."""
    state, bus = runtime.state, runtime.state.bus
    return {
        "ledgers": len(state.ledgers),
        "parked": len(state.parked),
        "ended": len(state.ended),
        "scheduled": len(state.scheduled),
        "signals": len(state.signals),
        "seen": len(state.seen),
        "parents": len(state.parents),
        "held": len(state.held.groups) + len(state.held._by_key),
        "singletons": len(state.singletons.runs),
        "listeners": len(bus._places) + len(bus._listeners),
        "timers": len(runtime.timers),
        "endings": len(runtime.scheduler.endings),
        "sessions": len(runtime.scheduler.sessions),
        "starting": len(runtime.scheduler._starting),
        "ending": len(runtime.scheduler._endings),
        "missing": len(runtime.scheduler.missing.told),
        "recovered": len(runtime.recovery.counts) + len(runtime.recovery._running) + len(runtime.recovery._suspects),
        "parking": len(runtime.scheduler.parking.leaving) + len(runtime.scheduler.parking._reading),
        "locks": len(runtime.starting),
        "queue": len(runtime.journal._queue),
        "waiting": len(runtime.journal._waiting),
        "rounds": len(runtime.rounds._due),
    }
