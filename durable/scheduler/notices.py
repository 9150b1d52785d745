"""Log what becomes of runs, once it is recorded: failed tries, ends, events that led to nothing.

Separate because R33 says what each such line tells, wherever it is decided.
Leaves to `attempts` and `outcome` the judging, to the log the number of lines.

A line is logged when its record is durable: what a crash takes back was never said (R31). Texts from users stand on one
line with control characters escaped, so that none can pass for a line of its own; only a stack has several lines.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import chain, islice
from typing import Any

import attrs

from durable.errors import HOME, RecordedError, StoreError, whole_stack
from durable.events import Event, Json, Listener, missed
from durable.functions import Registry, policy_of
from durable.journal import Cancelled, EventHeld, EventSkipped, Journal, Ledger, Record, RunClosed, State, Window
from durable.stores import RationedLog, Store
from durable.timers import Clock, after, on_a_line, written
from durable.views import span

_MESSAGE = 1_000  # characters
_NAMED = 3
_LINE = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)


class Notices:
    """Notices are the lines of one engine about its runs."""

    def __init__(self, log: RationedLog, clock: Clock, journal: Journal, state: State, registry: Registry) -> None:
        self._log = log
        self._clock = clock
        self._journal = journal
        self._state = state
        self._functions = registry.functions
        self._drops: dict[tuple[str, Json], _Drops] = {}

    # The engine.

    def opened(self, store: Store) -> None:
        """Log that the engine has opened its store, and what it has found there."""
        if not self._log.heeds(logging.INFO):
            return
        ended = sum(
            step.outcome is not None and not isinstance(step.outcome, Cancelled)
            for ledger in self._state.ledgers.values()
            for step in ledger.steps.values()
        )
        self._log.info(
            "the engine has opened %s: %s, %s; %s",
            getattr(store, "path", None) or f"a {type(store).__name__}",
            _many(self._state.count, "unfinished run goes on", "unfinished runs go on"),
            _many(ended, "finished step answers from the record", "finished steps answer from the record"),
            _many(len(self._functions), "function", "functions"),
        )  # fmt: skip

    def closing(self) -> None:
        """Log that the engine closes, and which runs it parks."""
        if self._log.heeds(logging.INFO):
            names = [on_a_line(run.run) for run in islice(self._state.unfinished(), _NAMED + 1)]
            self._log.info(
                "the engine closes: %s%s",
                _many(self._state.count, "run is parked and goes on", "runs are parked and go on"),
                f" when the store is opened next: {_named(names)}" if names else "",
            )

    # Runs.

    def step_failed(
        self, ledger: Ledger, key: str, tried: tuple[int, int] | None, error: RecordedError, due: datetime | None = None
    ) -> None:
        """Warn of a failed try of a step, or of the failed step, whose record was just posted.

        `tried` is the number of the try, from 0, and how many there may be; None: the step is no handler that is tried.
        `due` is the time of the next try; None: there is none.
        """
        about = "run %r of function %r: step %r has failed"
        place, extra = (ledger.run, ledger.function, key), _extra(ledger, key, tried[0] if tried else 0, error)
        if tried is None:
            self._when_durable(f"{about}: %s", (*place, _Brief(error)), extra)
            return
        args = (*place, tried[0] + 1, tried[1], _Brief(error), self._next(due))
        self._when_durable(f"{about} in try %d of %d: %s; %s", args, extra)

    def attempt_failed(self, ledger: Ledger, number: int, error: RecordedError, due: datetime) -> None:
        """Warn of a failed attempt of a function whose record was just posted.

        `number` is that of the attempt, from 0; another one is `due`.
        """
        self._when_durable(
            "run %r of function %r has failed in attempt %d of %s: %s; %s",
            (ledger.run, ledger.function, number + 1, self._most(ledger), _Brief(error), self._next(due)),
            _extra(ledger, None, number, error),
        )

    def _when_durable(self, line: str, args: tuple[object, ...], extra: Mapping[str, object]) -> None:
        def tell(lost: StoreError | None) -> None:
            if lost is None:
                self._log.warning(line, *args, extra=extra)

        self._journal.tell(self._journal.posted, tell)

    def run_ended(self, record: RunClosed) -> None:
        """Log the end of a run, which is durable: a failure as an error, with its stack."""
        ledger = self._state.ended.get(record.run)
        if ledger is None:  # opened again and ended once more, before this was told
            return
        place, extra = (record.run, ledger.function), _extra(ledger, None, ledger.attempt, record.error)
        if record.status == "failed" and record.error is not None:
            self._log.error(
                "run %r of function %r has failed, in attempt %d of %s: %s%s",
                *place, ledger.attempt + 1, self._most(ledger), _Brief(record.error), _Stack(record.error), extra=extra,
            )  # fmt: skip
        elif record.status == "cancelled":
            reason = on_a_line(record.reason or "no reason given")
            self._log.info("run %r of function %r was cancelled: %s", *place, reason, extra=extra)
        else:
            self._log.info("run %r of function %r has completed", *place, extra=extra)

    def _most(self, ledger: Ledger) -> object:
        known = self._functions.get(ledger.function)
        return "an unknown number" if known is None else policy_of(known).retries + 1

    def _next(self, due: datetime | None) -> str:
        if due is None:
            return "it is not tried again"
        now = self._clock.now()
        return f"the next is at {due:%Y-%m-%d %H:%M:%S} UTC, in {span(max(due, now) - now)}"

    # Events.

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return the functions to call for records: they tell of events that have opened no run (F4, F7)."""
        return {EventSkipped: self._skipped, EventHeld: self._held}

    def _skipped(self, record: EventSkipped) -> None:
        is_group = record.by in self._state.held.groups
        why = "one with a later ts is held already" if is_group else f"run {record.by!r} holds its singleton key"
        self._led_to_nothing(record.id, record.function, why)

    def _held(self, record: EventHeld) -> None:
        if record.replaces is not None:
            later = f"{record.event.id!r} takes its place in the debounce"
            self._led_to_nothing(record.replaces, record.function, later)

    def _led_to_nothing(self, id: str, function: str, why: str) -> None:
        def tell(lost: StoreError | None) -> None:
            if lost is None:
                self._log.info("the event with the id %r opens no run of function %r: %s", id, function, why)

        if self._log.heeds(logging.INFO):
            self._journal.tell(self._journal.posted, tell)

    def still_held(self) -> None:
        """Name the functions that are not registered, but for which events are held back (F5)."""
        counts = Counter[str]()
        for group in self._state.held.groups.values():
            if group.function not in self._functions:
                counts[group.function] += len(group.events)
        for function, count in counts.items():
            self._log.warning(
                "%s held for function %r, which is not registered; pass it in Engine(functions=[...])",
                _many(count, "event stays", "events stay"),
                function,
            )

    def unheard(self, what: Event | str) -> None:
        """Log an event that led to nothing, with the near misses; or the name of a signal that no run waits for."""
        if not self._log.heeds(logging.DEBUG):
            return
        if not isinstance(what, Event):
            self._log.debug("signal %r led to nothing: no run waits for it", what)
            return
        bus = self._state.bus
        at = self._clock.now()
        waits = (_near(listener, what, at) for listener in bus.near_misses(what.name))
        near = chain(waits, map(_near_trigger, bus.triggered_by(what.name)))
        told = _named(near, "; ") or "nothing listens to this name"
        self._log.debug("event %r with the id %r led to nothing: %s", what.name, what.id, on_a_line(told))

    def dropped(self, function: str, key: Json, limit: Window) -> None:
        """Count an event that opened no run because of a rate limit; warn once in each of its periods (F3)."""
        now = self._clock.now()
        drops = self._drops.get((function, key))
        if drops is not None and now < drops.until:
            drops.count += 1
            return
        before = 0 if drops is None else drops.count
        for place in [place for place, one in islice(self._drops.items(), 2) if one.until <= now]:
            del self._drops[place]
        self._drops[function, key] = _Drops(after(now, limit.period))
        self._log.warning(
            "an event opened no run of function %r: its rate_limit is %d in %s, key %s; more of these are only counted "
            "for that long%s",
            function,
            limit.limit,
            written(limit.period),
            on_a_line(key),
            f", as were {before:,} before" if before else "",
        )


@attrs.define
class _Drops:
    """The events that opened no run since the last warning of these, which holds until then."""

    until: datetime
    count: int = 0


def _extra(ledger: Ledger, step: str | None, attempt: int, error: RecordedError | None) -> dict[str, object]:
    # As in the lines of a run's own: rich would read [names] in markup as tags.
    return {
        "run_id": ledger.run, "function_id": ledger.function, "step": step, "attempt": attempt,
        "error": None if error is None else error.name, "markup": False,
    }  # fmt: skip


@attrs.frozen
class _Brief:
    """An error on one line: its class and message, and the innermost line of the user's code."""

    error: RecordedError

    def __str__(self) -> str:
        text = str(self.error)
        shown = on_a_line(text if len(text) <= _MESSAGE else f"{text[:_MESSAGE]}...")
        found = [one for one in _LINE.findall(self.error.stack) if not one[0].startswith(HOME)]
        if not found:
            return shown
        file, line, where = found[-1]
        return f"{shown} (at {on_a_line(file)}:{line} in {on_a_line(where)})"


@attrs.frozen
class _Stack:
    """The recorded stack of an error, on lines of its own."""

    error: RecordedError

    def __str__(self) -> str:
        stack = whole_stack(self.error)
        return stack and "\n" + "\n".join(map(on_a_line, stack.split("\n")))


def _many(number: int, one: str, more: str) -> str:
    return f"{number or 'no'} {more if number > 1 else one}"


def _named(names: Iterable[str], between: str = ", ") -> str:
    first = list(islice(names, _NAMED + 1))
    return between.join(first[:_NAMED]) + (f"{between}and more" if len(first) > _NAMED else "")


def _near(listener: Listener, event: Event, at: datetime) -> str:
    run, key = listener.place
    what = f"a Cancel of run {run!r}" if listener.cancels else f"step {key!r} of run {run!r}"
    return f"{what} waits for this name, but {missed(listener, event, at)}"


def _near_trigger(function: str) -> str:
    return f"function {function!r} is triggered by this name, but its filter, or its idempotency, says no"
