"""What a step's request sets off: a call that is counted, a record where it waits, the coroutine of its outcome.

Separate because it is the one place where the kinds of steps differ in what they do.
Leaves to `step` what is checked before, to `session` keys and outcomes, to `tries` the handlers.

Waits, sleeps and invokes are posted here, at the call, and their deadlines count from now; `run` and the sends act when
first awaited (R19).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import Any, assert_never

import attrs

from durable.events import Event, lacking, path_of, view
from durable.functions import (
    CURRENT,
    Handler,
    InvokeRequest,
    Request,
    RunRequest,
    SendRequest,
    SignalRequest,
    SleepRequest,
    WaitForEventRequest,
    WaitForSignalRequest,
    check_not_nested,
)
from durable.journal import (
    Acting,
    ForEvent,
    ForSignal,
    Policy,
    StepKind,
    Until,
    Wait,
    accepted,
    check_signal,
    misplaced,
    sent_event,
    stamped,
)
from durable.scheduler.attempts import begin_attempts
from durable.scheduler.calls import StepCall, StepCoroutine
from durable.scheduler.drift import tell_other_child, tell_other_wait
from durable.scheduler.session import Session
from durable.scheduler.stand_in import Call
from durable.stores import Log
from durable.timers import after

Asked = Coroutine[Any, Any, Any]

_KINDS: dict[type, StepKind] = {
    RunRequest: "run",
    SleepRequest: "sleep",
    WaitForEventRequest: "wait_for_event",
    WaitForSignalRequest: "wait_for_signal",
    SendRequest: "send_event",
    SignalRequest: "send_signal",
    InvokeRequest: "invoke",
}


def _nothing() -> None:
    """What a stub takes the place of, in a wait or an invoke."""


class RunExecution:
    """The `Execution` that a function's context and steps see, over its session."""

    __slots__ = ("_session", "attempt", "function_id", "run_id")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.run_id = session.ledger.run
        self.function_id = session.ledger.function
        self.attempt = session.ledger.attempt

    @property
    def event(self) -> Event:
        """The event that opened the run, as it is kept."""
        return self._session.ledger.event

    @property
    def now(self) -> datetime:
        """The time of the last outcome that was delivered."""
        return self._session.now

    @property
    def is_replaying(self) -> bool:
        """Whether the function has only repeated what is recorded, and there is more to come."""
        return self._session.is_replaying

    @property
    def log(self) -> Log:
        """Where the engine logs."""
        return self._session.parts.logger

    def check_event(self, event: object, *, reserved: bool = False) -> Event:
        """Return an event as it may be sent: see `acceptance.accepted`."""
        return accepted(event, self._session.parts.decisions.limits, reserved=reserved)

    def check_signal(self, signal: str, data: object) -> None:
        """Refuse data that no signal can carry."""
        check_signal(signal, data, self._session.parts.decisions.limits)

    def check_match(self, step_id: str, match: str) -> None:
        """Refuse the path of a wait that could match nothing: see `Execution.check_match`."""
        ledger = self._session.ledger
        lack = lacking(view(ledger.event), path_of(match))
        waits = (facts.wait for facts in ledger.steps.values())
        if lack is None or any(isinstance(wait, ForEvent) and wait.match == match for wait in waits):
            return  # recorded by a release that did not refuse it, it stands: it is answered by nothing
        raise ValueError(
            f"match={match!r} of step {step_id!r} can never match: of the own event of run {ledger.run!r}, "
            f"{ledger.event.name!r}, {lack}"
        )

    def resolve(self, function: object, what: str) -> tuple[str, object]:
        """Return the id of a function that is to be invoked, and the type of what it returns."""
        return self._session.parts.registry.resolve(function, what)

    def ask(self, request: Request) -> Asked:
        """Count the step that a request names, and return the coroutine of its outcome: see `Execution.ask`."""
        session = self._session
        kind = _KINDS[type(request)]
        call = self._counted(request.step_id, kind)
        if call is None:
            return StepCoroutine(session, None)
        match request:
            case RunRequest():  # first, for it is the most frequent
                call.type, call.begin = request.handler.type, partial(begin_attempts, call, request.handler)
            case SendRequest():
                call.begin = partial(_send, call, request)
            case SignalRequest():
                call.begin = partial(_signal, call, request)
            case _:
                if isinstance(request, InvokeRequest):
                    call.type = request.type
                stand_in = session.parts.stand_in
                if stand_in is not None and stand_in.replaces(call.step_id):
                    call.begin = partial(begin_attempts, call, _stood_in(call.type))
                else:
                    _post(call, request)
        return StepCoroutine(session, call)

    def _counted(self, step_id: str, kind: StepKind) -> StepCall | None:
        session = self._session
        parts, owner = session.parts, session.parts.life.owner
        if CURRENT.get() is not None or asyncio._get_running_loop() is not parts.loop:
            check_call(session, step_id)
        if session.refused or owner is None or owner.cancelling():  # what closes refuses every session by itself
            session.refusals.check_own(step_id)
            return None
        stand_in = parts.stand_in
        if stand_in is None:
            return session.count(step_id, kind)
        turn, was_quiet = session.delivery.delivered, session.delivery.is_quiet
        call = session.count(step_id, kind)
        stand_in.asked(Call(session.ledger.run, call.key, kind, session.ledger.attempt, turn, was_quiet))
        return call


# What waits is posted at the call.


def _post(call: StepCall, request: SleepRequest | WaitForEventRequest | WaitForSignalRequest | InvokeRequest) -> None:
    now = call.session.parts.clock.now()
    match request:
        case SleepRequest(until=until):
            if isinstance(until, datetime):
                _wait(call, Until(until), now, None)
            else:
                _wait(call, Until(after(now, until)), now, until)
        case WaitForEventRequest(timeout=span):
            _wait(call, ForEvent(request.event, after(now, span), request.match, request.if_exp), now, span)
        case WaitForSignalRequest(timeout=span):
            _wait(call, ForSignal(request.signal, after(now, span)), now, span, replace=request.replace)
        case InvokeRequest():
            _invoke(call, request, now)
        case _:
            assert_never(request)


def _wait(call: StepCall, wait: Wait, now: datetime, span: timedelta | None, *, replace: bool = False) -> None:
    """Record that a step waits, unless that is recorded; a recorded deadline stands.

    `span` is what the deadline counts, None for an instant. A wait that is open stands as it is recorded (R6).
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
    """Record that a step invokes a function, unless that is recorded."""
    parts, ledger, facts = call.session.parts, call.session.ledger, call.facts
    if facts is not None and facts.outcome is None and facts.is_waiting and not facts.is_unasked:
        tell_other_child(parts, ledger, call.key, request.function, request.timeout)
    elif facts is None or facts.outcome is None:
        place = (ledger.run, call.key)
        parts.journal.post_all(
            parts.decisions.step_invokes(place, request.function, request.event, request.timeout, now)
        )


def _stood_in(type_: object) -> Handler:
    return Handler(_nothing, (), {}, False, Policy(retries=0), None, type_)


# What is sent is recorded with the step's end, as one (R22).


def _send(call: StepCall, request: SendRequest) -> None:
    decisions, ledger, now = call.session.parts.decisions, call.session.ledger, call.session.parts.clock.now()
    numbers = range(len(request.events))
    ids = [sent_event(ledger.run, call.key, number, ledger.reopenings) for number in numbers]
    sent = [(id, stamped(event, id, now)) for id, event in zip(ids, request.events, strict=True)]
    _act(call, decisions.events_sent(sent, now), now)


def _signal(call: StepCall, request: SignalRequest) -> None:
    decisions, now = call.session.parts.decisions, call.session.parts.clock.now()
    place = decisions.waiter(request.signal, now)
    _act(call, (None if place is None else place[0], decisions.signal_sent(request.signal, request.data, now)), now)


def _act(call: StepCall, acting: Acting, now: datetime) -> None:
    parts = call.session.parts
    parts.journal.post_all(parts.decisions.step_acts(call.session.ledger, call.key, call.kind, acting, now))


def check_call(session: Session, step_id: str) -> None:
    """Refuse a call from inside a handler, or from another thread or loop.

    Raises:
        NestedStepError, RuntimeError
    """
    check_not_nested(step_id)
    if asyncio._get_running_loop() is not session.parts.loop:
        raise misplaced(
            f"step {step_id!r} of run {session.ledger.run!r} is called outside the loop of its engine: from another "
            "thread use asyncio.run_coroutine_threadsafe"
        )
