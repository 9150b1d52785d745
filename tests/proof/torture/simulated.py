"""Simulate a store whose appends may fail, be slow, or be the last act of their process.

Separate because this module alone decides how much of an append a disk keeps.
Leaves to `invariants` the checks, to `cases` the plays.

The store is a DictStore behind a log: an append writes its batch, syncs, and answers, with rounds of the loop in
between. A process that dies before the sync may later find all of the batch, nothing, or a part, which counts as
nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Literal, get_args

import attrs

from durable import DictStore, Engine, StoreError
from durable.engine.opened import inside
from durable.engine.runtime import Runtime
from durable.journal.codec.write import read
from durable.journal.records import Cancelled, Err, StepClosed
from durable.scheduler.parts import RESIDENT
from durable.stores.store import Entry, RunQuery, RunRow
from durable.testing import Lab
from durable.testing.stubs import Stubs
from tests.proof.torture.cases import Case, Move, Seen, instant, make, seen_of
from tests.proof.torture.invariants import Watch, check_quiet, check_record

Fate = Literal["dies before", "dies, kept", "dies, dropped", "dies, torn", "dies after", "fails", "fails, kept"]
FATES: tuple[Fate, ...] = get_args(Fate)
KEPT = ("dies, kept", "dies after", "fails, kept")
Plan = Callable[[int], Fate | None]


class SimulatedStore:
    """A store whose append number n, counted from 1, has the fate `plan(n)`; None: all goes well."""

    immediate = False

    def __init__(self, plan: Plan, random: Random) -> None:
        self.appends = 0
        self.died = asyncio.Event()
        self.disk: list[Entry] = []  # synced
        self.closed: dict[str, dict[str, Any]] = {}  # what is on the disk: the ended steps of each run
        self.plan = plan
        self._random = random
        self._read = DictStore()

    async def open(self) -> None:
        """Read what the disk holds."""
        self.died.clear()
        self._read = DictStore()
        await self._read.open()
        await self._read.append(self.disk)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep the entries, as the plan has it."""
        self.appends += 1
        store, fate = self._read, self.plan(self.appends)
        await self._take_time()
        if fate in (None, *KEPT):
            self._sync(entries)
            await store.append(entries)
        await self._take_time()
        if fate is not None and fate.startswith("fails"):
            raise StoreError(f"append {self.appends} {fate}")
        if fate is not None:
            self.died.set()
            await asyncio.Event().wait()

    async def _take_time(self) -> None:
        for _ in range(self._random.choice((0, 0, 1, 5, 30, 90))):
            await asyncio.sleep(0)

    def _sync(self, entries: Sequence[Entry]) -> None:
        self.disk += entries
        for entry in entries:
            record = read(entry.kind, entry.body)
            ended = self.closed.setdefault(entry.run, {})
            if isinstance(record, StepClosed):
                ended[record.key] = record
            elif entry.kind == "RunRetried":
                again = (Cancelled, Err) if record.reopened else Cancelled  # type: ignore[union-attr]
                for key in [key for key, one in ended.items() if isinstance(one.outcome, again)]:
                    del ended[key]

    def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        return self._read.unfinished(now)

    def history(self, run: str) -> AsyncIterator[Entry]:
        return self._read.history(run)

    async def find(self, query: RunQuery) -> list[RunRow]:
        return await self._read.find(query)

    async def prune(self, ended_before: datetime) -> int:
        raise NotImplementedError

    async def close(self) -> None:
        await self._read.close()


class WatchedLab(Lab):
    """A Lab in which a Watch sees every call of a step and of a handler."""

    def __init__(self, case: Case, store: SimulatedStore, resident: int) -> None:
        super().__init__(case.functions, store=store)
        self.store = store
        self.resident = resident
        self.watch = Watch(self._runtime, store)
        self._stubs: Stubs = self.watch
        self.calls = self.watch.calls
        self.engine = self._new_engine()

    def _new_engine(self) -> Engine:
        if isinstance(self._stubs, Watch):
            self._stubs.begin()  # only now do the tasks of the last process stand still
        engine = super()._new_engine()
        resident = getattr(self, "resident", 0)
        engine._settings = attrs.evolve(engine._settings, resident=resident, rests_after=timedelta())
        return engine

    def _runtime(self) -> Runtime:
        runtime = self.engine._owner and self.engine._owner.runtime  # `opened` refuses a handler that sees no loop
        assert runtime is not None
        return runtime


class Simulation:
    """One case on one simulated store: `deaths` is how often its process died or its store failed, `appends` how many
    of them could: all but those of a close in order.

    With `resident=0` every run that only waits is parked, and comes back. That it rests is recorded with the next
    write, such as that of an event which nobody hears; a process that comes again then does not call it.
    """

    def __init__(self, case: Case, plan: Plan, random: Random, resident: int = RESIDENT) -> None:
        self.case = case
        self.store = SimulatedStore(plan, random)
        self.lab = WatchedLab(case, self.store, resident)
        self.deaths = 0
        self.appends = 0
        self.rested = 0  # runs that a process which came again did not call
        self.sent = dict[str, str]()
        self.signals_lost = 0  # not known to have arrived: told again, they may arrive twice

    async def play(self) -> Seen:
        """Play the case to its end, through all deaths, and check what must hold."""
        async with self.lab:
            for number, move in enumerate(self.case.moves):
                await self._advance_to(move.at)
                await self._make(move)
                for time in range(0 if self.lab.resident else 3):
                    await self._survives(partial(self.lab.send, "unheard", id=f"unheard-{number}-{time}"))
            await self._advance_to(self.case.seconds)
            seen = await self._asked(lambda: seen_of(self.lab))
            self.store.plan, self.appends = (lambda number: None), self.store.appends
            check_quiet(
                inside(self.lab.engine, "quiet"), [await self.lab.engine.info(run) for run in self._open_runs()]
            )
        check_record(self.store.disk)
        self.lab.watch.check(self.deaths)
        return seen

    def _open_runs(self) -> list[str]:
        return [run.run for run in inside(self.lab.engine, "quiet").state.unfinished()]

    async def _make(self, move: Move) -> None:
        before = self._reopenings(move.name)
        while not (await self._survives(lambda: self._acknowledged(move)))[0]:
            if move.kind == "signal":
                self.signals_lost += 1
                break
            if move.kind == "retry" and self._reopenings(move.name) > before:
                break  # done, by a process that died before it could say so: the run may have failed again since
        await self._asked(self.lab.settle)

    def _reopenings(self, run: str) -> int:
        entries = [entry for entry in self.store.disk if entry.run == run and entry.kind == "RunRetried"]
        return sum(read(entry.kind, entry.body).reopened for entry in entries)  # type: ignore[union-attr]

    async def _acknowledged(self, move: Move) -> None:
        made = await make(self.lab, self.case, move, self.sent)
        self._check_kept(move, made)  # at once: a moment later it may be there

    def _check_kept(self, move: Move, made: Any) -> None:
        match move.kind:
            case "start" if made is not None:  # None: a rate limit has refused it
                kept = any(entry.run == made.id and entry.kind == "RunOpened" for entry in self.store.disk)
            case "send" if move.id is not None:
                kept = any(entry.kind == "EventSent" and f'"{move.id}"' in entry.body for entry in self.store.disk)
            case "cancel":
                kept = any(entry.run == move.name and entry.kind == "RunClosed" for entry in self.store.disk)
            case _:
                return
        assert kept, f"acknowledged, but not on the disk: {move}"

    async def _advance_to(self, seconds: float) -> None:
        while (left := instant(seconds) - self.lab.clock.now()) > timedelta():
            await self._survives(lambda left=left: self.lab.advance(left))  # type: ignore[misc]

    async def _asked(self, question: Callable[[], Awaitable[Any]]) -> Any:
        while not (answer := await self._survives(question))[0]:
            continue
        return answer[1]

    async def _survives(self, question: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
        """Ask something; return whether there was an answer, and it. Whoever dies meanwhile comes again."""
        asking, dying = asyncio.ensure_future(question()), asyncio.ensure_future(self.store.died.wait())
        await asyncio.wait([asking, dying], return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        asking.cancel()
        await asyncio.wait([asking, dying])
        answer: tuple[bool, Any] = (False, None)
        if not asking.cancelled() and not isinstance(asking.exception(), StoreError):
            answer = True, asking.result()
        if self.store.died.is_set() or not answer[0]:
            await self._come_again()
        return answer

    async def _come_again(self) -> None:
        self.deaths += 1
        self.store.died.clear()
        last = {entry.run: entry.kind for entry in self.store.disk}
        self.rested += list(last.values()).count("RunRested")
        await self._survives(self.lab.crash)


def at(number: int, fate: Fate) -> Plan:
    """Return the plan in which one append has a fate."""
    return {number: fate}.get


def often(random: Random, share: float) -> Plan:
    """Return a plan in which a share of the appends has some fate, at most eight of them."""
    fates: dict[int, Fate] = {}

    def plan(number: int) -> Fate | None:
        if number not in fates and len(fates) < 8 and random.random() < share:
            fates[number] = random.choice(FATES)
        return fates.get(number)

    return plan


def difference(want: Seen, got: Seen) -> str:
    """Return the first lines in which two plays differ: a run may be there more than once."""
    wanted, came = Counter(want.runs), Counter(got.runs)
    lines = [f"- {run}" for run in (wanted - came).elements()] + [f"+ {run}" for run in (came - wanted).elements()]
    return "\n".join(lines[:6]) or f"- {want.calls - got.calls}\n+ {got.calls - want.calls}"
