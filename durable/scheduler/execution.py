"""Carry out the requests of step methods: count the call, record it, return a coroutine.

Separate because the kinds of steps differ only in what this module does for them.
Leaves to `step` the checks before a request, to `session` keys and outcomes, to `attempts` the handlers.

Waits, sleeps and invokes are recorded at the call, and their deadlines count from then. `run` and the sends act when
they are first awaited (R19).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import Any, assert_never

import attrs

from durable.errors import DriftError
from durable.events import Event, lacking, path_of
from durable.functions import (
    CURRENT,
    InvokeRequest,
    Request,
    SendRequest,
    SignalRequest,
    SleepRequest,
    Spans,
    WaitForEventRequest,
    WaitForSignalRequest,
    check_not_nested,
)
from durable.journal import (
    Acting,
    ForEvent,
    ForSignal,
    Policy,
    RecordedEvent,
    RunStarted,
    StepFacts,
    StepKind,
    Until,
    Wait,
    accepted,
    check_signal,
    invoked,
    misplaced,
    recorded_event,
    sent_event,
    stamped,
    too_many_steps,
)
from durable.scheduler.branches import numbered
from durable.scheduler.calls import StepCall
from durable.scheduler.delivery import QUIET
from durable.scheduler.drift import tell_other_child, tell_other_wait
from durable.scheduler.first_try import begin_handler
from durable.scheduler.session import Session
from durable.scheduler.stand_in import Call
from durable.scheduler.undocumented import current_task, running_loop
from durable.stores import Log
from durable.timers import after

Asked = Coroutine[Any, Any, Any]

_KINDS: dict[type, StepKind] = {
    SleepRequest: "sleep",
    WaitForEventRequest: "wait_for_event",
    WaitForSignalRequest: "wait_for_signal",
    SendRequest: "send_event",
    SignalRequest: "send_signal",
    InvokeRequest: "invoke",
}


def _nothing() -> None:
    """Do nothing; a test's stub takes the place of this in a wait or an invoke."""


class RunExecution:
    """A run execution gives a function's context and steps access to its session.

    It is an `Execution`.
    """

    __slots__ = ("_session", "attempt", "function_id", "run_id")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.run_id = session.ledger.run
        self.function_id = session.ledger.function
        self.attempt = session.ledger.attempt

    @property
    def event(self) -> Event:
        """The event that opened the run: a copy of the caller's own (R3)."""
        return recorded_event(self._session.ledger.event).copy()

    @property
    def seed(self) -> str:
        """What the function's random numbers derive from."""
        return self._session.ledger.seed

    @property
    def others(self) -> list[Event]:
        """The events of a batch after the first, likewise; else none."""
        return [recorded_event(event).copy() for event in self._session.ledger.others]

    @property
    def now(self) -> datetime:
        """The time of the last delivered outcome."""
        return self._session.now

    @property
    def is_replaying(self) -> bool:
        """Whether the function only repeats recorded steps and more of them follow."""
        return self._session.is_replaying

    @property
    def log(self) -> Log:
        """The engine's log."""
        return self._session.parts.logger.plain  # what a run says itself is not rationed

    def check_event(self, event: object) -> RecordedEvent:
        """Return an event, checked for sending: see `acceptance.accepted`."""
        return accepted(event, self._session.parts.decisions.limits)

    def check_invoked(self, function: str, data: object) -> RecordedEvent:
        """Return the event that opens a run of a function: see `acceptance.invoked`."""
        return invoked(function, data, self._session.parts.decisions.limits)

    def check_signal(self, signal: str, data: object) -> None:
        """Check the data of a signal that is to be sent."""
        check_signal(signal, data, self._session.parts.decisions.limits)

    def check_match(self, step_id: str, match: str) -> None:
        """Refuse a wait's `match` that the run's own event makes impossible: see `Execution.check_match`."""
        ledger = self._session.ledger
        lack = lacking(recorded_event(ledger.event).seen(), path_of(match))
        waits = (facts.wait for facts in ledger.steps.values())
        if lack is None or any(isinstance(wait, ForEvent) and wait.match == match for wait in waits):
            return  # an earlier release has recorded it without a check: it stands, and no event answers it
        raise ValueError(
            f"match={match!r} of step {step_id!r} can never match: of the own event of run {ledger.run!r}, "
            f"{ledger.event.name!r}, {lack}"
        )

    def resolve(self, function: object, what: str) -> tuple[str, object]:
        """Return the id of a function to invoke, and its return type."""
        return self._session.parts.registry.resolve(function, what)

    def run(
        self,
        step_id: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        is_async: bool,
        type_: object,
        policy: Policy,
        spans: Spans | None = None,
        /,
    ) -> Asked:
        """Count a step that calls a handler, and return its coroutine: see `Execution.run`."""
        call = self._counted(step_id, "run")
        call.handling = function, args, kwargs, is_async, policy, spans
        call.type, call.begin, call.is_over = type_, begin_handler, False
        return call

    def ask(self, request: Request) -> Asked:
        """Count a requested step, and return the coroutine of its outcome: see `Execution.ask`."""
        call = self._counted(request.step_id, _KINDS[type(request)])
        if call.key:
            self._begin(call, request)
        call.is_over = False
        return call

    def _begin(self, call: StepCall, request: Request) -> None:
        match request:
            case SendRequest():
                call.begin = partial(_send, request)
            case SignalRequest():
                call.begin = partial(_signal, request)
            case _:
                if isinstance(request, InvokeRequest):
                    call.type = request.type
                stand_in = self._session.parts.stand_in
                if stand_in is not None and stand_in.replaces(call.step_id):
                    call.handling, call.begin = (_nothing, (), {}, False, Policy(retries=0), None), begin_handler
                else:
                    _post(call, request)

    def _counted(self, step_id: str, kind: StepKind) -> StepCall:
        """Count a call of a step method and return it; without a key if it is refused.

        Raises:
            NestedStepError, RuntimeError: the call is made in a wrong place.
            LimitError: the run has called as many steps as it may (R28).
            DriftError: the step is recorded with another kind (R6).
        """
        session = self._session
        parts, owner = session.parts, session.parts.life.owner
        if CURRENT.get() is not None or running_loop() is not parts.loop:
            check_call(session, step_id)
        if session.refused or owner is None or owner.cancelling():  # a closing engine has each session refuse by itself
            session.refusals.check_own(step_id)
            return StepCall(session, "", step_id, kind, None)
        branches, delivery, ledger = session.branches, session.delivery, session.ledger
        if len(branches.asked) >= parts.decisions.limits.steps:
            session.end_with(too_many_steps(parts.decisions.limits, ledger.run, step_id))
        task = current_task(parts.loop)
        key = numbered(branches.asked, step_id) if task is session.main else branches.key(step_id, task, session)
        facts = ledger.steps.get(key)
        if facts is None:
            session.did_more = True  # a new step ends the replay, even if other recorded steps follow
        else:
            self._found(key, kind, facts)
        if parts.stand_in is not None:
            parts.stand_in.asked(Call(ledger.run, key, kind, ledger.attempt, delivery.delivered, delivery.is_quiet))
        if session.tells_start and ledger.started_at is None:
            parts.journal.post(RunStarted(ledger.run, parts.clock.now()))
        delivery.quiet_at = parts.rounds.now + QUIET
        if delivery.late or delivery.is_still:
            delivery.touch()
        session.calls[key] = None
        return StepCall(session, key, step_id, kind, task)

    def _found(self, key: str, kind: StepKind, facts: StepFacts) -> None:
        session = self._session
        if facts.kind != kind:
            session.end_with(
                DriftError(
                    f"step {key!r} of run {session.ledger.run!r} is recorded as a {facts.kind}, but the code asks for "
                    f"a {kind}: give the step a new id"
                )
            )
        # A replayed call posts no record, but the run has moved on: `set` wakes those that wait until nothing moves.
        # `stirred` would also count towards the next look for runs to park; a call is no reason for one.
        session.parts.changes.set()
        if facts.outcome is None and session.behind:
            session.behind.discard(key)


# Steps that wait are recorded at the call.


def _post(call: StepCall, request: SleepRequest | WaitForEventRequest | WaitForSignalRequest | InvokeRequest) -> None:
    facts = call.facts
    if facts is not None and facts.outcome is not None:
        return  # a replayed step that is over asks for nothing
    now = call.session.parts.clock.now()
    match request:
        case SleepRequest():
            until, span = _deadline(request.until, now)
            _wait(call, Until(until), now, span)
        case WaitForEventRequest():
            until, span = _deadline(request.timeout, now)
            _wait(call, ForEvent(request.event, until, request.match, request.if_exp, request.ask), now, span)
        case WaitForSignalRequest():
            until, span = _deadline(request.timeout, now)
            _wait(call, ForSignal(request.signal, until, request.ask), now, span, replace=request.replace)
        case InvokeRequest():
            _invoke(call, request, now)
        case _:
            assert_never(request)


def _deadline(asked: timedelta | datetime, now: datetime) -> tuple[datetime, timedelta | None]:
    """Return the instant of a deadline, and the span to it that was asked for, if any."""
    return (asked, None) if isinstance(asked, datetime) else (after(now, asked), asked)


def _wait(call: StepCall, wait: Wait, now: datetime, span: timedelta | None, *, replace: bool = False) -> None:
    """Record that a step waits, unless the wait is recorded already.

    `span` is the time from the call to the deadline, None for a deadline that was given as an instant. A recorded
    deadline stands, and so does a wait that is still open (R6).
    """
    parts, ledger, facts = call.session.parts, call.session.ledger, call.facts
    if facts is not None and (facts.outcome is not None or facts.is_waiting):
        if facts.outcome is None:
            tell_other_wait(parts, ledger, call.key, wait, span)
        return
    if facts is not None and facts.wait is not None and facts.wait.until is not None:
        wait = attrs.evolve(wait, until=facts.wait.until)  # R9: cancelled in an earlier attempt
    parts.journal.post_all(parts.decisions.step_waits((ledger.run, call.key), call.kind, wait, now, replace=replace))


def _invoke(call: StepCall, request: InvokeRequest, now: datetime) -> None:
    """Record that a step invokes a function, unless the invoke is recorded already."""
    parts, ledger, facts = call.session.parts, call.session.ledger, call.facts
    until, span = (None, None) if request.timeout is None else _deadline(request.timeout, now)
    if facts is not None and facts.outcome is None and facts.is_waiting and not facts.is_unasked:
        tell_other_child(parts, ledger, call.key, request.function, span)
    elif facts is None or facts.outcome is None:
        place = (ledger.run, call.key)
        opening = parts.decisions.step_invokes(place, request.function, request.event, until, now)
        parts.callers.begin(parts.journal.post_all, opening)


# Sent events and signals are recorded together with the step's end, in one write (R22).


def _send(request: SendRequest, call: StepCall) -> None:
    decisions, ledger, now = call.session.parts.decisions, call.session.ledger, call.session.parts.clock.now()
    numbers = range(len(request.events))
    ids = [sent_event(ledger.run, call.key, number, ledger.reopenings) for number in numbers]
    sent = [(id, stamped(event, id, now)) for id, event in zip(ids, request.events, strict=True)]
    _act(call, decisions.events_sent(sent, now), now)


def _signal(request: SignalRequest, call: StepCall) -> None:
    decisions, now = call.session.parts.decisions, call.session.parts.clock.now()
    place = decisions.waiter(request.signal, now)
    _act(call, (None if place is None else place[0], decisions.signal_sent(request.signal, request.data, now)), now)


def _act(call: StepCall, acting: Acting, now: datetime) -> None:
    parts = call.session.parts
    parts.journal.post_all(parts.decisions.step_acts(call.session.ledger, call.key, call.kind, acting, now))


def check_call(session: Session, step_id: str) -> None:
    """Refuse a step call from inside a handler, or from another thread or loop.

    Raises:
        NestedStepError: the call is made inside a handler (R7).
        RuntimeError: the call is made outside the engine's loop.
    """
    check_not_nested(step_id)
    if running_loop() is not session.parts.loop:
        raise misplaced(
            f"step {step_id!r} of run {session.ledger.run!r} is called outside the loop of its engine: from another "
            "thread use asyncio.run_coroutine_threadsafe"
        )
