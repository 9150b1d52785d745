"""Fold the records of all runs: the runs, their waits, scheduled events, and ids already seen.

Separate because of the library's one law, `state == fold(journal)`: only a record changes these facts. Whether a run is
parked, and whether its end was told, are not facts but a matter of memory, and have methods of their own.
Leaves to `decisions` the choice of records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import assert_never

from durable.events import Complaint, EventBus, Place
from durable.journal.gathered import EventHeld, EventSkipped, EventUnheld, GroupClosed
from durable.journal.ids import cancel_place
from durable.journal.lone import LoneAnswer, LoneEnding, LoneOpening, LoneWait
from durable.journal.records import (
    Counted,
    EngineClosed,
    EventSent,
    Fact,
    ForChild,
    ForEvent,
    ForSignal,
    KeyClaimed,
    MessageTaken,
    Record,
    RunAdmitted,
    RunClosed,
    RunOpened,
    RunRested,
    RunResumed,
    RunRetried,
    RunStarted,
    StepClosed,
    StepOpened,
    StepRetried,
    Until,
    Wait,
)
from durable.journal.rules.declaration import Declaration
from durable.journal.rules.flow.held import HeldEvents
from durable.journal.rules.flow.rates import Windows
from durable.journal.rules.flow.singleton import Singletons
from durable.journal.rules.ledger import Ledger
from durable.journal.rules.listening import cancel_listeners, wait_listener
from durable.journal.rules.parked import ParkedRun
from durable.journal.rules.schedules.standing import Standing
from durable.journal.schedule_records import TicksPassed, TicksReplaced
from durable.timers import after

KEPT = timedelta(hours=24)


class State:
    """A state is the fold of the journal.

    Attributes:
        ledgers: the ledgers of unfinished runs that are not parked.
        parked: the parked runs. A record of one of these moves it to `ledgers`.
        ended: the ledgers of runs whose end is folded, but not told yet.
        scheduled: the events that are due later, by the runtime's id.
        coming: the runtime's ids of these events, by the ids that users gave them.
        seen: the event ids and idempotency keys of the last 24 h.
        signals: the step that waits for a signal, by the signal's name.
        parents: the step that waits for a run's end, by the run.
        flowing: the functions that declare flow control.
        held: the events that debounce and batch hold back.
        singletons: the unfinished runs that hold a singleton key.
        windows: what counts towards the limits of periods.
        standing: how far ticks are done with, the schedules, the pauses.
    """

    def __init__(self, complain: Complaint) -> None:
        self.functions: dict[str, Declaration] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.parked: dict[str, ParkedRun] = {}
        self.ended: dict[str, Ledger] = {}
        self.scheduled: dict[str, EventSent] = {}
        self.coming: dict[str, str] = {}
        self.seen: dict[tuple[str, str], tuple[str, datetime]] = {}
        self.signals: dict[str, Place] = {}
        self.parents: dict[str, Place] = {}
        self.flowing: set[str] = set()
        self.held = HeldEvents()
        self.singletons = Singletons()
        self.windows = Windows()
        self.standing = Standing()
        self.bus = EventBus(complain)

    def declare(self, declaration: Declaration) -> None:
        """Register a function's triggers, and the cancellations of its unfinished runs.

        They replace those of an older definition.
        """
        self.bus.drop_triggers(declaration.id)
        runs = [run for run in self.unfinished() if run.function == declaration.id]
        for run in runs:
            self._leave_cancels(run)
        self.functions[declaration.id] = declaration
        self.flowing.discard(declaration.id)
        if declaration.flow is not None:
            self.flowing.add(declaration.id)
        for trigger in declaration.triggers:
            self.bus.add_trigger(trigger)
        for run in runs:
            self._listen_for_cancels(run)

    def unfinished(self) -> Iterator[Ledger | ParkedRun]:
        """Yield the runs that have not ended, parked or not."""
        yield from self.ledgers.values()
        yield from self.parked.values()

    @property
    def count(self) -> int:
        """The number of unfinished runs."""
        return len(self.ledgers) + len(self.parked)

    def whole(self, run: str) -> Ledger | None:
        """Return the ledger of a run if all of it is in memory, else None."""
        ledger = self.ledgers.get(run) or self.ended.get(run)
        return ledger if ledger is not None and ledger.is_whole else None

    def known(self, run: str) -> Ledger | ParkedRun | None:
        """Return a run as it is in memory, or None.

        Unfinished runs are in memory, and those whose end was not told yet.
        """
        return self.ledgers.get(run) or self.parked.get(run) or self.ended.get(run)

    def ledger(self, run: str) -> Ledger | None:
        """Return the ledger of an unfinished run, or None.

        A parked run is no longer parked afterwards.
        """
        ledger = self.ledgers.get(run)
        if ledger is None and (parked := self.parked.get(run)) is not None:
            ledger = self.ledgers[run] = parked.ledger()
            del self.parked[run]
        return ledger

    def is_unfinished(self, run: str) -> bool:
        """Return whether there is such a run and it has not ended."""
        return run in self.ledgers or run in self.parked

    def is_waiting(self, place: Place) -> bool:
        """Return whether a step has an open wait."""
        if place[0] in self.parked:
            return self.parked[place[0]].key == place[1]
        ledger = self.ledgers.get(place[0])
        facts = ledger.pending(place[1]) if ledger is not None else None
        return facts is not None and facts.is_waiting

    def child_of(self, place: Place) -> Ledger | ParkedRun | None:
        """Return the unfinished run that a step has invoked, as it is in memory."""
        wait = self.awaited(place)
        return self.known(wait.child) if isinstance(wait, ForChild) else None

    def awaited(self, place: Place) -> Wait | None:
        """Return the wait of a step of an unfinished run, even if that is over."""
        parked = self.parked.get(place[0])
        if parked is not None:
            return parked.wait if parked.key == place[1] else None
        return self.ledgers[place[0]].steps[place[1]].wait

    @contextmanager
    def reopening(self, ledgers: Collection[Ledger]) -> Iterator[None]:
        """Hold the ledgers of ended runs while records are folded that open them again."""
        held = [ledger for ledger in ledgers if ledger.run not in self.ended]
        self.ended.update((ledger.run, ledger) for ledger in ledgers)
        try:
            yield
        finally:
            for ledger in held:
                if self.ended.get(ledger.run) is ledger:
                    del self.ended[ledger.run]

    def park(self, run: str, key: str) -> None:
        """Park a run that waits in step `key`: keep only the facts that its wait needs."""
        self.parked[run] = ParkedRun.of(self.ledgers[run], key)
        del self.ledgers[run]

    def park_resting(self) -> None:
        """Park the runs whose last record says that they rest, where the store has given all their records."""
        for run, ledger in list(self.ledgers.items()):
            if (key := ledger.rests_in) is not None:
                self.park(run, key)

    def unpark_unstarted(self, declaration: Declaration) -> None:
        """Unpark the runs that have yet to record that they started, if `Timeouts` of their function count from that.

        They rest since a time when their function had none.
        """
        if declaration.start_timeout is None and declaration.finish_timeout is None:
            return
        for parked in [*self.parked.values()]:
            if parked.function == declaration.id and parked.started_at is None:
                self.ledger(parked.run)

    def unpark(self, whole: Ledger) -> None:
        """Replace the ledger of a run that was parked by the whole one from the store."""
        if self.ledgers[whole.run].count != whole.count:
            raise ValueError(f"run {whole.run!r} has records that its ledger lacks")
        self.ledgers[whole.run] = whole

    def told(self, record: RunClosed) -> None:
        """Forget a run whose end was told.

        If it was opened again since (R32), and has ended once more, it is kept.
        """
        ledger = self.ended.get(record.run)
        if ledger is not None and ledger.ended_at == record.at:
            del self.ended[record.run]

    def told_all(self) -> None:
        """Forget every ended run, since no caller waits for it while a store is opened."""
        self.ended.clear()

    def fold(self, record: Record) -> None:
        """Take one more record in."""
        match record:
            case StepClosed():  # first, since these are the most frequent
                self.close_step(record)
            case RunClosed():
                self.close_run(record)
            case RunOpened():
                self.open_run(record).keep_options(record)
                if record.singleton is not None:
                    self.singletons.take(record.function, record.singleton, record.run)
            case RunRetried():
                self._fold_retry(record)
            case StepOpened():
                self.open_step(record)
            case RunRested():
                self._fold_rest(record)
            case TicksPassed() | TicksReplaced():
                self.standing.fold(record)
            case RunAdmitted() | RunResumed() | RunStarted() | StepRetried():
                self._open(record.run).fold(record)
            case _:
                self._fold_fact(record)

    def _fold_fact(self, record: Fact) -> None:
        match record:
            case EventSent():
                self._fold_event(record)
            case KeyClaimed():
                self._keep((record.function, record.key), record.run, record.at)
            case EventHeld() | EventUnheld() | GroupClosed():
                self.held.fold(record)
            case Counted():
                self.windows.fold(record)
            case EventSkipped() | MessageTaken() | EngineClosed():
                pass
            case _:
                self.standing.fold(record)

    # These take a lone cause as its record: the cause has the same fields.

    def open_step(self, record: StepOpened | LoneWait) -> None:
        """Let a step wait."""
        ledger = self.ledgers.get(record.run) or self._open(record.run)
        self._listen(ledger, record.key, record.wait)  # first, since a filter is a user's: all else cannot fail
        ledger.open_step(record.key, record.kind, record.wait, record.at)

    def close_step(self, record: StepClosed | LoneAnswer) -> None:
        """End a step, and its wait."""
        ledger, outcome = self.ledgers.get(record.run) or self._open(record.run), record.outcome
        ledger.close_step(record.key, record.kind, outcome, record.turn, record.at, record.tries, record.began)
        if (wait := ledger.steps[record.key].wait) is not None:
            self._leave(record.run, record.key, wait)

    def open_run(self, record: RunOpened | LoneOpening) -> Ledger:
        """Open a run, but for the options that only a record has, and return its ledger."""
        run, function = record.run, record.function
        if run in self.ledgers or run in self.parked:
            raise ValueError(f"run {run!r} is opened twice")
        ledger = self.ledgers[run] = Ledger(run, function, record.event, record.at, record.at, record.parent)
        declaration = self.functions.get(function)
        if declaration is not None and declaration.cancels:
            self._listen_for_cancels(ledger)
        return ledger

    def _open(self, run: str) -> Ledger:
        ledger = self.ledger(run)
        if ledger is None:
            raise KeyError(run)
        return ledger

    def _fold_event(self, record: EventSent) -> None:
        given = record.event.id if record.event.id != record.id else None  # by the sender
        if record.due is not None:
            self.scheduled[record.id] = record
            if given is not None:
                self.coming[given] = record.id
            return
        self.scheduled.pop(record.id, None)
        if given is None:
            return
        if self.coming.get(given) == record.id:  # else another event has the id, a day after this one was delivered
            del self.coming[given]
        if not record.withdrawn:
            self._keep(("", given), record.id, record.at)
        elif self.seen.get(("", given), ("",))[0] == record.id:
            del self.seen["", given]

    def _keep(self, key: tuple[str, str], value: str, now: datetime) -> None:
        # Each new key forgets up to two old ones, the oldest first: so the work and the memory are both bounded.
        for old, (_, until) in list(islice(self.seen.items(), 2)):
            if until <= now:
                del self.seen[old]
        self.seen.pop(key, None)
        self.seen[key] = (value, after(now, KEPT))

    def close_run(self, record: RunClosed | LoneEnding) -> None:
        """End a run."""
        run = record.run
        ledger = self.ledgers.get(run) or self._open(run)
        declaration = self.functions.get(ledger.function)
        del self.ledgers[run]
        for key, facts in ledger.steps.items():
            if facts.is_waiting:
                self._leave(run, key, facts.wait)
        if declaration is not None and declaration.cancels:
            self._leave_cancels(ledger)
        ledger.close(record.status, record.at, record.output, record.error, record.reason)
        if ledger.singleton is not None:
            self.singletons.free(ledger.function, ledger.singleton, ledger.run)
        self.ended[run] = ledger

    def _fold_rest(self, record: RunRested) -> None:
        run = record.run
        if (ledger := self.ledgers.get(run)) is not None:
            ledger.fold(record)
            return
        known = self.parked.get(run)
        if known is not None and known.count + 1 != record.count:
            raise ValueError(f"it rests after {record.count} records, of which there are {known.count + 1}")
        parked = self.parked[run] = ParkedRun(record, count=record.count, is_said=True)
        if known is None:  # recovery need not read what stands before this record
            self._listen_for_cancels(parked)
            self._listen(parked, record.key, record.wait)
            if record.singleton is not None:
                self.singletons.take(record.function, record.singleton, run)

    def _fold_retry(self, record: RunRetried) -> None:
        if not record.reopened:
            self._open(record.run).fold(record)
            return
        ledger = self.ledgers[record.run] = self.ended.pop(record.run)
        ledger.fold(record)
        if ledger.singleton is not None:
            self.singletons.take(ledger.function, ledger.singleton, ledger.run)
        self._listen_for_cancels(ledger)
        for key in record.waits:
            wait = ledger.steps[key].wait
            if not isinstance(wait, ForChild):
                raise ValueError(f"step {key!r} waits for no child")
            self._listen(ledger, key, wait)

    def _listen(self, ledger: Ledger | ParkedRun, key: str, wait: Wait) -> None:
        place = (ledger.run, key)
        match wait:
            case ForEvent():
                self.bus.listen(wait_listener(ledger, place, wait))
            case ForSignal():
                self.signals[wait.signal] = place
            case ForChild():
                self.parents[wait.child] = place
            case Until():
                pass
            case _:
                assert_never(wait)

    def _listen_for_cancels(self, ledger: Ledger | ParkedRun) -> None:
        declaration = self.functions.get(ledger.function)
        if declaration is None or not declaration.cancels:
            return
        for listener in cancel_listeners(ledger, declaration):
            self.bus.listen(listener)

    def _leave_cancels(self, ledger: Ledger | ParkedRun) -> None:
        declaration = self.functions.get(ledger.function)
        for number in range(len(declaration.cancels) if declaration else 0):
            self.bus.leave(cancel_place(ledger.run, number))

    def _leave(self, run: str, key: str, wait: Wait | None) -> None:
        match wait:
            case ForEvent():
                self.bus.leave((run, key))
            case ForSignal() if self.signals.get(wait.signal) == (run, key):
                del self.signals[wait.signal]
            case ForChild():
                self.parents.pop(wait.child, None)
            case _:
                pass
