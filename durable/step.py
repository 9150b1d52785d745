"""Steps: what a function asks for and awaits.

Separate because this is the face of the library: what each method promises stands here and nowhere else.
Leaves to `session` the keys and the record, to `tries` the handlers, to `causes` what a wait or an event sets off.

Every method checks its arguments and is counted when it is called; it returns a coroutine. Waits, sleeps and invokes
are posted at the call, and their deadlines count from there; `run` and the sends act when first awaited (R19).

Clocks outside the steps (`asyncio.timeout`, `asyncio.wait_for`, `anyio.move_on_after`) start anew at every replay and
do not follow a virtual clock: use a wait's own `timeout`, or a race with `step.sleep`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from durable.awaitable import StepCoroutine
from durable.bus import checked_path, checked_pattern, checked_source
from durable.claims import Call, Claim, Handler, check_not_nested
from durable.codec import ABSENT, return_type
from durable.expressions import parse
from durable.handlers import checked_handler
from durable.ids import part
from durable.misuse import checked_calls, misuse
from durable.options import StepId, StepOptions, checked_id, checked_signal, checked_step_id
from durable.records import (
    INVOKED,
    Event,
    ForEvent,
    ForSignal,
    Ok,
    Signal,
    StepKind,
    Until,
    Wait,
)
from durable.retries import Policy
from durable.session import Session
from durable.spelling import shown
from durable.state import WAIT_NAMES
from durable.times import Duration, after, aware
from durable.times import duration as span_of
from durable.tries import Tries
from durable.words import checked_choice

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")


class Invocable(Protocol[T_co]):
    """A declared function, as `step.invoke` sees it."""

    @property
    def id(self) -> str:
        """By which it is recorded."""

    def __call__(self, ctx: Any) -> Awaitable[T_co]:
        """Call its code."""


def _nothing() -> None:
    """What a stub takes the place of, in a wait or an invoke."""


def check_call(session: Session, step_id: str) -> None:
    """Refuse a call from inside a handler, or from another thread or loop.

    Raises:
        NestedStepError, RuntimeError
    """
    check_not_nested(step_id)
    if asyncio._get_running_loop() is not session.machine.loop:
        raise misuse(
            RuntimeError(
                f"step {step_id!r} of run {session.ledger.run!r} is called outside the loop of its engine: from "
                "another thread use asyncio.run_coroutine_threadsafe"
            )
        )


@checked_calls
class Step:
    """The steps of one run: see each method. A finished step answers from the record (R1)."""

    __slots__ = ("_policy", "_session")

    def __init__(self, session: Session, policy: Policy) -> None:
        self._session = session
        self._policy = policy

    @overload
    def run(
        self, step_id: StepId, handler: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def run(
        self, step_id: StepId, handler: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    def run(
        self, step_id: StepId, handler: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        """Call `handler(*args, **kwargs)` once, and keep what it returns.

        The handler is async, or blocking and run in a worker thread. It runs in a copy of the caller's context (R10a).
        What the function receives is the recorded value, read back: live, on replay and after a crash (R3). An error
        is retried; out of tries it is a `StepError` here, recorded and never tried again (R11-R13). If the process
        dies while the handler runs, it runs again: give `current_step().idempotency_key` to services outside.

        Raises:
            TypeError, ValueError: at the call, for an id or a handler that cannot be one.
            StepError: the tries are used up, or the error was final.
        """
        options = step_id if isinstance(step_id, StepOptions) else None
        name = checked_step_id(step_id if options is None else options.id)
        is_async = checked_handler(name, handler)
        if options is None:
            work = Handler(handler, args, kwargs, is_async, self._policy, None, return_type(handler))
        else:
            type_ = return_type(handler) if options.output_type is None else options.output_type
            policy = options.policy(self._policy)
            work = Handler(handler, args, kwargs, is_async, policy, options.timeout, type_, options.within)
        claim = self._claim(name, "run")
        return self._refused() if claim is None else self._tried(claim, work)

    def sleep(self, step_id: StepId, duration: Duration) -> Coroutine[Any, Any, None]:
        """Sleep for a duration, counted from the call. A sleep that ended while the process was down ends at once.

        Raises:
            TypeError, ValueError: at the call, for a duration that is none.
        """
        return self._sleep(step_id, span_of(duration, what=f"the duration of step {checked_id(step_id)!r}"))

    def sleep_until(self, step_id: StepId, when: datetime) -> Coroutine[Any, Any, None]:
        """Sleep until an aware datetime; one in the past ends at once.

        Raises:
            TypeError, ValueError: at the call, for a naive datetime or none.
        """
        return self._sleep(step_id, aware(when, what=f"the instant of step {checked_id(step_id)!r}"))

    def _sleep(self, step_id: StepId, until: timedelta | datetime) -> Coroutine[Any, Any, None]:
        claim = self._claim(checked_id(step_id), "sleep")
        if claim is None:
            return self._refused()
        when = until if isinstance(until, datetime) else self._after(until)
        return self._wait(claim, Until(when), ABSENT)

    def wait_for_event(
        self, step_id: StepId, *, event: str, timeout: Duration, match: str | None = None, if_exp: str | None = None
    ) -> Coroutine[Any, Any, Event | None]:
        """Wait for an event that is sent from now on; None when `timeout` has passed, counted from the call.

        `match` is a path that must be equal in the run's own event and in the new one; absent never matches. `if_exp`
        is a CEL expression over `event` (the run's) and `async` (the new one); both may be given (R20). One event
        answers every wait that it matches.

        Raises:
            TypeError, ValueError, ExpressionError: at the call.
        """
        name = checked_id(step_id)
        event = checked_pattern(event, what=f"step {name!r}")
        if "*" in event:
            raise ValueError(f"step {name!r} waits for one event by its name, not for a pattern: {event!r}")
        if match is not None:
            match = ".".join(checked_path(match, what=f"step {name!r}"))
        if if_exp is not None:
            if_exp = parse(checked_source(if_exp, what=f"if_exp of step {name!r}"), WAIT_NAMES).source
        span = span_of(timeout, what=f"the timeout of step {name!r}")
        claim = self._claim(name, "wait_for_event")
        if claim is None:
            return self._refused()
        return self._wait(claim, ForEvent(event, self._after(span), match, if_exp), ABSENT)

    def wait_for_signal(
        self, step_id: StepId, *, signal: str, timeout: Duration, on_conflict: Literal["fail", "replace"] = "fail"
    ) -> Coroutine[Any, Any, Signal | None]:
        """Wait for a signal, for which one run at a time can wait; None when `timeout` has passed.

        Where another run waits for it already, the step fails with `SignalConflictError`, or with "replace" takes it
        over: the earlier waiter gets None at once (R23).

        Raises:
            TypeError, ValueError: at the call.
            SignalConflictError: another run waits for the signal.
        """
        name = checked_id(step_id)
        signal = checked_signal(signal, what=f"step {name!r}")
        replace = checked_choice(on_conflict, ("fail", "replace"), f"on_conflict of step {name!r}") == "replace"
        span = span_of(timeout, what=f"the timeout of step {name!r}")
        claim = self._claim(name, "wait_for_signal")
        if claim is None:
            return self._refused()
        return self._wait(claim, ForSignal(signal, self._after(span)), ABSENT, replace=replace)

    def send_event(self, step_id: StepId, events: Event | Sequence[Event]) -> Coroutine[Any, Any, list[str]]:
        """Send events, exactly once: they and the step's record are one write (R22). Returns the runtime's ids.

        Raises:
            TypeError, ValueError, CodecError, LimitError: at the call, for an event that cannot be sent.
        """
        name = checked_id(step_id)
        given = [events] if isinstance(events, Event) else events
        if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
            raise TypeError(f"step {name!r} sends an Event or a sequence of them, not {shown(events)}")
        checked = [self._session.machine.causes.check_event(event) for event in given]
        claim = self._claim(name, "send_event")
        if claim is None:
            return self._refused()
        return self._acted(claim, lambda: self._sent(claim, checked))

    def send_signal(self, step_id: StepId, signal: str, data: Any = None) -> Coroutine[Any, Any, str | None]:
        """Send a signal, exactly once. Returns the id of the run that received it, None if none was waiting: it is
        not kept (R23).

        Raises:
            TypeError, ValueError, CodecError, LimitError: at the call.
        """
        name = checked_id(step_id)
        signal = checked_signal(signal, what=f"step {name!r}")
        self._session.machine.causes.check_signal(signal, data)
        claim = self._claim(name, "send_signal")
        if claim is None:
            return self._refused()
        return self._acted(claim, lambda: self._signalled(signal, data))

    @overload
    def invoke(
        self,
        step_id: StepId,
        *,
        function: Invocable[T],
        data: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def invoke(
        self,
        step_id: StepId,
        *,
        function: str,
        data: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
    ) -> Coroutine[Any, Any, Any]: ...
    def invoke(
        self,
        step_id: StepId,
        *,
        function: Any,
        data: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Open a run of another function, with its own retries, and wait for what it returns.

        The child goes on when the parent is cancelled or the timeout passes. Its failure, its cancelling, or a
        function that the engine does not know is a `StepError` that is not retried (R24).

        Raises:
            TypeError, ValueError: at the call.
            StepError: the child failed or was cancelled, or there is no such function.
            InvokeTimeoutError: the child did not end in time.
        """
        name = checked_id(step_id)
        span = None if timeout is None else span_of(timeout, what=f"the timeout of step {name!r}")
        causes = self._session.machine.causes
        event = causes.check_event(Event(INVOKED, {} if data is None else data), reserved=True)
        id, type_ = self._session.machine.resolve(function, f"step {name!r}")
        claim = self._claim(name, "invoke")
        if claim is None:
            return self._refused()
        if self._is_stood_in(claim):
            return self._stand_in(claim, type_)
        self._session.begin_invoke(claim, id, event, None if span is None else self._after(span))
        return self._taken(claim, type_)

    def _claim(self, step_id: str, kind: StepKind) -> Claim | None:
        session = self._session
        check_call(session, step_id)
        if session.refused or session.machine.is_ending():
            return None
        stand_in = session.machine.stand_in
        if stand_in is None:
            return session.claim(step_id, kind)
        turn, was_quiet = session.delivery.delivered, session.delivery.is_quiet
        claim = session.claim(step_id, kind)
        stand_in.asked(Call(session.ledger.run, claim.key, kind, session.ledger.attempt, turn, was_quiet))
        return claim

    def _refused(self) -> Coroutine[Any, Any, Any]:
        return StepCoroutine(self._session, None, ABSENT)

    def _after(self, span: timedelta) -> datetime:
        return after(self._session.machine.clock.now(), span)

    def _wait(self, claim: Claim, wait: Wait, type_: object, *, replace: bool = False) -> Coroutine[Any, Any, Any]:
        if self._is_stood_in(claim):
            return self._stand_in(claim, type_)
        self._session.begin_wait(claim, wait, replace=replace)
        return self._taken(claim, type_)

    def _is_stood_in(self, claim: Claim) -> bool:
        stand_in = self._session.machine.stand_in
        return stand_in is not None and stand_in.replaces(claim.step_id)

    def _stand_in(self, claim: Claim, type_: object) -> Coroutine[Any, Any, Any]:
        work = Handler(_nothing, (), {}, False, Policy(retries=0), None, type_)
        return self._tried(claim, work)

    def _taken(
        self, claim: Claim, type_: object, begin: Callable[[], object] | None = None
    ) -> Coroutine[Any, Any, Any]:
        return StepCoroutine(self._session, claim, type_, begin)

    def _tried(self, claim: Claim, work: Handler) -> Coroutine[Any, Any, Any]:
        session = self._session
        return self._taken(claim, work.type, lambda: session.begin_work(claim, Tries(session, claim, work)))

    def _acted(self, claim: Claim, act: Callable[[], object]) -> Coroutine[Any, Any, Any]:
        session = self._session
        return self._taken(claim, ABSENT, lambda: session.close_step(claim, Ok(session.machine.causes.encode(act()))))

    def _sent(self, claim: Claim, events: list[Event]) -> object:
        machine, ids = self._session.machine, []
        for number, event in enumerate(events):
            now = machine.clock.now()
            id = f"{self._session.ledger.run}/{part(claim.key)}#{number}"
            ids.append(machine.causes.repeat_of(event, now) or id)
            machine.journal.post_all(machine.causes.send(id, event, now))
        return ids

    def _signalled(self, signal: str, data: object) -> object:
        machine = self._session.machine
        now = machine.clock.now()
        place = machine.causes.waiter(signal, now)
        machine.journal.post_all(machine.causes.signal(signal, data, now))
        return None if place is None else place[0]
