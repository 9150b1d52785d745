"""Reopening: which runs go on with one that failed or was cancelled, and what is recorded of it.

Separate because it is the one cause that needs runs which are in the store alone: these are read first, one after the
other, and then all of it is decided at once.
Leaves to `ledger` and `state` what a `RunRetried` changes, to `causes` the children that the function asks for anew.

A run that waited for a child cannot get further than the child does. So whoever opens the run again means the child,
too: it goes on where it was, under its own id, with its finished steps and the idempotency keys of the others. A child
that runs is waited for again; one that has completed since, maybe since somebody opened it again by itself, answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from durable.journal.records import Err, ForChild, Record, RunRetried
from durable.journal.rules.decisions import Decisions, child_outcome
from durable.journal.rules.ledger import Ledger


def awaited_children(ledger: Ledger) -> dict[str, str]:
    """Return the children that a run which has ended waited for, or whose end was an error to it, by step key.

    Not those of steps that its code cancelled: if it asks for them again, they open again then.
    """
    children: dict[str, str] = {}
    for key, facts in ledger.steps.items():
        was_waiting = facts.outcome is None and facts.is_waiting
        if isinstance(facts.wait, ForChild) and (was_waiting or isinstance(facts.outcome, Err)):
            children[key] = facts.wait.child
    return children


def reopen(decisions: Decisions, run: str, ended: Mapping[str, Ledger], now: datetime) -> Iterator[Record]:
    """A run that failed or was cancelled goes on, with the children that it waited for, and theirs (R32).

    `ended` are these runs as far as they have ended. The state must hold their ledgers.
    """
    left = [run]
    for one in left:
        ledger = ended[one]
        children = {
            key: child
            for key, child in awaited_children(ledger).items()
            if child in ended or decisions.state.is_unfinished(child)
        }
        yield RunRetried(one, 0, now, ledger.error, now, reopened=True, waits=tuple(children))
        for key, child in children.items():
            if child not in ended:
                continue
            if ended[child].status == "completed":
                yield from decisions.step_answered((one, key), child_outcome(ended[child], key), now)
            else:
                left.append(child)
