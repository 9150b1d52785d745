"""Decide whether a run opens, by what its function declares.

Separate because most functions declare nothing that is asked for here, and pay nothing for it.
Leaves to `decisions` the causes of an opening.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime

from durable.events import Event, Json, Place, lacking, path_of, seen_by_filters
from durable.journal.codec.values import encode
from durable.journal.gathered import EventSkipped
from durable.journal.records import Counted, KeyClaimed, Record, RunOpened
from durable.journal.rules.declaration import Declaration
from durable.journal.rules.flow.gather import Occasion
from durable.journal.rules.flow.keys import key_of, priority_of
from durable.journal.rules.flow.options import Flow, Window
from durable.journal.rules.state import State
from durable.timers import after, written

_NO_FLOW = Flow()


def _ignore(function: str, key: Json, limit: Window) -> None:
    """Do nothing."""


def limit_reached(function: str, key: Json, limit: Window, until: datetime) -> str:
    """Return the message for a run that does not open because of a rate limit."""
    of_key = "" if limit.key is None else f" for the key {key}"
    return (
        f"function {function!r} opens at most {limit.limit:,} in {written(limit.period)}{of_key}, by its rate_limit: "
        f"the next run can open at {until:%Y-%m-%d %H:%M:%S} UTC"
    )


class Openings:
    """Openings apply the options of functions that bound or watch the opening of runs.

    `dropped` is called for each event that opens no run because of a rate limit, with the function, the key and the
    limit.
    `cancels` returns the records that cancel a run, for a reason.
    """

    def __init__(self, state: State, cancels: Callable[[str, datetime, str], Iterable[Record]]) -> None:
        self._state = state
        self._complain = state.bus.complain
        self._cancels = cancels
        self.dropped: Callable[[str, Json, Window], None] = _ignore

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

    def limited(self, function: str, event: Event, now: datetime) -> str | None:
        """Return why a function's rate limit opens no run, or None if it opens one (F3)."""
        if (limit := self._flow(function).rate_limit) is None:
            return None
        key = self._rate_key(function, limit, event)
        until = self._state.windows.has_room_at((function, "opening", key), limit, now)
        return None if until <= now else limit_reached(function, key, limit, until)

    def _flow(self, function: str) -> Flow:
        declaration = self._state.functions.get(function)
        return _NO_FLOW if declaration is None or declaration.flow is None else declaration.flow

    def _rate_key(self, function: str, limit: Window, event: Event) -> Json:
        return key_of(limit.key, event, self._complain, what=f"rate_limit of function {function!r}")

    def opens(
        self,
        declaration: Declaration,
        run: str,
        occasion: Occasion,
        now: datetime,
        parent: Place | None = None,
        *,
        is_named: bool = False,
    ) -> Iterator[Record]:
        """Open a run of a function that declares a key or cancels: see `Decisions.run_opens`."""
        event, key, rate = occasion.event, None, None
        function, limit = declaration.id, self._flow(declaration.id).rate_limit
        if limit is not None:
            rate = self._rate_key(function, limit, event)
            if self.limited(function, event, now) is not None:
                self.dropped(function, rate, limit)
                return
        if declaration.idempotency is not None and not is_named:
            key, claimant = self.claimed_by(function, event, now)
            if claimant is not None:
                return
        sole = self.sole_key(function, event)
        if sole is not None and not (yield from self._takes(declaration, sole, run, event, now)):
            return
        if declaration.cancels:
            self._warn_of_cancels(declaration, run, event)
        if limit is not None and rate is not None:
            yield Counted(function, "opening", rate, now, after(now, limit.period))
        if key is not None:
            yield KeyClaimed(function, key, run, now)
        opened = RunOpened(run, function, event, now, parent, singleton=sole, priority=self._priority(function, event))
        yield occasion.told(opened)

    def _priority(self, function: str, event: Event) -> float:
        """Return by how many seconds a run goes before others, where it waits (F6)."""
        if (priority := self._flow(function).priority) is None:
            return 0.0
        return priority_of(priority, event, self._complain, what=f"function {function!r}")

    def answers(self, function: str, event: Event, now: datetime, *, is_named: bool) -> str | None:
        """Return the run that answers a start in place of a new one, or None: see `engine.start`."""
        claimant = None if is_named else self.claimed_by(function, event, now)[1]
        return claimant or self.holder(function, event)

    def holder(self, function: str, event: Event) -> str | None:
        """Return the unfinished run that holds the singleton key of an event, if it is to be skipped (F7)."""
        option = self._flow(function).singleton
        key = None if option is None or option.mode == "cancel" else self.sole_key(function, event)
        return None if key is None else self._state.singletons.holder(function, key)

    def sole_key(self, function: str, event: Event) -> Json | None:
        """Return the singleton key that a run takes for an event; None: it is no singleton."""
        if (option := self._flow(function).singleton) is None:
            return None
        return key_of(option.key, event, self._complain, what=f"the singleton of function {function!r}")

    def _takes(
        self, declaration: Declaration, key: Json, run: str, event: Event, now: datetime
    ) -> Generator[Record, None, bool]:
        """Return whether a run may take a singleton key; cancel the one that holds it, or skip the event."""
        option, singletons = self._flow(declaration.id).singleton, self._state.singletons
        is_skipping = option is None or option.mode == "skip"
        while (holder := singletons.holder(declaration.id, key)) is not None:  # what is told of the end may open one
            if is_skipping:
                yield EventSkipped(event.id or run, event.name, declaration.id, holder, now)
                return False
            yield from self._cancels(holder, now, f"run {run!r} has taken its place: singleton of {declaration.id!r}")
        return True

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
