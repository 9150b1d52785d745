"""Check forks of generated workflows: `python -m tests.proof.forking --minutes 10`.

Separate because the same checks serve a test of seconds and a hunt of an hour.
Leaves to `programs` the expected results, to `plays` the workflow.

What must hold (S5), with and without commits that take time:
- A fork of a finished run before any of its steps, with nothing replaced, comes to the same result. No handler whose
  end it begins with is called, and each other that the result needs is called once.
- So does a fork without a step, which begins with all that ended well.
- With one outcome replaced, or from a run that has not ended, it comes to what the workflow comes to.
- Wherever its process dies, after every append, it comes to the same.
- The old run stays as it is, and what the fork has recorded replays.

Where a failure is left out or an outcome is replaced, branches may come to their first steps in another order than
before, and so have other keys (R4). Where all steps share one id, they would get outcomes that are not their own: there
only what goes the same way is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import attrs

from durable import DictStore
from durable.engine.opened import inside
from durable.journal.codec.write import read
from durable.journal.records import Err, Ok, Record, StepClosed, StepOpened, StepRetried
from durable.stores.store import Entry
from durable.testing import Lab, replay
from durable.testing.lab import START
from tests.proof.forking.plays import Calls, child, played
from tests.proof.forking.programs import Expected, Part, random_program
from tests.proof.replay.processes import SlowStore

OLD, NEW = "old", "new"
SECONDS = 60.0


@attrs.define
class Life:
    """A process on a store of its own, which holds `mapping` when it begins."""

    program: Part
    mapping: dict[str, Any] = attrs.field(factory=dict)
    slow: Random | None = None
    calls: Calls = attrs.field(factory=Calls)
    store: DictStore = attrs.field(init=False)
    lab: Lab = attrs.field(init=False)

    async def __aenter__(self) -> Life:
        self.mapping = dict(self.mapping)
        self.store = DictStore(self.mapping) if self.slow is None else SlowStore(self.mapping, random=self.slow)
        self.lab = Lab([played(self.program, self.calls), child], store=self.store, start=_latest(self.mapping))
        await self.lab.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.lab.__aexit__(*error)

    async def result(self, run: str) -> Any:
        """Let time pass until a run has ended, and return its result."""
        return await asyncio.wait_for(self.lab.result(await self.lab.engine.run(run)), SECONDS)

    async def entries(self, run: str) -> list[Entry]:
        """Return what the store holds of a run."""
        runtime = inside(self.lab.engine, "entries")
        await runtime.journal.synced()
        return [entry async for entry in runtime.store.history(run)]


def _latest(mapping: Mapping[str, Any]) -> Any:
    times = [record.at for batch in mapping.values() if isinstance(batch, tuple) for record in map(_record, batch)]
    return max(times, default=START)


def _record(fact: Any) -> Any:
    return read(fact[2], fact[3])


def _records(entries: list[Entry]) -> list[Record]:
    return [read(entry.kind, entry.body) for entry in entries]


def _prefixes(mapping: Mapping[str, Any], after: int) -> list[dict[str, Any]]:
    """Return what the store held after each append but the first `after`."""
    keys = list(mapping)
    return [{key: mapping[key] for key in keys[:count]} for count in range(after, len(keys))]


def _beginning(mapping: Mapping[str, Any]) -> tuple[int, list[StepClosed]]:
    """Return how many appends there were up to that of the fork, and the ends that it begins with."""
    for number, batch in enumerate(mapping.values(), 1):
        if isinstance(batch, tuple) and (batch[0][1], batch[0][2]) == (NEW, "RunOpened"):
            return number, [one for one in map(_record, batch) if isinstance(one, StepClosed)]
    raise AssertionError("the fork is not recorded")


@attrs.define
class Trial:
    """All checks of one program. `ways` bounds how many forks and deaths are tried of each sort."""

    program: Part
    random: Random
    ways: int
    tally: Counter[str] = attrs.field(factory=Counter)
    old: dict[str, Any] = attrs.field(init=False)
    records: list[Record] = attrs.field(init=False)
    calls: Calls = attrs.field(init=False)
    wanted: Any = attrs.field(init=False)
    must: list[str] = attrs.field(init=False)

    def life(self, mapping: Mapping[str, Any]) -> Life:
        """Return a process, whose commits may take time."""
        slow = Random(self.random.random()) if self.random.random() < 0.5 else None
        return Life(self.program, dict(mapping), slow)

    async def play(self) -> Counter[str]:
        """Make the old run, and try its forks."""
        await self.make_old()
        keys = list(
            dict.fromkeys(one.key for one in self.records if isinstance(one, StepOpened | StepRetried | StepClosed))
        )
        has_failed = any(isinstance(one, StepClosed) and isinstance(one.outcome, Err) for one in self.records)
        is_same = bool(self.program.number)
        for before in [*self._some(keys), *([] if has_failed and is_same else [None])]:
            await self.fork_with_nothing_replaced(before, is_exact=before is not None or not has_failed)
        if not is_same:
            for key in self._some([key for key in keys if self._is_a_value(key)]):
                later: list[str | None] = [*keys[keys.index(key) + 1 :], *([] if has_failed else [None])]
                for before in later and [self.random.choice(later)]:
                    await self.fork_with_one_replaced(key, before)
        for begun in self._some([] if has_failed and is_same else _prefixes(self.old, 2)):
            await self.fork_of_what_has_not_ended(begun)
        return self.tally

    def _some(self, all_: list[Any]) -> list[Any]:
        return self.random.sample(all_, min(self.ways, len(all_)))

    def _is_a_value(self, key: str) -> bool:
        return any(
            isinstance(one, StepClosed)
            and one.key == key
            and one.kind == "run"
            and isinstance(one.outcome, Ok)
            and any(made[:2] == (OLD, key) for made in self.calls.made)
            for one in self.records
        )

    async def make_old(self) -> None:
        """Play the old run, and check that it comes to what the workflow comes to."""
        expected = Expected({}, Random(OLD))
        self.wanted = expected.of(self.program)
        self.must = expected.must
        async with self.life({}) as life:
            await life.lab.start("program", id=OLD)
            self.check(await life.result(OLD), self.wanted, "the old run")
            self.records = _records(await life.entries(OLD))
            self.old, self.calls = dict(life.mapping), life.calls

    def check(self, got: Any, wanted: Any, what: str) -> None:
        """Check a result."""
        self.tally["runs"] += 1
        assert got == wanted, f"{what} came to something else\n- {wanted}\n+ {got}"

    async def fork_with_nothing_replaced(self, before: str | None, *, is_exact: bool) -> None:
        """Fork the finished run before one of its steps, or without."""
        what = f"the fork before {before!r}"
        async with self.life(self.old) as life:
            store_before = await life.entries(OLD)
            await life.lab.engine.fork(OLD, before=before, id=NEW)
            begun, copied = _beginning(life.mapping)
            self.check(await life.result(NEW), self.wanted, what)
            assert await life.entries(OLD) == store_before, f"{what}: the old run is not as it was"
            if is_exact:
                self._check_calls(life.calls.of(NEW), copied, what)
                await self._check_replays(life, what)
            ended = dict(life.mapping)
        self.tally["forks"] += 1
        for left in self._some(_prefixes(ended, begun)):
            await self._dies(left, self.wanted, what)

    def _check_calls(self, called: list[str], copied: list[StepClosed], what: str) -> None:
        made = {key: name for run, key, name in self.calls.made if run == OLD}
        kept = {made[one.key] for one in copied if one.key in made}
        again = kept.intersection(called)
        assert not again, f"{what}: handlers were called although their ends were copied: {sorted(again)}"
        rest = sorted(name for name in self.must if name not in kept)
        done = sorted(name for name in called if name in self.must)
        assert done == rest, f"{what}: of the other handlers\n- {rest}\n+ {done} were called"

    async def _check_replays(self, life: Life, what: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.jsonl"
            (await life.lab.engine.info(NEW)).export(file)
            info = await replay(played(self.program, Calls()), file, functions=[child])
        assert info.output == self.wanted and info.forked_from == OLD, f"{what}: it does not replay"

    async def fork_with_one_replaced(self, key: str, before: str | None) -> None:
        """Fork the finished run with another value of one step, and let it die after every append."""
        name = self.calls.name_of(OLD, key)
        given = self.random.randrange(1000)
        wanted = Expected({name: given}, Random(OLD)).of(self.program)
        what = f"the fork with {given} for {key!r}, before {before!r}"
        async with self.life(self.old) as life:
            try:
                await life.lab.engine.fork(OLD, before=before, steps={key: given}, id=NEW)
            except KeyError:
                assert before is not None, what
                return  # it ended after that step began
            begun, _ = _beginning(life.mapping)
            self.check(await life.result(NEW), wanted, what)
            ended = dict(life.mapping)
        self.tally["forks with one replaced"] += 1
        for left in _prefixes(ended, begun):
            await self._dies(left, wanted, what)

    async def _dies(self, left: dict[str, Any], wanted: Any, what: str) -> None:
        self.tally["deaths"] += 1
        async with self.life(left) as life:
            self.check(await life.result(NEW), wanted, f"{what}, left with {len(left)} appends,")

    async def fork_of_what_has_not_ended(self, begun: dict[str, Any]) -> None:
        """Fork a run of which only the first appends are left: both come to the same."""
        async with self.life(begun) as life:
            await life.lab.engine.fork(OLD, id=NEW)
            for run in (NEW, OLD):
                self.check(await life.result(run), self.wanted, f"{run}, after {len(begun)} appends,")
        self.tally["forks of unfinished runs"] += 1


async def check_seed(seed: str, *, ways: int = 1000) -> Counter[str]:
    """Check the forks of the program of a seed; return what was tried.

    Raises:
        AssertionError: something does not hold; the message says how to see it again.
    """
    random = Random(seed)
    program = random_program(random)
    try:
        return await Trial(program, random, ways).play()
    except Exception as error:
        told = str(error) if type(error) is AssertionError else f"{type(error).__name__}: {error}"
        raise AssertionError(
            f"seed {seed!r}:\n{program}\n{told}\nagain: python -m tests.proof.forking --again {seed}"
        ) from error


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.forking", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--again", metavar="SEED", help="check one program again")
    asked = parser.parse_args()
    for name in ("durable", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if asked.again:
        print(dict(asyncio.run(check_seed(asked.again))))
        return
    begun, total, number = time.monotonic(), Counter[str](), 0
    while time.monotonic() - begun < 60 * asked.minutes:
        number += 1
        try:
            total += asyncio.run(check_seed(f"{asked.seed}/{number}", ways=4))
        except AssertionError as error:
            total["broken"] += 1
            print(f"BROKEN: {error}", flush=True)
        if number % 20 == 0:
            print(f"{(time.monotonic() - begun) / 60:.1f} min: {number} programs, {dict(total)}", flush=True)
    print(f"{number} programs, {dict(total)}")
    raise SystemExit(bool(total["broken"]))
