"""Say why there is no answer about a run or a step: there is none, or it has not ended in time.

Separate because both come where a caller is lost, and the answer should show the way on.
Leaves to `engine` the asking.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from durable.journal import Ledger, is_fresh, opened_run
from durable.timers import shown
from durable.views import RunInfo, waiter

_MOST = 3
_KEYS = 10


def no_such_run(run_id: str, functions: Iterable[str], *, is_read: bool = False) -> KeyError:
    """Return the error for an id that no run has.

    An event's id is easily taken for that of its run; `functions` are those that an event may have started. With
    `is_read` the asker has no engine, and what it has sent may not be taken yet.
    """
    text = f"there is no run {shown(run_id)} in this store"
    if is_read:
        text += "; what was sent opens it once an engine has taken that"
    if is_fresh(run_id):
        runs = " or ".join([repr(opened_run(run_id, function)) for function in list(functions)[:_MOST]])
        text += f"; if it is the id of an event, the run that the event opened is {runs or 'that id, / and a function'}"
    return KeyError(text)


def late(info: RunInfo, seconds: float | None, key: str | None = None) -> TimeoutError:
    """Return the error for a run, or its step `key`, that has not ended in time; it says what the run does now."""
    doing = [f"{waiter(key)} waits for {what}{_after(info, key)}" for key, what in info.waiting_for.items()][:_MOST]
    if not doing and info.error is not None:
        doing = [f"it is called again after {info.error}"]
    goes_on = "; ".join(doing) or f"it is {info.status}"
    what = f"run {info.id!r}" if key is None else f"step {key!r} of run {info.id!r}"
    return TimeoutError(f"{what} has not ended within {seconds or 0:g} s; it goes on: {goes_on}")


def without_step(ledger: Ledger, key: str) -> LookupError:
    """Return the error for a step that a run which has ended never finished."""
    like = get_close_matches(key, ledger.steps, 1)
    has = f"did you mean {like[0]!r}?" if like else f"its steps are {', '.join(map(repr, islice(ledger.steps, _KEYS)))}"
    if key in ledger.steps:
        has = "the step was cancelled, or was still open"
    ended = {"completed": "has completed", "failed": "has failed", "cancelled": "was cancelled"}[
        ledger.status or "failed"
    ]
    return LookupError(
        f"run {ledger.run!r} {ended} and never finished step {shown(key)}: {has if ledger.steps else 'it had no steps'}"
    )


def _after(info: RunInfo, key: str) -> str:
    step = info.steps.get(key)
    return "" if step is None or step.error is None else f", after {step.error}"
