"""Keep which unfinished run holds which singleton key (F7).

Separate because it is folded from the runs alone: a run takes its key as it opens, and gives it back as it ends.
Leaves to `openings` what becomes of an event whose key another run holds.
"""

from __future__ import annotations

from durable.events import Json


class Singletons:
    """Singletons are the unfinished runs that hold a key, by function and key.

    A run that ends frees its key, unless another run has it: after the option was taken away and given back, both may
    have been open.
    """

    def __init__(self) -> None:
        self.runs: dict[tuple[str, Json], str] = {}

    def holder(self, function: str, key: Json) -> str | None:
        """Return the run that holds a key, or None."""
        return self.runs.get((function, key))

    def check_free(self, run: str, function: str, key: Json | None) -> None:
        """Check that a run may take a key; None is no key.

        Raises:
            ValueError: another run holds it.
        """
        holder = None if key is None else self.holder(function, key)
        if holder is not None:
            raise ValueError(
                f"run {run!r} cannot be opened: run {holder!r} holds its singleton key, of which function {function!r} "
                "has one run at a time; wait until it ends, or cancel it"
            )

    def take(self, function: str, key: Json, run: str) -> None:
        """Let a run that was opened hold a key."""
        self.runs[function, key] = run

    def free(self, function: str, key: Json, run: str) -> None:
        """Take the key back from a run that has ended."""
        if self.runs.get((function, key)) == run:
            del self.runs[function, key]
