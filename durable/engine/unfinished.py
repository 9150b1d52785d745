"""Find the unfinished runs of a store that concern a script without an id.

Separate because the script asks only once, when its store is folded and nothing has begun.
Leaves to `script` what is done with them, to `account` the words.
"""

from __future__ import annotations

from durable.engine.arguments import has_same_data
from durable.events import Event
from durable.journal import State


def unfinished_like(state: State, function: str, event: Event) -> str | None:
    """Return the first unfinished run that was started with the same function and data, or None.

    A run that another run invoked, or that an event opened, is not meant: its id is derived.
    """
    for run in state.unfinished():
        if run.function == function and "/" not in run.run and has_same_data(run.event, event):
            return run.run
    return None


def beside(state: State, run: str | None) -> list[str]:
    """Return the unfinished runs that go on with a script's own run, but were not opened by it."""
    return [
        one.run
        for one in state.unfinished()
        if one.function in state.functions and one.run != run and not (run and one.run.startswith(f"{run}/"))
    ]
