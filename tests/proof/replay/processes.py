"""Play a random program in a process: live, or from a record or a part of it.

Separate because a process must not know with which other it will be compared.
Leaves to `plays` the program, to `replaying` the comparison of two processes.

Commits may be slow. Commits and handlers take another random number of rounds in each process: nothing may depend on
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from random import Random
from typing import Any, ClassVar

import attrs

from durable import Context, DictStore, Function, Store, function
from durable.engine.opened import inside
from durable.journal.codec.write import read
from durable.journal.records import RunClosed
from durable.stores.store import Entry
from durable.testing import Lab
from durable.testing.lab import START
from tests.proof.replay.plays import Play
from tests.proof.replay.programs import Part

RUN = "r"
MOST_MOVES = 400


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number in its run: a TaskGroup cancels its tasks in the order of a set, which is that of
    their addresses, and would be another one in each process."""

    made = 0
    kept: ClassVar[list[NumberedTask]] = []  # asyncio itself keeps no task alive that waits for another

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        NumberedTask.made += 1
        self._number = NumberedTask.made
        NumberedTask.kept.append(self)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


def numbered(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task that has a number: a task factory."""
    return NumberedTask(coroutine, loop=loop, **options)


async def sweep() -> None:
    """Cancel the tasks that programs have left behind: those that never came to a step, so no engine knew of them."""
    for _ in range(5):
        left = [task for task in NumberedTask.kept if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1)
    NumberedTask.kept.clear()


class Broken(AssertionError):
    """A property does not hold for a program."""


class SlowStore(DictStore):
    """A DictStore whose appends take a random number of rounds of the loop."""

    immediate = False

    def __init__(self, mapping: dict[str, Any] | None = None, *, random: Random) -> None:
        super().__init__(mapping)
        self._random = random

    async def append(self, entries: Sequence[Entry]) -> None:
        for _ in range(self._random.choice((0, 1, 5, 30, 120))):
            await asyncio.sleep(0)
        await super().append(entries)


@attrs.frozen
class Note:
    """What a function saw, and after which turn. Two processes that see the same need not agree in the rest: how many
    records the run had by then, and whether the code had come to all that was recorded when the process began."""

    turn: int
    text: str
    count: int = attrs.field(eq=False)
    is_level: bool = attrs.field(eq=False)


@attrs.define
class Process:
    """What one process did: what its function noted in each attempt, with the last turn delivered and the number of
    records of the run by then, and the keys of the handlers it called."""

    random: Random
    only_replays: bool = False
    is_slow: bool = False
    lab: Lab = attrs.field(init=False)
    notes: dict[int, list[Note]] = attrs.field(factory=dict)
    calls: list[str] = attrs.field(factory=list)

    def note(self, ctx: Context, text: str) -> None:
        session = ctx._execution._session
        if not session.refused:
            note = Note(session.delivery.delivered, text, session.ledger.count, session.is_level)
            self.notes.setdefault(ctx.attempt, []).append(note)

    def called(self, key: str) -> None:
        self.calls.append(key)

    def rounds(self, most: int) -> int:
        return self.random.choice((0, most, self.random.randint(0, most)))

    def play(self, program: Part) -> Function[Any]:
        """Return the function that plays a program in this process."""

        @function(id="program", retries=1)
        async def played(ctx: Context) -> Any:
            self.notes[ctx.attempt] = []
            NumberedTask.made = 0
            return await Play(ctx, self).play(program, "")

        return played


@attrs.frozen(slots=False)
class Story:
    """A process and the record that it left of the run, in order."""

    process: Process
    entries: list[Entry]
    result: Any

    @cached_property
    def records(self) -> list[Any]:
        """The records of the entries."""
        return [read(entry.kind, entry.body) for entry in self.entries]


async def filled(entries: Sequence[Entry], random: Random) -> DictStore:
    """Return a store that holds these entries, appended in groups of random size."""
    store = DictStore()
    await store.open()
    at = 0
    while at < len(entries):
        size = random.choice((1, 1, 3, len(entries)))
        await store.append(entries[at : at + size])
        at += size
    return store


def instant(entries: Sequence[Entry]) -> datetime:
    """Return when the last of the entries was recorded."""
    return read(entries[-1].kind, entries[-1].body).at if entries else START


async def run(program: Part, seed: str, entries: Sequence[Entry] = (), *, slow: str = "", crashes: int = 0) -> Story:
    """Play a program to its end in one process, or with `crashes` in several, going on from what is recorded.

    `slow`: any text, for a store whose commits take some time; it seeds how long.
    """
    random = Random(seed)
    store = await filled(entries, random)
    if slow:
        store = SlowStore(dict(store.mapping), random=Random(slow))
    return await run_on(store, program, random, start=instant(entries), crashes=crashes)


async def run_on(store: Store, program: Part, random: Random, *, start: datetime, crashes: int = 0) -> Story:
    """Play a program on a store: see `run`."""
    process = Process(random, is_slow=isinstance(store, SlowStore))
    process.lab = Lab([process.play(program)], store=store, start=start)
    async with process.lab as lab:
        if not inside(lab.engine, "run").state.ledgers:
            await lab.engine.start("program", id=RUN)
        await _drive(process, random, crashes)
        ended = await lab.engine.info(RUN)
        entries = [entry async for entry in inside(lab.engine, "history").store.history(RUN)]
    await sweep()
    return Story(process, entries, ended.error or ended.output)


async def replayed(story: Story, program: Part, seed: str, *, slow: str = "") -> Story:
    """Play a program from its full record alone: nothing is sent, no time passes, no handler ends."""
    random = Random(seed)
    entries = [entry for entry in story.entries if entry.kind != RunClosed.__name__]
    store = await filled(entries, random)
    if slow:
        store = SlowStore(dict(store.mapping), random=Random(slow))
    process = Process(random, only_replays=True)
    process.lab = Lab([process.play(program)], store=store, start=instant(story.entries))
    async with process.lab as lab:
        ended = await lab.engine.info(RUN)
        left = [entry async for entry in inside(lab.engine, "replayed").store.history(RUN)]
    await sweep()
    return Story(process, left, ended.error or ended.output)


async def _drive(process: Process, random: Random, crashes: int) -> None:
    lab, crashed_at = process.lab, -1
    for _ in range(MOST_MOVES):
        runtime = inside(lab.engine, "drive")
        ledger = runtime.state.ledgers.get(RUN)
        if ledger is None:
            await runtime.journal.synced()
            return
        if crashes and ledger.count > crashed_at + 1 and random.random() < 0.4:
            crashes -= 1
            await _crash(process)
            left = inside(process.lab.engine, "drive").state.ledgers.get(RUN)
            crashed_at = left.count if left is not None else 0
            continue
        await _move(lab, random)
    raise Broken(f"the run has not ended after {MOST_MOVES} moves")


async def _crash(process: Process) -> None:
    process.calls.clear()
    process.notes.clear()
    await process.lab.crash()


async def _move(lab: Lab, random: Random) -> None:
    due = lab.clock.next_due()
    if random.random() < 0.5:
        await lab.settle()
    else:  # in the middle of whatever goes on
        for _ in range(random.choice((0, 1, 3, 10, 40, 100))):
            await asyncio.sleep(0)
    if random.random() < 0.4:
        await lab.engine.send(f"e/{random.randrange(3)}", {"n": random.randrange(100)})
    elif due is not None:
        lab.clock.advance_to(due if random.random() < 0.8 else lab.clock.now() + (due - lab.clock.now()) / 2)
    else:
        await lab.settle()
        if lab.clock.next_due() is None and RUN in inside(lab.engine, "drive").state.ledgers:
            await lab.engine.send("e/0", {"n": -1})
