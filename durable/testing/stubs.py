"""Replace handlers in a test, and count their calls.

Separate because an engine only knows that an object may replace its handlers, not which one.
Leaves to `lab` the check that all stubs were used.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs

from durable.errors import NonRetriableError
from durable.functions import Handler, checked_handler, checked_step_id
from durable.scheduler import Call
from durable.testing.faults import Dies, dying
from durable.timers import shown


class Stubs:
    """Stubs replace the handlers of the steps that they name.

    A stub is a value, an exception, a callable, a `Dies`, or a list of these.
    """

    def __init__(self, stubs: Mapping[str, Any]) -> None:
        self.calls: Counter[str] = Counter()
        self._stubs = {checked_step_id(name): stub for name, stub in _checked(stubs).items()}
        self._used: Counter[str] = Counter()
        self._short: dict[str, str] = {}
        self.died = asyncio.Event()

    @property
    def may_die(self) -> bool:
        """Whether one of the stubs lets the process die."""
        given = [one for stub in self._stubs.values() for one in (stub if isinstance(stub, list) else [stub])]
        return any(isinstance(stub, Dies) for stub in given)

    def replaces(self, step_id: str) -> bool:
        """Return whether there is a stub for this step id."""
        return step_id in self._stubs

    def asked(self, call: Call) -> None:
        """Do nothing: functions may call steps as they like."""

    def handler(self, step_id: str, handler: Handler) -> Handler:
        """Count a call and return the handler to be called."""
        self.calls[step_id] += 1
        if step_id not in self._stubs:
            return handler
        stub = self._stubs[step_id]
        if isinstance(stub, list):
            number = self._used[step_id]
            if number >= len(stub):
                text = f"step {step_id!r} was called {number + 1} times, its list of stubs has {len(stub)}"
                self._short[step_id] = text
                raise NonRetriableError(text)
            stub = stub[number]
        self._used[step_id] += 1
        if isinstance(stub, Dies):
            call = 1 if isinstance(self._stubs[step_id], list) else self._used[step_id]
            return dying(stub, handler, call, self.died)
        return _standing_in(step_id, stub, handler)

    def check_used(self) -> None:
        """Check that every stub was used, and that no list was too short.

        Raises:
            AssertionError: a stub was not used, or a list was too short, even if the function caught that error.
        """
        if self._short:
            raise AssertionError("; ".join(self._short.values()))
        unused = [
            name if not isinstance(stub, list) else f"{name} ({self._used[name]} of {len(stub)})"
            for name, stub in self._stubs.items()
            if self._used[name] < (len(stub) if isinstance(stub, list) else 1)
        ]
        if unused:
            raise AssertionError(f"stubs that no step used: {', '.join(unused)}; check the ids of the steps")


def _checked(stubs: object) -> Mapping[Any, Any]:
    if not isinstance(stubs, Mapping):
        raise TypeError(f"stubs must be a mapping from step ids to stubs, not {shown(stubs)}")
    return stubs


def _standing_in(step_id: str, stub: Any, handler: Handler) -> Handler:
    if isinstance(stub, BaseException) or (isinstance(stub, type) and issubclass(stub, BaseException)):

        def fail() -> Any:
            raise stub

        return attrs.evolve(handler, function=fail, args=(), kwargs={}, is_async=False)
    if callable(stub):
        return attrs.evolve(handler, function=stub, is_async=checked_handler(step_id, stub))
    return attrs.evolve(handler, function=lambda: stub, args=(), kwargs={}, is_async=False)
