"""Requests: a call of a step method as one frozen value, and the execution that takes it.

Separate because a function sees no task and no store: it asks, and an execution answers with a coroutine.
Leaves to `step` what is checked first, to `session` and `asking` what follows.
"""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, Protocol

import attrs

from durable.claims import Handler
from durable.log import Log
from durable.records import Event


@attrs.frozen(eq=False)
class RunRequest:
    """Call a handler, and keep what it returns."""

    step_id: str
    handler: Handler


@attrs.frozen(eq=False)
class SleepRequest:
    """Sleep for a span that counts from the call, or until an instant."""

    step_id: str
    until: timedelta | datetime


@attrs.frozen(eq=False)
class WaitForEventRequest:
    """Wait for an event that matches; `timeout` counts from the call."""

    step_id: str
    event: str
    timeout: timedelta
    match: str | None
    if_exp: str | None


@attrs.frozen(eq=False)
class WaitForSignalRequest:
    """Wait for a signal; `replace` takes it over from whoever waits for it."""

    step_id: str
    signal: str
    timeout: timedelta
    replace: bool


@attrs.frozen(eq=False)
class SendRequest:
    """Send events, each checked and copied already."""

    step_id: str
    events: tuple[Event, ...]


@attrs.frozen(eq=False)
class SignalRequest:
    """Send a signal whose data can be kept."""

    step_id: str
    signal: str
    data: Any


@attrs.frozen(eq=False)
class InvokeRequest:
    """Open a run of a function with an event, and wait for what it returns, of the type given."""

    step_id: str
    function: str
    event: Event
    timeout: timedelta | None
    type: object


Request = (
    RunRequest | SleepRequest | WaitForEventRequest | WaitForSignalRequest | SendRequest | SignalRequest | InvokeRequest
)


class Execution(Protocol):
    """One execution of one run, as its function's steps and context see it."""

    @property
    def run_id(self) -> str:
        """The run's id."""

    @property
    def function_id(self) -> str:
        """The id of its function."""

    @property
    def attempt(self) -> int:
        """How often the function was called again, from 0."""

    @property
    def event(self) -> Event:
        """The event that opened the run, as it is kept: nobody may change it."""

    @property
    def now(self) -> datetime:
        """The time of the last outcome that was delivered."""

    @property
    def is_replaying(self) -> bool:
        """Whether the function has only repeated what is recorded, and there is more to come."""

    @property
    def log(self) -> Log:
        """Where the engine logs."""

    def ask(self, request: Request) -> Coroutine[Any, Any, Any]:
        """Count a step and return the coroutine of its outcome.

        Raises:
            NestedStepError, LimitError, DriftError, RuntimeError: see the rules R7, R28, R6.
        """

    def check_event(self, event: object, *, reserved: bool = False) -> Event:
        """Return an event as it may be sent: see `acceptance.accepted`."""

    def check_signal(self, signal: str, data: object) -> None:
        """Refuse data that no signal can carry."""

    def check_match(self, step_id: str, match: str) -> None:
        """Refuse the path of a wait that could match nothing, since the run's own event has nothing there (R20).

        Raises:
            ValueError: it names the keys there are.
        """

    def resolve(self, function: object, what: str) -> tuple[str, object]:
        """Return the id of a function that is to be invoked, and the type of what it returns."""
