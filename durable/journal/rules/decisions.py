"""Decide which records follow from a cause: an event, a signal, a deadline or an end.

Separate because it decides and does nothing else: it uses no await, no clock and no I/O.
Leaves to `writer` the writing of the records, to `scheduler` the actions that follow from them.

A decision is a row of records. The caller folds each record before it takes the next. A decision that depends on the
changes of the record before is a generator: so of two events that are sent together, only the first finds a wait that
both could answer. All records of one cause come from one row, and are kept or lost as one. Users' values are encoded,
and refused if need be, before the decision; the text around them counts against no limit (`enclose`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, starmap

from durable.errors import InvokeTimeoutError, RateLimitedError, RecordedError, SignalConflictError
from durable.events import (
    FAILED,
    LIFECYCLE,
    Event,
    Json,
    Listener,
    Place,
    Signal,
)
from durable.journal.codec.enclosing import enclose
from durable.journal.codec.recorded import RecordedEvent, recorded_event
from durable.journal.codec.values import encode
from durable.journal.ids import child_run, ending_event, failure_run, opened_run
from durable.journal.lone import LoneAnswer, LoneEnding, LoneOpening, LoneWait
from durable.journal.records import (
    Ending,
    Err,
    EventSent,
    ForChild,
    ForSignal,
    Ok,
    Outcome,
    Record,
    RunClosed,
    StepKind,
    StepOpened,
    Wait,
)
from durable.journal.rules.declaration import no_such_function
from durable.journal.rules.endings import TOLD, child_outcome, ending_data
from durable.journal.rules.flow.gather import Gathering, Occasion
from durable.journal.rules.ledger import Ledger
from durable.journal.rules.limits import Limits
from durable.journal.rules.openings import Openings
from durable.journal.rules.state import State

Acting = tuple[object, Iterable[Record]]  # the value with which a sending step ends, and the records of what it sends

NOTHING = Ok("null")


def _ignore(what: Event | str) -> None:
    """Do nothing."""


def _answer(event: Event) -> Ok:
    return Ok(recorded_event(event).as_value())


class Decisions:
    """Decisions apply the rules to one state.

    `unheard` is called for each event, or name of a signal, from which nothing follows.
    """

    def __init__(self, state: State, limits: Limits) -> None:
        self.state = state
        self.limits = limits
        self.openings = Openings(state, self._cancels)
        self.gathering = Gathering(state, self._opens_for, state.bus.complain)
        self.unheard: Callable[[Event | str], None] = _ignore

    def repeat_of(self, id: str, event: Event, now: datetime) -> str | None:
        """Return the runtime's id of the event that this one repeats, or None (R21).

        An id of the user's counts until its event is delivered, and for 24 h more. `id` is the runtime's id of this
        event.
        """
        if event.id is None or event.id == id:
            return None
        coming = self.state.coming.get(event.id)
        if coming is not None:
            return coming
        first = self.state.seen.get(("", event.id))
        return first[0] if first is not None and first[1] > now else None

    def _ids_of(self, events: Sequence[tuple[str, Event]], now: datetime) -> list[str]:
        """Return the runtime's ids of events sent together; a repeat has that of the first."""
        ids, firsts = list[str](), dict[str, str]()
        for id, event in events:
            given = event.id if event.id != id else None
            ids.append(id if given is None else firsts.setdefault(given, self.repeat_of(id, event, now) or id))
        return ids

    def events_sent(self, events: Sequence[tuple[str, Event]], now: datetime) -> tuple[list[str], Iterable[Record]]:
        """Schedule or deliver events that were sent together, and drop repeats.

        Each event was accepted, and comes with the runtime's id for it. Returns the ids that they have got (a repeat
        has that of the first), and the records.
        """
        ids = self._ids_of(events, now)
        if len(events) == 1:
            return ids, self._send(*events[0], now)
        return ids, chain.from_iterable(starmap(self._send, [(id, event, now) for id, event in events]))

    def _send(self, id: str, event: Event, now: datetime) -> Iterable[Record]:
        is_given = event.id != id  # by the sender
        if is_given and self.repeat_of(id, event, now) is not None:
            return ()
        if event.ts is not None and event.ts > now:
            return iter((EventSent(id, event, now, due=event.ts),))
        if is_given:
            return chain((EventSent(id, event, now),), self.event_came(id, event, now))
        return self.event_came(id, event, now)

    def scheduled_event_due(self, id: str, now: datetime) -> Iterable[Record]:
        """Deliver a scheduled event that is due."""
        scheduled = self.state.scheduled.get(id)
        if scheduled is None:
            return ()
        return chain((EventSent(id, scheduled.event, now),), self.event_came(id, scheduled.event, now))

    def event_withdrawn(self, id: str, now: datetime) -> Iterable[Record]:
        """Take back an event that is scheduled, or held by functions, so that no run opens for it."""
        scheduled = self.state.scheduled.get(id)
        if scheduled is not None:
            return (EventSent(id, scheduled.event, now, withdrawn=True),)
        return self.gathering.taken_back(id, now)

    def event_came(self, id: str, event: Event, now: datetime) -> Iterable[Record]:
        """Deliver an event: answer every matching wait, cancel runs, open a run per matching function."""
        listeners, functions = self.state.bus.heard_by(event, now)
        if len(listeners) == 1 and not functions and not listeners[0].cancels:  # as nearly always, if anyone waits
            return self.step_answered(listeners[0].place, _answer(event), now)
        if listeners:
            return self._deliver_to(listeners, functions, id, event, now)
        if not self.state.flowing.isdisjoint(functions):
            return self._open_each(functions, id, event, now)
        if len(functions) == 1:
            return self.run_opens(functions[0], opened_run(id, functions[0]), event, now)
        opened: list[Record] = []
        for function in functions:
            opened += self.run_opens(function, opened_run(id, function), event, now)
        if not opened:
            self.unheard(event)
        return opened

    def _deliver_to(
        self, listeners: list[Listener], functions: Sequence[str], id: str, event: Event, now: datetime
    ) -> Iterator[Record]:
        waits = [one.place for one in listeners if not one.cancels]
        answer = _answer(event) if waits else NOTHING
        for place in waits:
            yield from self.step_answered(place, answer, now)
        for run in [one.place[0] for one in listeners if one.cancels]:
            yield from self.run_ended(run, "cancelled", now, reason=f"by event {event.name!r}")
        yield from self._open_each(functions, id, event, now)

    def _open_each(self, functions: Sequence[str], id: str, event: Event, now: datetime) -> Iterator[Record]:
        for function in functions:
            flow = self.state.functions[function].flow
            if flow is not None and (flow.debounce is not None or flow.batch is not None):
                yield from self.gathering.event_came(function, flow, id, event, now)
            else:
                yield from self.run_opens(function, opened_run(id, function), event, now)

    def _opens_for(self, function: str, run: str, occasion: Occasion, now: datetime) -> Iterable[Record]:
        return self.openings.opens(self.state.functions[function], run, occasion, now)

    def _cancels(self, run: str, now: datetime, reason: str) -> Iterable[Record]:
        return self.run_ended(run, "cancelled", now, reason=reason)

    def run_opens(
        self,
        function: str,
        run: str,
        event: Event,
        now: datetime,
        parent: Place | None = None,
        *,
        is_named: bool = False,
    ) -> Iterable[Record]:
        """Open a run of a function, unless what it declares speaks against it.

        With `is_named` the run's id is the key, and no other is asked for (R21).
        """
        declaration = self.state.functions.get(function)
        if declaration is None or declaration.opens_freely:
            return LoneOpening(run, function, event, now, parent)
        return self.openings.opens(declaration, run, Occasion(event), now, parent, is_named=is_named)

    def step_acts(self, ledger: Ledger, key: str, kind: StepKind, acting: Acting, now: datetime) -> Iterator[Record]:
        """Send a step's events or signal, and end the step with them (R22).

        If they end the step's own run, the step ends before it.
        """
        value, records = acting
        for record in records:
            if isinstance(record, RunClosed) and record.run == ledger.run:
                yield from self._act_ended(ledger, key, kind, value, now)
            yield record
        yield from self._act_ended(ledger, key, kind, value, now)

    def _act_ended(self, ledger: Ledger, key: str, kind: StepKind, value: object, now: datetime) -> Iterator[Record]:
        if ledger.status is None and (key not in ledger.steps or ledger.pending(key) is not None):
            yield ledger.closing(key, kind, Ok(encode(value)), at=now, limits=self.limits)

    def step_answered(self, place: Place, outcome: Outcome, now: datetime) -> Iterable[Record]:
        """End a wait with an outcome, unless it has ended already."""
        run, key = place
        ledger = self.state.ledgers.get(run) or self.state.ledger(run)
        facts = ledger.pending(key) if ledger is not None else None
        if ledger is None or facts is None:
            return ()
        return LoneAnswer(run, key, facts.kind, ledger.bounded(key, outcome, self.limits), ledger.open_turn, now)

    def deadline_passed(self, place: Place, deadline: datetime) -> Iterable[Record]:
        """End a wait whose deadline has passed: a sleep is over, another wait has timed out.

        It is recorded with the time of its deadline, even if that is noticed late, but not with a time before the run's
        latest record.
        """
        ledger = self.state.ledger(place[0])
        facts = ledger.pending(place[1]) if ledger is not None else None
        now = deadline if ledger is None else max(deadline, ledger.latest)
        if facts is not None and isinstance(facts.wait, ForChild):
            message = f"run {facts.wait.child!r} did not end in time; it goes on"
            return self.step_answered(
                place, Err(RecordedError(InvokeTimeoutError.__name__, message, step_id=place[1])), now
            )
        return self.step_answered(place, NOTHING, now)

    def signal_sent(self, name: str, data: object, now: datetime) -> Iterable[Record]:
        """Answer the wait for a signal that was sent, if there is one (R23)."""
        place = self.waiter(name, now)
        if place is None:
            self.unheard(name)
        return () if place is None else self.step_answered(place, Ok(enclose(Signal(name, data))), now)

    def waiter(self, signal: str, now: datetime) -> Place | None:
        """Return the step that waits for a signal at `now`, or None."""
        place = self.state.signals.get(signal)
        if place is None:
            return None
        wait = self.state.awaited(place)
        return place if isinstance(wait, ForSignal) and now < wait.until else None

    def step_waits(self, place: Place, kind: StepKind, wait: Wait, now: datetime, *, replace: bool) -> Iterable[Record]:
        """Let a step wait; with `replace` it takes a signal over from another step."""
        run, key = place
        if type(wait) is not ForSignal or (holder := self.waiter(wait.signal, now)) is None:
            return LoneWait(run, key, kind, wait, now)
        if not replace:
            message = (
                f"signal {wait.signal!r} is waited for by run {holder[0]!r} already: use a name of its own for each "
                'run, or on_conflict="replace"'
            )
            error = RecordedError(SignalConflictError.__name__, message, step_id=key)
            return iter((self.state.ledgers[run].closing(key, kind, Err(error), at=now, limits=self.limits),))
        return chain(self.step_answered(holder, NOTHING, now), (StepOpened(run, key, kind, wait, now),))

    def step_invokes(
        self, place: Place, function: str, event: Event, until: datetime | None, now: datetime
    ) -> Iterable[Record]:
        """Let a step invoke a function: its wait and the child's opening are one cause (R24)."""
        run, key = place
        ledger = self.state.ledgers[run]
        facts = ledger.steps.get(key)
        if facts is not None and isinstance(facts.wait, ForChild) and self.state.is_unfinished(facts.wait.child):
            # The step was cancelled in an earlier attempt, or its run was opened again (R32), which leaves no deadline.
            # The child is still running, and the step waits for it again.
            return iter((StepOpened(run, key, "invoke", ForChild(facts.wait.child, facts.wait.until or until), now),))
        if (refusal := self._refusal(key, function, event, now)) is not None:
            return iter((ledger.closing(key, "invoke", Err(refusal), at=now, limits=self.limits),))
        child = child_run(run, key, facts.openings if facts is not None else 0)
        opened = StepOpened(run, key, "invoke", ForChild(child, until), now)
        return chain((opened,), self.run_opens(function, child, event, now, place))

    def _refusal(self, key: str, function: str, event: Event, now: datetime) -> RecordedError | None:
        """Return why a step cannot invoke a function, or None."""
        if function not in self.state.functions:
            return RecordedError(LookupError.__name__, no_such_function(function, self.state.functions), step_id=key)
        if (limited := self.openings.limited(function, event, now)) is not None:
            return RecordedError(RateLimitedError.__name__, limited, step_id=key)
        _, claimant = self.openings.claimed_by(function, event, now)
        if claimant is not None:
            because = f"function {function!r} ran for the same idempotency key in the last 24 h, as run {claimant!r}"
        elif (holder := self.openings.holder(function, event)) is not None:
            because = f"function {function!r} is a singleton, and run {holder!r} holds the same key until it ends"
        else:
            return None
        return RecordedError(LookupError.__name__, because, step_id=key)

    def run_ended(
        self,
        run: str,
        status: Ending,
        now: datetime,
        *,
        output: Json | None = None,
        error: RecordedError | None = None,
        reason: str | None = None,
    ) -> Iterable[Record]:
        """End a run, answer its parent, and tell of its end (R15, R16, R24).

        The end is told by events, and to the failure handler.
        """
        ledger = self.state.ledgers.get(run) or self.state.ledger(run)
        if ledger is None:
            return ()
        parent = self.state.parents.get(run)
        if parent is None and not self._is_told(ledger, status):
            return LoneEnding(run, status, now, output, error, reason)
        return self._close(ledger, RunClosed(run, status, now, output, error, reason), parent)

    def _is_told(self, ledger: Ledger, status: Ending) -> bool:
        """Return whether the end of a run has any listener; the end itself adds none."""
        if status == "failed":
            declaration = self.state.functions.get(ledger.function)
            if declaration is not None and declaration.on_failure is not None:
                return True
        return any(map(self.state.bus.is_heard, TOLD[status]))

    def _close(self, ledger: Ledger, closed: RunClosed, parent: Place | None) -> Iterator[Record]:
        yield closed
        if parent is not None:
            yield from self.step_answered(parent, child_outcome(ledger, parent[1]), closed.at)
        yield from self._tell(ledger, closed.at)

    def _tell(self, ledger: Ledger, now: datetime) -> Iterator[Record]:
        declaration = self.state.functions.get(ledger.function)
        on_failure = declaration.on_failure if declaration is not None else None
        is_silent = ledger.event.name in LIFECYCLE  # R16: its end sends no events, but its failure handler is called
        for name in TOLD[ledger.status or "completed"]:
            failing = on_failure if name == FAILED else None
            if failing is None and (is_silent or not self.state.bus.is_heard(name)):
                continue
            id = ending_event(ledger.run, name, ledger.reopenings)
            event = RecordedEvent(name, enclose(ending_data(ledger)), id, now)
            if not is_silent:
                yield from self.event_came(id, event, now)
            if failing is not None:
                yield from self.run_opens(failing, failure_run(ledger.run, ledger.reopenings), event, now)
