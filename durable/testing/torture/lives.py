"""Run one life of a function, whose process dies where a test says.

Separate because lives must differ in nothing but their crashes: the store, the tasks and the log are set up here.
Leaves to `handlers` the handlers, to `torture` the choice of lives.

A process dies by its store: from some batch on, every append fails. The Lab is then restarted on what was kept. A call
that was interrupted is made again, as a caller does who got no answer. Sets are iterated in one order in one process,
and in the opposite order in the next, so that a dependence on their order shows.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import attrs

from durable.engine import Engine, inside, set_up
from durable.errors import DriftError, StoreError
from durable.functions import Function
from durable.journal import Err, ForEvent, ForSignal, Ok, RunClosed, RunOpened, RunRetried, StepClosed, StepOpened, read
from durable.journal import Record as AnyRecord
from durable.stores import DictStore, Entry
from durable.testing.lab import Lab
from durable.testing.source_lines import user_line
from durable.testing.torture.handlers import Actors, Lived, Memory
from durable.testing.torture.set_order import order_sets

T = TypeVar("T")
Place = tuple[str, str]  # a run and the key of a step
RUN = "tortured"
_IDLE = frozenset(("RunResumed", "Counted", "EngineClosed"))


class Mortal(DictStore):
    """A mortal store fails every append after `budget` batches.

    None is without limit. Batches that only tell of an engine's start or end, or count a try, do not count.
    """

    def __init__(self, budget: int | None) -> None:
        super().__init__()
        self.budget = budget
        self.written = 0
        self.is_dead = False

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep the entries if the process is alive.

        Raises:
            StoreError: the process has died.
        """
        if self.is_dead or self.written == self.budget:
            self.is_dead = True
            raise StoreError("the process died, as a test asked for")
        await super().append(entries)
        self.written += any(entry.kind not in _IDLE for entry in entries)

    def revive(self, budget: int | None) -> None:
        """Begin a new process, which may write `budget` batches."""
        self.budget, self.written, self.is_dead = budget, 0, False

    def records(self) -> list[AnyRecord]:
        """Return the kept records, in order."""
        batches = sorted((key for key in self.mapping if key.startswith("batch/")), key=lambda key: int(key[6:]))
        return [read(fact[2], fact[3]) for key in batches for fact in self.mapping[key]]


@attrs.frozen
class Plot:
    """A plot says how a life goes.

    Attributes:
        dies_after: the process dies once, after this many batches.
        rebuilds: the process dies again and again, each time after this many batches.
        order: the order in which handlers end: None for the remembered one, else a seed.
        together: whether handlers that wait to end do so in one turn.
        flipped: sets are iterated in the opposite order if this is odd.
    """

    dies_after: int | None = None
    rebuilds: int | None = None
    order: int | None = None
    together: bool = False
    flipped: int = 0

    def __str__(self) -> str:
        ending = "" if self.order is None else f", with handlers ending in another order (seed {self.order})"
        ending += ", together" if self.together else ""
        ending += " and sets walked the other way round" if self.flipped % 2 else ""
        if self.rebuilds:
            return f"when it is rebuilt from its record again and again{ending}"
        return f"after a crash after batch {self.dies_after}{ending}" if self.dies_after else f"undisturbed{ending}"


class _Whispers(logging.Handler):
    """Keeps the engine's warnings about records that the code does not follow."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "its record goes on" in text:
            self.heard.append(text)


class Stage(Lab):
    """A stage is a Lab for one life."""

    def __init__(self, functions: Iterable[Function[Any]], plot: Plot, memory: Memory) -> None:
        self.plot = plot
        self.mortal = Mortal(plot.rebuilds or plot.dies_after)
        self.crashes = 0
        self.died_at: list[Place] = []
        self.actors = Actors(memory, plot.order, lambda: inside(self.engine, "torture"), together=plot.together)
        self._logger = logging.Logger("durable.torture")
        self._logger.addHandler(whispers := _Whispers())
        self.heard = whispers.heard
        super().__init__(functions, store=self.mortal)
        order_sets(ascending=plot.flipped % 2 == 0)

    def _new_engine(self) -> Engine:
        engine = Engine(self._functions, store=self._store, clock=self.clock, logger=self._logger)
        set_up(engine, stand_in=self.actors, is_inline=True)
        return engine

    async def _ask(self, question: Callable[[Engine], Awaitable[T]]) -> T:
        """Ask the engine, and again if the process dies before it has answered."""
        while True:
            try:
                return await super()._ask(question)
            except StoreError:
                if not self.mortal.is_dead:
                    raise
            await self._restart()

    async def settle(self) -> None:
        """Wait until nothing moves, restarting processes that die meanwhile."""
        while True:
            try:
                await super().settle()
            except StoreError:
                if not self.mortal.is_dead:
                    raise
            else:
                if self.mortal.written < (self.plot.rebuilds or math.inf):
                    return
            await self._restart()

    async def _restart(self) -> None:
        """Let the process die and start again."""
        self.crashes += 1
        order_sets(ascending=(self.crashes + self.plot.flipped) % 2 == 0)
        self.mortal.revive(self.plot.rebuilds)
        self.died_at = _finished(self.mortal.records())
        self.actors.begin_process(set(self.died_at))
        await super()._restart()


def _finished(records: Iterable[AnyRecord]) -> list[Place]:
    """Return the steps that have ended, in the order of their ends."""
    finished: dict[Place, bool] = {}
    for record in records:
        if isinstance(record, StepClosed) and isinstance(record.outcome, Ok | Err):
            finished[record.run, record.key] = isinstance(record.outcome, Ok)
        elif isinstance(record, RunRetried) and record.reopened:
            for place in [place for place, is_ok in finished.items() if place[0] == record.run and not is_ok]:
                del finished[place]
    return list(finished)


@attrs.frozen
class Life:
    """A life is what its records and observations show.

    Attributes:
        plot: how the life went.
        steps: the kinds of the steps, of the run and of runs that derive from it.
        opened: what each of these runs was opened with, in words.
        ending: how the run ended: its status, and a text.
        batches: how many batches the last process wrote.
        crashes: how many processes died.
        lived: what the actors observed.
        heard: the engine's warnings.
        finished: the steps that ended, in order.
        died_at: the steps that had ended when the last process to die died.
    """

    plot: Plot
    steps: dict[Place, str]
    opened: dict[str, str]
    ending: tuple[str, str]
    batches: int
    crashes: int
    lived: Lived
    heard: list[str]
    finished: list[Place]
    died_at: list[Place]

    @property
    def signature(self) -> object:
        """What two lives of one plot have in common if the function is deterministic."""
        return self.steps, self.opened, self.ending, self.lived.other_args


def life_of(stage: Stage) -> Life:
    """Return the life that a stage has shown."""
    steps: dict[Place, str] = {}
    opened: dict[str, str] = {}
    ending = ("unfinished", "")
    for record in stage.mortal.records():
        run = getattr(record, "run", "")
        if run != RUN and not run.startswith((f"{RUN}/", f"{RUN}#")):
            continue
        if isinstance(record, StepClosed):
            steps.setdefault((run, record.key), record.kind)
        elif isinstance(record, StepOpened):
            steps[run, record.key] = record.kind + _asked(record)
        elif isinstance(record, RunOpened):
            opened[run] = f"{record.function} for event {record.event.name!r} with {dict(record.event.data)!r}"
        elif isinstance(record, RunClosed) and run == RUN:
            ending = _ending(record)
    mortal, lived = stage.mortal, stage.actors.lived
    finished = _finished(mortal.records())
    return Life(
        stage.plot, steps, opened, ending, mortal.written, stage.crashes, lived, stage.heard, finished, stage.died_at
    )


def _asked(record: StepOpened) -> str:
    match record.wait:
        case ForEvent():
            asked = (record.wait.event, record.wait.match, record.wait.expression)
            return f" for event {', '.join(repr(one) for one in asked if one is not None)}"
        case ForSignal():
            return f" for signal {record.wait.signal!r}"
        case _:
            return ""


def _ending(record: RunClosed) -> tuple[str, str]:
    if record.error is not None:
        line = f", at {user_line(record.error.stack)}" if record.error.name == DriftError.__name__ else ""
        return record.status, f"{record.error.name}: {record.error.message}{line}"
    if record.output is not None:
        return record.status, json.dumps(json.loads(record.output), sort_keys=True)  # the order of keys does not count
    return record.status, record.reason or "null"
