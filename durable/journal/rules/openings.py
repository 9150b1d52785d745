"""Decide whether a run opens, by what its function declares.

Separate because most functions declare nothing that is asked for here, and pay nothing for it.
Leaves to `decisions` the causes of an opening.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from durable.events import Event, Json, Place, lacking, path_of, seen_by_filters
from durable.journal.codec.values import encode
from durable.journal.records import KeyClaimed, Record, RunOpened
from durable.journal.rules.declaration import Declaration
from durable.journal.rules.state import State


class Openings:
    """Openings apply the options of functions that bound or watch the opening of runs."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._complain = state.bus.complain

    def claimed_by(self, function: str, event: Event, now: datetime) -> tuple[Json | None, str | None]:
        """Return an event's idempotency key for a function, and the run that has claimed it.

        A claim counts for 24 h.
        """
        declaration = self._state.functions.get(function)
        if declaration is None or declaration.idempotency is None:
            return None, None
        try:
            value = declaration.idempotency.evaluate({"event": seen_by_filters(event)})
            if value is None:
                return None, None
            # JSON has one type of numbers, so 1.0 and 1 are the same key, as they are for `==`.
            key = encode(int(value) if isinstance(value, float) and value.is_integer() else value)
        except Exception as error:  # it fails, or comes to what cannot be kept, as type(event.data) does
            what = f"idempotency of function {function!r}"
            self._complain(what, f"{what} has no value, so that every event opens a run of it: {error}")
            return None, None
        claim = self._state.seen.get((function, key))
        return key, claim[0] if claim is not None and claim[1] > now else None

    def opens(
        self, declaration: Declaration, run: str, event: Event, now: datetime, parent: Place | None, *, is_named: bool
    ) -> Iterable[Record]:
        """Open a run of a function that declares a key or cancels: see `Decisions.run_opens`."""
        key = None
        if declaration.idempotency is not None and not is_named:
            key, claimant = self.claimed_by(declaration.id, event, now)
            if claimant is not None:
                return ()
        opened = RunOpened(run, declaration.id, event, now, parent)
        if declaration.cancels:
            self._warn_of_cancels(declaration, run, event)
        return (opened,) if key is None else (KeyClaimed(declaration.id, key, run, now), opened)

    def _warn_of_cancels(self, declaration: Declaration, run: str, event: Event) -> None:
        # R20: only now is the run's event known, and with it that the Cancel can never match.
        for rule in declaration.cancels:
            if rule.match is None:
                continue
            what = f"Cancel(match={rule.match!r}) of function {declaration.id!r}"
            lack = lacking(seen_by_filters(event), path_of(rule.match))
            if lack is not None:
                self._complain(
                    what, f"{what} can never match run {run!r}: of the run's own event {event.name!r}, {lack}"
                )
