"""Define the steps that a function calls and awaits.

Separate because this is the face of the library: it states what each method promises.
Leaves to an `Execution` everything that follows from a request: keys, records, handlers, outcomes.

Each method checks its arguments when it is called, counts as a step, and returns a coroutine. Waits, sleeps and invokes
are recorded at the call, and their deadlines count from it. `run` and the sends act when they are first awaited (R19).

Clocks outside the steps (`asyncio.timeout`, `asyncio.wait_for`, `anyio.move_on_after`) start anew at every replay and
do not follow a virtual clock. Use a wait's own `timeout`, or a race with `step.sleep`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from durable.errors import checked_methods
from durable.events import (
    NAME_BYTES,
    Event,
    Signal,
    checked_choice,
)
from durable.functions.handler import read_off
from durable.functions.options import (
    OPTIONS,
    StepId,
    StepOptions,
    check_options,
    checked_ask,
    checked_id,
    checked_signal,
    checked_step_id,
    tried_by,
)
from durable.functions.request import (
    Execution,
    InvokeRequest,
    SendRequest,
    SignalRequest,
    SleepRequest,
    WaitForEventRequest,
    WaitForSignalRequest,
)
from durable.functions.waits import asked
from durable.journal import Policy, misuse
from durable.timers import Duration, aware, explained, shown, span_or_instant
from durable.timers import duration as span_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")


_NOTHING: Any = object()  # in the place of what must be given


class Invocable(Protocol[T_co]):
    """An invocable is what `step.invoke` needs of a declared function."""

    @property
    def id(self) -> str:
        """The id under which the function is recorded."""

    def __call__(self, ctx: Any) -> Awaitable[T_co]:
        """Call the function's code."""


@explained(invoke_by_id="step.invoke(id, function='name')", parallel="ctx.group.parallel", wait="wait_for_event")
@partial(checked_methods, but="run")  # which is called for each step, and checks its own call
class Step:
    """The steps that one run can take.

    A finished step answers from the record: its work is not done again (R1).
    """

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
        self, step_id: StepId = _NOTHING, handler: Callable[..., Any] = _NOTHING, /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        """Call `handler(*args, **kwargs)` once and record what it returns.

        The handler is async, or blocking and run in a worker thread. It runs in a copy of the caller's context (R10a).
        The function receives the recorded value, read back: live, on replay and after a crash (R3). After an error the
        handler is tried again; when no tries are left, the error is recorded for good and raised here as a `StepError`
        (R11-R13). If the process dies while the handler runs, the handler runs again: give
        `current_step().idempotency_key` to services outside.

        Raises:
            TypeError, ValueError: at the call, for an invalid id or handler.
            StepError: no tries are left, or the error was final.
        """
        if handler is _NOTHING:
            raise misuse(_lacking(step_id))
        if kwargs and not OPTIONS.isdisjoint(kwargs):
            check_options(step_id, handler, kwargs)
        if type(step_id) is str and step_id.isascii() and 0 < len(step_id) <= NAME_BYTES:  # nearly all come this way
            _, is_async, type_, _ = read_off(step_id, handler)
            return self._execution.run(step_id, handler, args, kwargs, is_async, type_, self._policy)
        options = step_id if isinstance(step_id, StepOptions) else StepOptions(checked_step_id(step_id))
        name = checked_step_id(options.id)
        _, is_async, type_, _ = read_off(name, handler)
        type_ = type_ if options.output_type is None else options.output_type
        spans = None if options.timeout is None and options.within is None else (options.timeout, options.within)
        return self._execution.run(name, handler, args, kwargs, is_async, type_, tried_by(options, self._policy), spans)

    def sleep(self, step_id: StepId, duration: Duration) -> Coroutine[Any, Any, None]:
        """Sleep for a duration, counted from the call.

        The deadline is recorded. If it passes while the process is down, the sleep ends as soon as the engine opens.

        Raises:
            TypeError, ValueError: at the call, for an invalid duration.
        """
        name = checked_id(step_id)
        return self._execution.ask(SleepRequest(name, span_of(duration, what=f"the duration of step {name!r}")))

    def sleep_until(self, step_id: StepId, when: datetime) -> Coroutine[Any, Any, None]:
        """Sleep until an aware datetime.

        If the datetime is in the past, the sleep ends at once.

        Raises:
            TypeError, ValueError: at the call, for a naive datetime or anything else.
        """
        name = checked_id(step_id)
        return self._execution.ask(SleepRequest(name, aware(when, what=f"the instant of step {name!r}")))

    def wait_for_event(
        self,
        step_id: StepId,
        *,
        event: str,
        timeout: Duration | datetime,
        match: str | None = None,
        if_exp: str | None = None,
        ask: Any = None,
    ) -> Coroutine[Any, Any, Event | None]:
        """Wait for an event that is sent after this call.

        Returns the event, or None if `timeout` passes first: a duration, counted from the call, or an aware datetime.
        One event answers every wait that it matches.

        `match` is a path whose values in the run's own event and in the new event must be equal. A new event without
        the path does not match. If the run's own event lacks the path, the call is refused, since nothing could match.
        `if_exp` is a CEL expression over `event` (the run's own) and `async` (the new one). A missing field is null in
        it, so one that is absent in both events is equal. Both `match` and `if_exp` may be given (R20).

        `ask` says what is asked, and of whom: a plain value of at most 64 KiB, recorded with the wait. Wherever a run
        is looked at, it is shown with what the run waits for, also after a crash. None: nothing is asked.

        Raises:
            TypeError, ValueError, ExpressionError: at the call.
            CodecError, LimitError: at the call, if `ask` cannot be kept.
        """
        name = checked_id(step_id)
        event, until, match, if_exp = asked(name, event, timeout, match, if_exp)
        if match is not None:
            self._execution.check_match(name, match)
        if ask is not None:
            ask = checked_ask(ask, what=f"step {name!r}")
        return self._execution.ask(WaitForEventRequest(name, event, until, match, if_exp, ask))

    def wait_for_signal(
        self,
        step_id: StepId,
        *,
        signal: str,
        timeout: Duration | datetime,
        on_conflict: Literal["fail", "replace"] = "fail",
        ask: Any = None,
    ) -> Coroutine[Any, Any, Signal | None]:
        """Wait for a signal that one run at a time can wait for.

        Returns the signal, or None if `timeout` passes first. If another run already waits for the signal, the step
        fails with `SignalConflictError`. With `on_conflict="replace"` this run waits instead, and the earlier one gets
        None at once (R23). `timeout` and `ask` are as for `wait_for_event`.

        Raises:
            TypeError, ValueError: at the call.
            CodecError, LimitError: at the call, if `ask` cannot be kept.
            SignalConflictError: another run waits for the signal.
        """
        name = checked_id(step_id)
        signal = checked_signal(signal, what=f"step {name!r}")
        replace = checked_choice(on_conflict, ("fail", "replace"), f"on_conflict of step {name!r}") == "replace"
        until, ask = span_or_instant(timeout, what=_timeout(name)), checked_ask(ask, what=f"step {name!r}")
        return self._execution.ask(WaitForSignalRequest(name, signal, until, replace, ask))

    def send_event(self, step_id: StepId, events: Event | Sequence[Event]) -> Coroutine[Any, Any, list[str]]:
        """Send events exactly once.

        Returns the ids that the runtime gives the events. The events and the step's record are one write (R22).

        Raises:
            TypeError, ValueError, CodecError, LimitError: at the call, for an event that cannot be sent.
        """
        name = checked_id(step_id)
        given = [events] if isinstance(events, Event) else events
        if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
            raise TypeError(f"step {name!r} sends an Event or a sequence of them, not {shown(events)}")
        return self._execution.ask(SendRequest(name, tuple([self._execution.check_event(event) for event in given])))

    def send_signal(self, step_id: StepId, signal: str, data: Any = None) -> Coroutine[Any, Any, str | None]:
        """Send a signal exactly once.

        Returns the id of the run that received the signal. If no run was waiting, returns None, and the signal is lost
        (R23).

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
        timeout: Duration | datetime | None = None,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def invoke(
        self,
        step_id: StepId,
        *,
        function: str,
        data: Mapping[str, Any] | None = None,
        timeout: Duration | datetime | None = None,
    ) -> Coroutine[Any, Any, Any]: ...
    def invoke(
        self,
        step_id: StepId,
        *,
        function: Any,
        data: Mapping[str, Any] | None = None,
        timeout: Duration | datetime | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Open a run of another function and wait for its result.

        The child run has its own retries. It goes on when its parent is cancelled or `timeout` passes. `timeout` is a
        duration, counted from the call, or an aware datetime; with None the parent waits for as long as the child
        takes. The step fails without a retry if the child fails or is cancelled, or if the engine does not know the
        function (R24).

        Raises:
            TypeError, ValueError: at the call, for an invalid argument.
            StepError: the child failed or was cancelled, or there is no such function.
            InvokeTimeoutError: the child did not end in time.
        """
        name = checked_id(step_id)
        until = None if timeout is None else span_or_instant(timeout, what=_timeout(name))
        id, type_ = self._execution.resolve(function, f"step {name!r}")
        event = self._execution.check_invoked(id, data)
        return self._execution.ask(InvokeRequest(name, id, event, until, type_))


def _lacking(step_id: object) -> TypeError:
    lacks = (
        "2 required positional arguments: 'step_id' and" if step_id is _NOTHING else "1 required positional argument:"
    )
    about = "Step.run() missing {} 'handler': it is Step.run(step_id, handler, /, *args, **kwargs)"
    return TypeError(about.format(lacks))


def _timeout(step_id: str) -> str:
    return f"the timeout of step {step_id!r}"
