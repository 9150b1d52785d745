"""Say which steps run in an open engine, so that other processes see it.

Separate because it is the one thing about a run that no record holds: a step that runs has recorded nothing yet.
Leaves to `stores.file.live` the file, to `engine.beacon` the moments at which it is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from durable.functions import Progress
from durable.journal import Ledger, RunStatus
from durable.stores import Entry
from durable.views.info import RunInfo, run_info


@attrs.frozen
class LiveStep:
    """A live step is a step whose handler runs, or waits for a thread.

    Attributes:
        attempt: how many of its tries have failed.
        began_at: when its first try began, an aware datetime; None while it waits for a thread.
        progress: what the handler has told of itself, or None.
    """

    attempt: int = 0
    began_at: datetime | None = None
    progress: Progress | None = None


@attrs.frozen
class Live:
    """What an engine tells of the runs that are running: their steps that run, by run and key.

    It is what the engine knew at most a second ago. It says nothing if no process has the store open, and lacks what is
    there only for less than a second.
    """

    running: Mapping[str, Mapping[str, LiveStep]] = attrs.field(factory=dict)

    def status(self, ledger: Ledger) -> RunStatus:
        """Return the status of a run of which the store holds this ledger."""
        if ledger.status is not None:
            return ledger.status
        if ledger.run in self.running:
            return "running"
        return "waiting" if ledger.steps or ledger.attempt else "queued"

    def steps(self, ledger: Ledger) -> dict[str, LiveStep]:
        """Return the steps that run, by key, without those that this ledger knows to have ended."""
        if ledger.status is not None:
            return {}
        return {key: step for key, step in self.running.get(ledger.run, {}).items() if _still_runs(ledger, key, step)}

    def pictured(self, ledger: Ledger, record: tuple[Entry, ...] = (), output_type: object = object) -> RunInfo:
        """Return a picture of a run as it is now: see `run_info`."""
        steps = self.steps(ledger)
        began = {key: step.began_at for key, step in steps.items()}
        progress = {key: step.progress for key, step in steps.items() if step.progress is not None}
        return run_info(ledger, self.status(ledger), began, progress, output_type, record)


def live_text(live: Live) -> str:
    """Return what an engine tells as text, which `live_of` reads."""
    runs = [f"{json.dumps(run)}: {json.dumps(_mapping(steps))}" for run, steps in live.running.items()]
    return f'{{"running": {{{", ".join(runs)}}}}}'


def live_of(text: str | None) -> Live:
    """Return what an engine has told with a text; nothing for None, or for a text that cannot be read.

    Whatever a later release adds is left out.
    """
    try:
        told = {} if text is None else json.loads(text)["running"]
        return Live({run: {key: _step(one) for key, one in steps.items()} for run, steps in told.items()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Live()


def _mapping(steps: Mapping[str, LiveStep]) -> dict[str, Any]:
    return {
        key: {
            "attempt": step.attempt,
            "began_at": None if step.began_at is None else step.began_at.isoformat(),
            "progress": None if step.progress is None else attrs.asdict(step.progress),
        }
        for key, step in steps.items()
    }


def _step(told: Mapping[str, Any]) -> LiveStep:
    began, progress = told["began_at"], told["progress"]
    return LiveStep(
        told["attempt"],
        None if began is None else datetime.fromisoformat(began),
        None if progress is None else Progress(progress["done"], progress["total"], progress["note"]),
    )


def _still_runs(ledger: Ledger, key: str, step: LiveStep) -> bool:
    facts = ledger.steps.get(key)
    return facts is None or (facts.outcome is None and facts.attempt == step.attempt)
