"""Define requests, which are step calls as frozen values, and the `Execution` protocol.

Separate because a function sees no task and no store: it asks, and an execution answers with a coroutine.
Leaves to `step` the checks before a request, to `execution` and `session` its consequences.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Protocol

import attrs

from durable.events import Event, Json
from durable.functions.handler import Spans
from durable.journal import Policy, RecordedEvent
from durable.stores import Log


@attrs.frozen(eq=False)
class SleepRequest:
    """Ask to sleep for a span counted from the call, or until an instant."""

    step_id: str
    until: timedelta | datetime


@attrs.frozen(eq=False)
class WaitForEventRequest:
    """Ask to wait for an event that matches.

    `timeout` is a span counted from the call, or an instant. `ask` is what people are told of the wait.
    """

    step_id: str
    event: str
    timeout: timedelta | datetime
    match: str | None
    if_exp: str | None
    ask: Json | None


@attrs.frozen(eq=False)
class WaitForSignalRequest:
    """Ask to wait for a signal.

    With `replace` this run waits instead of a run that waits for it already. `timeout` and `ask` are as for an event.
    """

    step_id: str
    signal: str
    timeout: timedelta | datetime
    replace: bool
    ask: Json | None


@attrs.frozen(eq=False)
class SendRequest:
    """Ask to send events that have been checked and copied."""

    step_id: str
    events: tuple[RecordedEvent, ...]


@attrs.frozen(eq=False)
class SignalRequest:
    """Ask to send a signal whose data has been checked."""

    step_id: str
    signal: str
    data: Any


@attrs.frozen(eq=False)
class InvokeRequest:
    """Ask to open a run of a function and wait for its result.

    `event` opens the run. `type` is the type of the result. `timeout` is as for an event, or None.
    """

    step_id: str
    function: str
    event: RecordedEvent
    timeout: timedelta | datetime | None
    type: object


Request = SleepRequest | WaitForEventRequest | WaitForSignalRequest | SendRequest | SignalRequest | InvokeRequest


class Execution(Protocol):
    """An execution takes the requests of one run's function and answers them.

    Attributes:
        run_id, function_id: the run and its function.
        attempt: how often the function was called again, from 0.
    """

    run_id: str
    function_id: str
    attempt: int

    @property
    def event(self) -> Event:
        """The event that opened the run: a copy of the caller's own (R3)."""

    @property
    def seed(self) -> str:
        """What the function's random numbers derive from: its run's id, or that of the run that it was forked from."""

    @property
    def others(self) -> list[Event]:
        """The events of a batch after the first, likewise; else none."""

    @property
    def now(self) -> datetime:
        """The time of the last outcome that the function received."""

    @property
    def is_replaying(self) -> bool:
        """Whether the function still repeats what is recorded."""

    @property
    def log(self) -> Log:
        """The log that the engine writes to."""

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
    ) -> Coroutine[Any, Any, Any]:
        """Count a step that calls a handler and records what it returns; return its coroutine.

        The handler comes in its parts: most are called once, and need no object of their own.

        Raises: as for `ask`.
        """

    def ask(self, request: Request) -> Coroutine[Any, Any, Any]:
        """Count a step and return the coroutine of its outcome.

        Raises:
            NestedStepError: the call is made inside a step's handler (R7).
            LimitError: the run has too many steps (R28).
            DriftError: the request differs from what is recorded under its key (R6).
            RuntimeError: the execution has ended.
        """

    def check_event(self, event: object) -> RecordedEvent:
        """Return a checked copy of an event that is to be sent: see `acceptance.accepted`."""

    def check_invoked(self, function: str, data: object) -> RecordedEvent:
        """Return the event that opens a run of a function, with a checked copy of the data."""

    def check_signal(self, signal: str, data: object) -> None:
        """Check a signal's data: it can be recorded and is not too large."""

    def check_match(self, step_id: str, match: str) -> None:
        """Check that the run's own event has a value at the path `match` (R20).

        Raises:
            ValueError: it has not, so the wait could match nothing. The message names the keys that exist.
        """

    def resolve(self, function: object, what: str) -> tuple[str, object]:
        """Return the id and the output type of a function to be invoked."""
