"""Name in the log the runs whose function is not registered, each once (R25).

Separate because such a run is no execution: nothing is known of it but that it stays parked.
Leaves to `scheduler` the runs that can begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from durable.functions import Function
from durable.journal import Ledger, ParkedRun
from durable.stores import RationedLog


class Missing:
    """Missing functions are told of once for each run that needs one; `told` are these runs."""

    def __init__(self, functions: Mapping[str, Function[Any]], log: RationedLog) -> None:
        self._functions = functions
        self._log = log
        self.told: set[str] = set()

    def functions(self, known: Callable[[str], Ledger | ParkedRun | None]) -> list[str]:
        """Return the functions that unfinished runs still lack, in order; `known` finds a run."""
        runs = [run for one in self.told if (run := known(one)) is not None]
        return sorted({run.function for run in runs} - self._functions.keys())

    def tell_all(self, runs: Iterable[Ledger | ParkedRun]) -> None:
        """Name those of the runs whose function is not registered."""
        for run in runs:
            if run.function not in self._functions:
                self.tell(run)

    def tell(self, ledger: Ledger | ParkedRun) -> None:
        """Name a run whose function is not registered, unless it was named before."""
        if ledger.run not in self.told:
            self.told.add(ledger.run)
            self._log.warning(
                "run %r stays parked: its function %r is not registered; pass it in Engine(functions=[...])",
                ledger.run,
                ledger.function,
            )
