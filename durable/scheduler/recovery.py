"""Find the runs that crash the process again and again, and fail them.

Separate because a run that kills its process would otherwise do so for ever, and take every other run along.
Leaves to `scheduler` all other runs.

A recovered run may have killed the process if its handler was due when the process died, and no record of the run came
since. Before such a run calls a handler again, a `RunResumed` is made durable that counts one more death. From the
third death on the run is a suspect. Suspects call handlers one at a time, each until its first record or for 10 s. From
then on only a death of a suspect that ran alone is counted: if two were running, it is unknown which one killed the
process. At `max_crashes` deaths a run fails. Runs that sleep or wait, and clean closes, never count. Source: rule R26.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from durable.errors import DurableError, StoreError
from durable.journal import (
    Ledger,
    Record,
    RunClosed,
    RunOpened,
    RunResumed,
    RunRetried,
    RunStarted,
    StepClosed,
    StepOpened,
    StepRetried,
    recorded,
)
from durable.scheduler.delivery import QUIET
from durable.scheduler.parts import Parts
from durable.scheduler.session import Session

SUSPECT_AFTER = 3
ALONE_SECONDS = 10.0
GATHERED_IN = 2 * QUIET  # rounds in which the suspects of one recovery come together

Begin = Callable[[], None]


class Recovery:
    """A recovery admits the handlers of recovered runs, suspects one at a time.

    `counts` holds the number of records that each of these runs had.
    """

    def __init__(self, parts: Parts, max_crashes: int) -> None:
        self._parts = parts
        self._max_crashes = max_crashes
        self._was_clean = True
        self.counts: dict[str, int] = {}
        self._suspects: list[tuple[Session, list[Begin], int]] = []
        self._running: dict[str, int] = {}
        self._watched: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether no suspect is waiting to call a handler."""
        return not self._suspects

    def recover(self, ledgers: Iterable[Ledger], *, was_clean: bool) -> None:
        """Take in the runs that were unfinished when the last process ended.

        `was_clean` says whether that process closed its engine in order.
        """
        self._was_clean = was_clean
        self.counts = {ledger.run: ledger.count for ledger in ledgers}
        if self.counts:
            self._parts.journal.follow(self)
            self._parts.journal.watchers.append(self._moved_on)

    def watch(self, session: Session) -> None:
        """Let the handlers of a recovered run's first execution ask for admission."""
        if session.ledger.run in self.counts:
            waiting: list[Begin] = []
            session.gate = partial(self._admit, session, waiting)

    def _admit(self, session: Session, waiting: list[Begin], begin: Begin) -> None:
        waiting.append(begin)
        if len(waiting) > 1:
            return
        ledger = session.ledger
        count = self.counts.pop(ledger.run, None)
        if count != ledger.count:  # something was recorded since: the handler was not due when the process died
            self._open(session, waiting)
            return
        deaths = ledger.deaths
        if not self._was_clean and (ledger.deaths < SUSPECT_AFTER or ledger.alone):
            deaths += 1
        if deaths >= self._max_crashes and not self._was_clean:
            self._fail(ledger, deaths)
        elif deaths >= SUSPECT_AFTER:
            self._suspects.append((session, waiting, deaths))
            self._parts.rounds.call_at(self._parts.rounds.now + GATHERED_IN, self._next_suspect)
        else:
            self._resume(session, waiting, deaths, alone=False)

    def _resume(self, session: Session, waiting: list[Begin], deaths: int, *, alone: bool) -> None:
        ledger = session.ledger
        number = self._parts.journal.post(RunResumed(ledger.run, deaths, alone, self._parts.clock.now()))
        self._parts.journal.tell(number, partial(self._resumed, session, waiting))

    def _resumed(self, session: Session, waiting: list[Begin], error: StoreError | None) -> None:
        if error is None:
            self._open(session, waiting)

    def _open(self, session: Session, waiting: list[Begin]) -> None:
        session.gate = None
        for begin in waiting:
            begin()

    def _next_suspect(self) -> None:
        while self._suspects and self._watched is None:
            # The one resumed last before the death goes first: a slow innocent would hide it behind its 10 s for ever.
            suspect = max(
                self._suspects, key=lambda suspect: suspect[0].ledger.resumed_at or suspect[0].ledger.opened_at
            )
            self._suspects.remove(suspect)
            session, waiting, deaths = suspect
            if session.refused:
                continue
            self._watched = run = session.ledger.run
            alone = not self._running
            self._running[run] = deaths
            self._resume(session, waiting, deaths, alone=alone)
            self._parts.loop.call_later(ALONE_SECONDS, self._time_up, run)

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return the functions to call for records.

        A record of a suspect shows that what it did has not killed the process.
        """
        kinds = (RunOpened, RunRetried, RunStarted, StepOpened, StepRetried, StepClosed)
        return {**dict.fromkeys(kinds, self._recorded), RunClosed: self._run_closed}

    def _run_closed(self, record: RunClosed) -> None:
        self.counts.pop(record.run, None)
        self._recorded(record)

    def _recorded(self, record: Any) -> None:
        self._moved_on(record.run)

    def _moved_on(self, run: str) -> None:
        if self._running.pop(run, None) is not None and self._watched == run:
            self._watched = None
            self._next_suspect()

    def _time_up(self, run: str) -> None:
        if self._watched != run or self._parts.life.is_ending:
            return
        if self._suspects:  # from here on it does not run alone
            now = self._parts.clock.now()
            self._parts.journal.post(RunResumed(run, self._running[run], alone=False, at=now))
        self._watched = None
        self._next_suspect()

    def _fail(self, ledger: Ledger, deaths: int) -> None:
        error = DurableError(
            f"run {ledger.run!r} of function {ledger.function!r} was calling a handler at {deaths} unclean deaths of "
            "its process in a row, without a record in between: it is held to be the cause and fails; mend the handler "
            "and call engine.retry, or raise max_crashes"
        )
        now = self._parts.clock.now()
        self._parts.journal.post_all(self._parts.decisions.run_ended(ledger.run, "failed", now, error=recorded(error)))
