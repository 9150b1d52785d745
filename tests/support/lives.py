"""Execute one run undisturbed, with crashes, and cut off after each of its writes.

A crash comes after each advance of the clock.

Separate because most rules promise the same for all three, and a test should only say this promise.
Leaves to the tests the run itself. Its handlers call `note`, so that a finished handler which runs again is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from durable import DictStore, Function, Run, RunCancelled, RunFailed, RunInfo, current_step
from durable.journal.codec.write import read
from durable.testing import Lab
from durable.testing.lab import START

RAN: list[str] = []


async def note(value: Any = None) -> Any:
    """A handler that returns its argument; the key of its step is noted."""
    RAN.append(current_step().key)
    return value


@attrs.frozen
class Life:
    """How one life of a run went: `ran` are the keys of the handlers that ran in it."""

    name: str
    ending: Any
    info: RunInfo
    ran: list[str]


class Snapshots(dict[str, Any]):
    """A mapping for a DictStore that remembers what it was after each write."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[dict[str, Any]] = []

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.taken.append(dict(self))


def records(mapping: Mapping[str, Any]) -> list[Any]:
    """Return what a DictStore's mapping holds, in order."""
    batches = sorted((key for key in mapping if key.startswith("batch/")), key=lambda key: int(key[6:]))
    return [read(fact[2], fact[3]) for key in batches for fact in mapping[key]]


def finished(mapping: Mapping[str, Any]) -> set[str]:
    """Return the keys of the steps that have ended."""
    return {record.key for record in records(mapping) if type(record).__name__ == "StepClosed"}


async def rounds(count: int = 300) -> None:
    """Let everything happen that needs no time and no input."""
    for _ in range(count):
        await asyncio.sleep(0)


async def ending(lab: Lab, run: Run[Any]) -> Any:
    """Return what an ended run returned, or the name and the message of the error that it failed with."""
    try:
        return await lab.engine.result(run.id)
    except RunFailed as failure:
        return (failure.error.name, failure.error.message)
    except RunCancelled as cancelled:
        return ("RunCancelled", cancelled.reason)


async def live(lab: Lab, run: Run[Any], name: str, *, crashing: Mapping[str, Any] | None = None) -> Life:
    """Bring a run to its end, skipping time; with a crash after each advance, where the store's mapping is given."""
    RAN.clear()
    while (await lab.engine.info(run.id)).ended_at is None:
        due = lab.clock.next_due()
        assert due is not None, await lab.engine.info(run.id)
        await lab.advance(due - lab.clock.now())
        if crashing is not None:
            before = finished(crashing)
            RAN.clear()
            await lab.crash()
            assert not before.intersection(RAN), name
    return Life(name, await ending(lab, run), await lab.engine.info(run.id), list(RAN))


async def _lives(function: Function[Any], data: dict[str, Any], functions: Sequence[Function[Any]]) -> list[Life]:
    known, snapshots = [function, *functions], Snapshots()
    async with Lab(known, store=DictStore(snapshots)) as lab:
        lives = [await live(lab, await lab.start(function, data, id="r"), "undisturbed")]
    crashing: dict[str, Any] = {}
    async with Lab(known, store=DictStore(crashing)) as lab:
        run = await lab.start(function, data, id="r")
        lives.append(await live(lab, run, "crashed after each advance", crashing=crashing))
    for number, mapping in enumerate(snapshots.taken):
        so_far = records(mapping)
        if not so_far:
            continue
        before, at = finished(mapping), _time(so_far)
        RAN.clear()
        async with Lab(known, store=DictStore(dict(mapping)), start=at) as lab:
            ran = list(RAN)
            life = await live(lab, await lab.engine.run("r"), f"cut after write {number}")
            lives.append(attrs.evolve(life, ran=ran + life.ran))
        assert not before.intersection(lives[-1].ran), lives[-1].name
    return lives


def _time(so_far: list[Any]) -> datetime:
    return max((record.at for record in so_far), default=START)


def same_lives(
    function: Function[Any], data: dict[str, Any] | None = None, functions: Sequence[Function[Any]] = ()
) -> Life:
    """Live a run in all ways, check that all end alike with the same steps, and return the undisturbed life."""
    lives = asyncio.run(_lives(function, data or {}, functions))
    first = lives[0]
    for life in lives[1:]:
        assert life.ending == first.ending, life.name
        assert {key: step.kind for key, step in life.info.steps.items()} == {
            key: step.kind for key, step in first.info.steps.items()
        }, life.name
    return first
