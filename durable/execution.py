"""What a step's request sets off: a claim, a record where it waits, and the coroutine of its outcome.

Separate because it is the one place where the kinds of steps differ in what they do.
Leaves to `step` what is checked before, to `session` keys and outcomes, to `tries` the handlers.

Waits, sleeps and invokes are posted here, at the call, and their deadlines count from now; `run` and the sends act when
first awaited (R19).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, assert_never

from durable.awaitable import StepCoroutine
from durable.bus import lacking, path_of, view
from durable.causes import Acting
from durable.claims import Call, Claim, Handler, check_not_nested
from durable.codec import ABSENT
from durable.ids import part
from durable.log import Log
from durable.misuse import misplaced
from durable.records import Event, ForEvent, ForSignal, StepKind, Until, Wait
from durable.request import (
    InvokeRequest,
    Request,
    RunRequest,
    SendRequest,
    SignalRequest,
    SleepRequest,
    WaitForEventRequest,
    WaitForSignalRequest,
)
from durable.retries import Policy
from durable.session import Session
from durable.times import after
from durable.tries import Tries

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

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._session.ledger.run

    @property
    def function_id(self) -> str:
        """The id of its function."""
        return self._session.ledger.function

    @property
    def attempt(self) -> int:
        """How often the function was called again, from 0."""
        return self._session.ledger.attempt

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
        return self._session.machine.logger

    def check_event(self, event: object, *, reserved: bool = False) -> Event:
        """Return an event as it may be sent: see `Causes.check_event`."""
        return self._session.machine.causes.check_event(event, reserved=reserved)

    def check_signal(self, signal: str, data: object) -> None:
        """Refuse data that no signal can carry."""
        self._session.machine.causes.check_signal(signal, data)

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
        return self._session.machine.resolve(function, what)

    def ask(self, request: Request) -> Asked:
        """Claim the step that a request names, and return the coroutine of its outcome: see `Execution.ask`."""
        session = self._session
        claim = self._claim(request.step_id, _KINDS[type(request)])
        if claim is None:
            return StepCoroutine(session, None, ABSENT)
        match request:
            case RunRequest():  # first, for it is the most frequent
                return self._tried(claim, request.handler)
            case SendRequest():
                return self._acted(claim, lambda now: self._sent(claim, request.events, now))
            case SignalRequest():
                return self._acted(claim, lambda now: self._signalled(request, now))
            case _:
                stand_in = session.machine.stand_in
                if stand_in is not None and stand_in.replaces(claim.step_id):
                    return self._stood_in(claim, request)
                return self._waiting(claim, request)

    def _claim(self, step_id: str, kind: StepKind) -> Claim | None:
        session = self._session
        check_call(session, step_id)
        if session.refused or session.machine.is_ending():
            session.refusals.check_own(step_id)
            return None
        stand_in = session.machine.stand_in
        if stand_in is None:
            return session.claim(step_id, kind)
        turn, was_quiet = session.delivery.delivered, session.delivery.is_quiet
        claim = session.claim(step_id, kind)
        stand_in.asked(Call(session.ledger.run, claim.key, kind, session.ledger.attempt, turn, was_quiet))
        return claim

    def _waiting(
        self, claim: Claim, request: SleepRequest | WaitForEventRequest | WaitForSignalRequest | InvokeRequest
    ) -> Asked:
        match request:
            case SleepRequest(until=until):
                if isinstance(until, datetime):
                    return self._wait(claim, Until(until), None)
                return self._wait(claim, Until(self._after(until)), until)
            case WaitForEventRequest(timeout=span):
                wait = ForEvent(request.event, self._after(span), request.match, request.if_exp)
                return self._wait(claim, wait, span)
            case WaitForSignalRequest(timeout=span):
                return self._wait(claim, ForSignal(request.signal, self._after(span)), span, replace=request.replace)
            case InvokeRequest():
                self._session.begin_invoke(claim, request.function, request.event, request.timeout)
                return StepCoroutine(self._session, claim, request.type)
            case _:
                assert_never(request)

    def _after(self, span: timedelta) -> datetime:
        return after(self._session.machine.clock.now(), span)

    def _wait(self, claim: Claim, wait: Wait, span: timedelta | None, *, replace: bool = False) -> Asked:
        self._session.begin_wait(claim, wait, span, replace=replace)
        return StepCoroutine(self._session, claim, ABSENT)

    def _stood_in(self, claim: Claim, request: Request) -> Asked:
        type_ = request.type if isinstance(request, InvokeRequest) else ABSENT
        return self._tried(claim, Handler(_nothing, (), {}, False, Policy(retries=0), None, type_))

    def _tried(self, claim: Claim, work: Handler) -> Asked:
        session = self._session
        return StepCoroutine(session, claim, work.type, lambda: session.begin_work(claim, Tries(session, claim, work)))

    def _acted(self, claim: Claim, act: Callable[[datetime], Acting]) -> Asked:
        session = self._session
        now = session.machine.clock.now
        return StepCoroutine(session, claim, ABSENT, lambda: session.close_after(claim, act(now())))

    def _sent(self, claim: Claim, events: tuple[Event, ...], now: datetime) -> Acting:
        run, ids = self._session.ledger.run, list[str]()
        named = [(f"{run}/{part(claim.key)}#{number}", event) for number, event in enumerate(events)]
        yield from self._session.machine.causes.send_all(named, ids, now)
        return ids

    def _signalled(self, request: SignalRequest, now: datetime) -> Acting:
        causes = self._session.machine.causes
        place = causes.waiter(request.signal, now)
        yield from causes.signal(request.signal, request.data, now)
        return None if place is None else place[0]


def check_call(session: Session, step_id: str) -> None:
    """Refuse a call from inside a handler, or from another thread or loop.

    Raises:
        NestedStepError, RuntimeError
    """
    check_not_nested(step_id)
    if asyncio._get_running_loop() is not session.machine.loop:
        raise misplaced(
            f"step {step_id!r} of run {session.ledger.run!r} is called outside the loop of its engine: from another "
            "thread use asyncio.run_coroutine_threadsafe"
        )
