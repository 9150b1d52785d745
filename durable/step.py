"""Steps: what a function asks for and awaits.

Separate because this is the face of the library: what each method promises stands here and nowhere else.
Leaves to an `Execution` everything that follows from a request: keys, records, handlers, outcomes.

Every method checks its arguments and is counted when it is called; it returns a coroutine. Waits, sleeps and invokes
are posted at the call, and their deadlines count from there; `run` and the sends act when first awaited (R19).

Clocks outside the steps (`asyncio.timeout`, `asyncio.wait_for`, `anyio.move_on_after`) start anew at every replay and
do not follow a virtual clock: use a wait's own `timeout`, or a race with `step.sleep`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from durable.bus import checked_path, checked_pattern, checked_source
from durable.claims import Handler
from durable.codec.annotations import return_type
from durable.errors import checked_calls
from durable.expressions import parse
from durable.handlers import checked_handler
from durable.options import StepId, StepOptions, checked_id, checked_signal, checked_step_id
from durable.records import INVOKED, Event, Signal
from durable.request import (
    Execution,
    InvokeRequest,
    RunRequest,
    SendRequest,
    SignalRequest,
    SleepRequest,
    WaitForEventRequest,
    WaitForSignalRequest,
)
from durable.retries import Policy
from durable.spelling import shown
from durable.state import WAIT_NAMES
from durable.times import Duration, aware
from durable.times import duration as span_of
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


@checked_calls
class Step:
    """The steps of one run: see each method. A finished step answers from the record (R1)."""

    __slots__ = ("_execution", "_policy")

    def __init__(self, execution: Execution, policy: Policy) -> None:
        self._execution = execution
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
        return self._execution.ask(RunRequest(name, work))

    def sleep(self, step_id: StepId, duration: Duration) -> Coroutine[Any, Any, None]:
        """Sleep for a duration, counted from the call. A sleep that ended while the process was down ends at once.

        Raises:
            TypeError, ValueError: at the call, for a duration that is none.
        """
        name = checked_id(step_id)
        return self._execution.ask(SleepRequest(name, span_of(duration, what=f"the duration of step {name!r}")))

    def sleep_until(self, step_id: StepId, when: datetime) -> Coroutine[Any, Any, None]:
        """Sleep until an aware datetime; one in the past ends at once.

        Raises:
            TypeError, ValueError: at the call, for a naive datetime or none.
        """
        name = checked_id(step_id)
        return self._execution.ask(SleepRequest(name, aware(when, what=f"the instant of step {name!r}")))

    def wait_for_event(
        self, step_id: StepId, *, event: str, timeout: Duration, match: str | None = None, if_exp: str | None = None
    ) -> Coroutine[Any, Any, Event | None]:
        """Wait for an event that is sent from now on; None when `timeout` has passed, counted from the call.

        `match` is a path that must be equal in the run's own event and in the new one. Absent in the new one, it does
        not match; absent in the run's own it never could, and is refused. `if_exp` is a CEL expression over `event`
        (the run's) and `async` (the new one), in which a missing field is null: one that is absent in both events is
        equal there. Both may be given (R20). One event answers every wait that it matches.

        Raises:
            TypeError, ValueError, ExpressionError: at the call.
        """
        name = checked_id(step_id)
        event = checked_pattern(event, what=f"step {name!r}")
        if "*" in event:
            raise ValueError(f"step {name!r} waits for one event by its name, not for a pattern: {event!r}")
        if match is not None:
            match = ".".join(checked_path(match, what=f"step {name!r}"))
            self._execution.check_match(name, match)
        if if_exp is not None:
            if_exp = parse(checked_source(if_exp, what=f"if_exp of step {name!r}"), WAIT_NAMES).source
        span = span_of(timeout, what=f"the timeout of step {name!r}")
        return self._execution.ask(WaitForEventRequest(name, event, span, match, if_exp))

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
        return self._execution.ask(WaitForSignalRequest(name, signal, span, replace))

    def send_event(self, step_id: StepId, events: Event | Sequence[Event]) -> Coroutine[Any, Any, list[str]]:
        """Send events, exactly once: they and the step's record are one write (R22). Returns the runtime's ids.

        Raises:
            TypeError, ValueError, CodecError, LimitError: at the call, for an event that cannot be sent.
        """
        name = checked_id(step_id)
        given = [events] if isinstance(events, Event) else events
        if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
            raise TypeError(f"step {name!r} sends an Event or a sequence of them, not {shown(events)}")
        return self._execution.ask(SendRequest(name, tuple([self._execution.check_event(event) for event in given])))

    def send_signal(self, step_id: StepId, signal: str, data: Any = None) -> Coroutine[Any, Any, str | None]:
        """Send a signal, exactly once. Returns the id of the run that received it, None if none was waiting: it is
        not kept (R23).

        Raises:
            TypeError, ValueError, CodecError, LimitError: at the call.
        """
        name = checked_id(step_id)
        signal = checked_signal(signal, what=f"step {name!r}")
        self._execution.check_signal(signal, data)
        return self._execution.ask(SignalRequest(name, signal, data))

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
        event = self._execution.check_event(Event(INVOKED, {} if data is None else data), reserved=True)
        id, type_ = self._execution.resolve(function, f"step {name!r}")
        return self._execution.ask(InvokeRequest(name, id, event, span, type_))
