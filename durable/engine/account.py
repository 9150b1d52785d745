"""Say in words what a store holds of a script's run.

Separate because these sentences depend on nothing but what is recorded, and on how the script names its run.
Leaves to `script` the moment at which each is said.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from durable.journal import Ledger, Ok, RunClosed, RunOpened

_NAMED = 3  # of the runs that go on beside this one


@attrs.frozen
class Account:
    """An account puts the state of a script's run into sentences.

    `place` names the store, and is None if nothing outlives the process. `is_named` says whether the script gives its
    run an id.
    """

    place: str | None
    is_named: bool

    def known(self, ledger: Ledger) -> str:
        """Return what becomes of a run that the store holds already."""
        name = f"run {ledger.run!r}"
        match ledger.status:
            case None if self.is_named:
                return f"{name} goes on: {self._finished(ledger)}"
            case None:
                return f"{name} goes on, since its function and data are the same: {self._finished(ledger)}"
            case "failed":
                return f"{name} had failed ({ledger.error}); it is opened again, {self._finished(ledger)}"
            case "cancelled":
                return f"{name} was cancelled: {self._anew}"
            case "completed":
                return f"{name} has ended already, its result is from {self.place or 'its store'}"

    def beside(self, runs: Sequence[str]) -> str:
        """Return which other runs go on in the same engine."""
        names = ", ".join(map(repr, runs[:_NAMED]))
        more = f" and {len(runs) - _NAMED:,} more" if len(runs) > _NAMED else ""
        one = "another unfinished run goes" if len(runs) == 1 else "other unfinished runs go"
        return f"{one} on beside it, as long as it takes: {names}{more}"

    def waiting(self, handlers: Sequence[str], seconds: float, key: str) -> str:
        """Return which handlers the script waits for before it ends, and how to end it at once."""
        names = ", ".join(handlers[:_NAMED])
        more = f" and {len(handlers) - _NAMED:,} more" if len(handlers) > _NAMED else ""
        return f"waits up to {seconds:g} s for {names}{more}: {key} ends it at once"

    def left(
        self, why: str, run: str | None, ends: tuple[RunOpened | None, RunClosed | None] | None, *, is_known: bool
    ) -> str:
        """Return how a script leaves its run, and how to go on.

        `why` says why the script ends. `ends` are the records of the run's opening and end, or None if there was no
        time to read them; then `is_known` says whether the run is recorded at all.
        """
        if self.place is None:
            return f"{why}; nothing is kept: give store= and id= to be able to go on"
        if run is None:
            return f"{why}; nothing is recorded yet in {self.place}"
        return f"{why}; run {run!r} {self._left_as(run, ends, is_known=is_known)}"

    def _left_as(self, run: str, ends: tuple[RunOpened | None, RunClosed | None] | None, *, is_known: bool) -> str:
        again = "run the same again"
        by_name = again if self.is_named else f"run it again with id={run!r}"
        if ends is None:
            return f"is kept in {self.place}: {again}" if is_known else f"has not begun here: {again}"
        opened, closed = ends
        if opened is None:
            return f"is not recorded yet in {self.place}: {again} to begin it"
        if closed is None:
            return f"is parked in {self.place}: {again} to go on"
        match closed.status:
            case "completed":
                return f"has ended, its result is in {self.place}: {by_name} to have it"
            case "failed":
                return f"has failed ({closed.error}): {by_name} to try its failed steps again"
            case "cancelled":
                return f"was cancelled ({closed.reason}): {self._anew}"

    def _finished(self, ledger: Ledger) -> str:
        done = sum(isinstance(facts.outcome, Ok) for facts in ledger.steps.values())
        steps = "1 finished step answers" if done == 1 else f"{done} finished steps answer"
        return f"{steps} from {self.place or 'its store'}"

    @property
    def _anew(self) -> str:
        another = "give another id=" if self.is_named else "run it again"
        return f"{another} to begin anew, or engine.retry opens it again"
