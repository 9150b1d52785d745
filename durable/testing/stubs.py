"""Replace handlers in a test, and count their calls.

Separate because an engine only knows that an object may replace its handlers, not which one.
Leaves to `lab` the end of a test, at which the stubs are checked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import attrs

from durable.errors import NonRetriableError
from durable.functions import Handler, checked_handler, checked_step_id
from durable.scheduler import Call
from durable.testing.faults import Dies, dying
from durable.timers import shown

_ALIKE = 0.6  # as difflib has it: what a typing error leaves alike


class Stubs:
    """Stubs replace the handlers of the steps that they name.

    A stub is a value, an exception, a callable, a `Dies`, or a list of these. With `all_stubbed` a handler without a
    stub is not called.
    """

    def __init__(self, stubs: Mapping[str, Any], *, all_stubbed: bool = False) -> None:
        self.calls: Counter[str] = Counter()
        self._stubs = {checked_step_id(name): stub for name, stub in _checked(stubs).items()}
        self._all_stubbed = all_stubbed
        self._seen: dict[str, None] = {}
        self._used: Counter[str] = Counter()
        self._refused: dict[str, str] = {}
        self.died = asyncio.Event()

    @property
    def may_die(self) -> bool:
        """Whether one of the stubs lets the process die."""
        given = [one for stub in self._stubs.values() for one in (stub if isinstance(stub, list) else [stub])]
        return any(isinstance(stub, Dies) for stub in given)

    def replaces(self, step_id: str) -> bool:
        """Return whether there is a stub for this step id."""
        self._seen[step_id] = None
        return step_id in self._stubs

    def asked(self, call: Call) -> None:
        """Do nothing: functions may call steps as they like."""

    def handler(self, step_id: str, handler: Handler) -> Handler:
        """Count a call and return the handler to be called."""
        self.calls[step_id] += 1
        self._seen[step_id] = None
        if step_id not in self._stubs:
            if self._all_stubbed:
                raise self._refusal(step_id, self._unstubbed(step_id))
            return handler
        stub = self._stubs[step_id]
        if isinstance(stub, list):
            number = self._used[step_id]
            if number >= len(stub):
                text = f"step {step_id!r} was called {number + 1} times, its list of stubs has {len(stub)}"
                raise self._refusal(step_id, text)
            stub = stub[number]
        self._used[step_id] += 1
        if isinstance(stub, Dies):
            call = 1 if isinstance(self._stubs[step_id], list) else self._used[step_id]
            return dying(stub, handler, call, self.died)
        return _standing_in(step_id, stub, handler)

    def _refusal(self, step_id: str, text: str) -> NonRetriableError:
        self._refused[step_id] = text
        return NonRetriableError(text)

    def _unstubbed(self, step_id: str) -> str:
        text = f"step {step_id!r} has no stub, and unstubbed='error' keeps its handler from being called"
        like = get_close_matches(step_id, self._stubs, 1, _ALIKE)
        return f"{text}: is it meant by stub {like[0]!r}?" if like else f"{text}: add it to stubs={{...}}"

    def check_refused(self) -> None:
        """Check that no stub was missing.

        Raises:
            AssertionError: a list was too short, or a handler without a stub was not to be called, even if the function
                caught that error.
        """
        if self._refused:
            raise AssertionError("; ".join(self._refused.values()))

    def check_used(self) -> None:
        """Check that every stub was used, and that none was missing.

        Raises:
            AssertionError: a stub was not used; or see `check_refused`.
        """
        self.check_refused()
        if unused := self.unused():
            raise AssertionError(unused)

    def unused(self) -> str:
        """Return a text on the stubs that no step used; it is empty if all were used."""
        names = ", ".join(self._unused())
        return f"stubs that no step used: {names}; check the ids of the steps" if names else ""

    def _unused(self) -> Iterator[str]:
        free = [step_id for step_id in self._seen if step_id not in self._stubs]
        for name, stub in self._stubs.items():
            used, given = self._used[name], len(stub) if isinstance(stub, list) else 1
            like = [] if used else get_close_matches(name, free, 1, _ALIKE)
            if like:
                yield f"{name} (step {like[0]!r} was called without a stub: is that one meant?)"
            elif used < given:
                yield f"{name} ({used} of {given})" if isinstance(stub, list) else name


def _checked(stubs: object) -> Mapping[Any, Any]:
    if not isinstance(stubs, Mapping):
        raise TypeError(f"stubs must be a mapping from step ids to stubs, not {shown(stubs)}")
    return stubs


def _standing_in(step_id: str, stub: Any, handler: Handler) -> Handler:
    if isinstance(stub, BaseException) or (isinstance(stub, type) and issubclass(stub, BaseException)):

        def fail() -> Any:
            # One object is raised at each try: its traceback must not grow by the lines of all tries before.
            raise stub.with_traceback(None) if isinstance(stub, BaseException) else stub

        # What is shown of the error is the stub, as a line of the test's: without one all lines of durable's are shown.
        fail.__code__ = fail.__code__.replace(co_filename=f"<the stub of step {step_id!r}>", co_firstlineno=1)
        return attrs.evolve(handler, function=fail, args=(), kwargs={}, is_async=False)
    if callable(stub):
        return attrs.evolve(handler, function=stub, is_async=checked_handler(step_id, stub))
    return attrs.evolve(handler, function=lambda: stub, args=(), kwargs={}, is_async=False)
