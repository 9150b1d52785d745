"""Play a scene of events undisturbed, with crashes, with runs that are parked at once, and cut off after each write.

Separate because flow control promises the same for all of them, and a test should only say this promise.
Leaves to the tests the scene: what is sent, and when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import attrs

from durable import DictStore, Function
from durable.engine import set_up
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.lives import Snapshots

Move = Callable[[Lab], Awaitable[object]]
Told = tuple[str, float, list[Any], str, Any]
"""A run: its function, the second of its opening, the data of its events, its status, its output or reason."""


@attrs.frozen
class Moment:
    """A moment is something that is done, at a second of the scene; it writes once, or not at all."""

    second: float
    move: Move


def sent(second: float, name: str, **data: Any) -> Moment:
    """Return the moment at which an event is sent."""
    return Moment(second, lambda lab: lab.send(name, data))


class ParkingLab(Lab):
    """A lab whose runs are parked as soon as they wait."""

    def _new_engine(self) -> Any:
        engine = super()._new_engine()
        set_up(engine, resident=0)
        return engine


async def told(lab: Lab) -> list[Told]:
    """Return what has become of every run, the oldest first, without the ids, which are others each time."""
    runs = []
    for info in reversed(await lab.engine.runs(limit=1_000)):
        at = (info.opened_at - START).total_seconds()
        ended = info.output if info.reason is None else "cancelled"
        data = [event.name if event.name.startswith("durable/") else event.data for event in info.events]
        runs.append((info.function_id, at, data, info.status, ended))
    return sorted(runs, key=lambda run: (run[1], run[0], repr(run[2])))


async def _go_to(lab: Lab, second: float) -> None:
    await lab.advance(START + timedelta(seconds=second) - lab.clock.now())


async def _play(
    lab: Lab, moments: Sequence[Moment], until: float, *, crashing: bool = False, begun: list[int] | None = None
) -> list[Told]:
    for number, moment in enumerate(moments):
        await _go_to(lab, moment.second)
        if begun is not None:
            begun.append(number)
        await moment.move(lab)
        if crashing:
            await lab.crash()
    await _go_to(lab, until)
    return await told(lab)


class _Noted(Snapshots):
    """Snapshots that know after how many moments, and at what second, each was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[tuple[int, float]] = []
        self.begun: list[int] = []
        self.lab: Lab | None = None

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        now = START if self.lab is None else self.lab.clock.now()
        self.places.append((len(self.begun), (now - START).total_seconds()))


async def _scene(functions: Sequence[Function[Any]], moments: Sequence[Moment], until: float, cuts: bool) -> list[Told]:
    noted = _Noted()
    async with Lab(functions, store=DictStore(noted)) as lab:
        noted.lab = lab
        first = await _play(lab, moments, until, begun=noted.begun)
        noted.lab = None
        count = len(noted.taken)
    for lab_of in (Lab, ParkingLab):
        for crashing in (False, True):
            async with lab_of(functions) as lab:
                found = await _play(lab, moments, until, crashing=crashing)
                assert found == first, f"{lab_of.__name__}, crashing: {crashing}"
    for number in range(count) if cuts else ():
        done, second = noted.places[number]
        start = START + timedelta(seconds=second)
        async with Lab(functions, store=DictStore(dict(noted.taken[number])), start=start) as lab:
            assert await _play(lab, moments[done:], until) == first, f"cut after write {number}"
    return first


def same_scenes(
    functions: Sequence[Function[Any]], moments: Sequence[Moment], until: float, *, cuts: bool = True
) -> list[Told]:
    """Play a scene in all ways, check that all come to the same, and return what becomes of the runs.

    Without `cuts` it is not cut off after each write: a try that dies with its process has counted.
    """
    return asyncio.run(_scene(functions, moments, until, cuts))
