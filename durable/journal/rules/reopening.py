"""Open a failed or cancelled run again, together with the children that it waited for.

Separate because it is the only decision about runs that are in the store alone: these are read first, one after the
other, and then everything is decided at once.
Leaves to `ledger` and `state` the changes that a `RunRetried` makes, to `decisions` the children that the function asks
for anew.

A run that waited for a child gets no further than the child does. So opening the run again opens the child, too: it
goes on where it was, under its own id, with its finished steps and the idempotency keys of the others. If the child is
still running, the run waits for it again. If it has completed meanwhile, perhaps because it was opened again by itself,
it answers the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from durable.journal.records import Err, ForChild, Record, RunRetried
from durable.journal.rules.beginning import begins
from durable.journal.rules.decisions import Decisions
from durable.journal.rules.endings import child_outcome
from durable.journal.rules.ledger import Ledger


def awaited_children(ledger: Ledger) -> dict[str, str]:
    """Return the children that an ended run waited for, by step key.

    Children whose end was an error to the run are among them. The children of steps that its code has cancelled are
    left out: if the code asks for one again, that is opened then.
    """
    children: dict[str, str] = {}
    for key, facts in ledger.steps.items():
        was_waiting = facts.outcome is None and facts.is_waiting
        if isinstance(facts.wait, ForChild) and (was_waiting or isinstance(facts.outcome, Err)):
            children[key] = facts.wait.child
    return children


def reopen(decisions: Decisions, run: str, ended: Mapping[str, Ledger], now: datetime) -> Iterator[Record]:
    """Open a failed or cancelled run again, with the children that it waited for (R32).

    Their own children follow in the same way. `ended` are those of these runs that have ended. The state must hold
    their ledgers.

    Raises:
        ValueError: another run holds the singleton key of one of them (F7).
    """
    left = [run]
    for one in left:
        ledger = ended[one]
        decisions.state.singletons.check_free(one, ledger.function, ledger.singleton)
        children = {
            key: child
            for key, child in awaited_children(ledger).items()
            if child in ended or decisions.state.is_unfinished(child)
        }
        yield RunRetried(one, 0, now, ledger.error, now, reopened=True, waits=tuple(children))
        yield from begins(decisions.state, one, ledger.function, ledger.admitted_at or ledger.opened_at)
        for key, child in children.items():
            if child not in ended:
                continue
            if ended[child].status == "completed":
                yield from decisions.step_answered((one, key), child_outcome(ended[child], key), now)
            else:
                left.append(child)
