"""Kill the engine of a store, and those who steer its runs from outside, with `kill -9` in round after round.

    python -m tests.proof.crashes.steering --rounds 100 --seed 1

Separate because here two kinds of processes die, and what is judged is what the senders were told.
Leaves to `tests.proof.crashes` the rounds in which an engine works by itself.

A sender writes to its log what it asks for, and then what it was told. In the end everything that it was told was done
stands in the store exactly once; what it had asked for when it died stands there once or never; and nothing else does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import attrs

import durable
from durable.journal import Record, pause_fact, read, schedule_fact, scheduled_run
from durable.journal.records import EventSent, RunClosed, RunOpened, RunRetried
from durable.journal.schedule_records import FunctionPaused, FunctionResumed, ScheduleEnded, ScheduleMade
from durable.stores.file.store import FileReader
from durable.stores.store import RunQuery
from tests.proof.crashes import ENVIRONMENT, ROOT
from tests.proof.crashes.senders import made, waiting

NEVER = datetime(2100, 1, 1, tzinfo=UTC)
ORIGIN = "origin"
SENDERS = 2
HOUR = timedelta(hours=1)
MOST_RUNS = 1_000_000
PATIENCE = 120.0  # seconds in which an engine must have taken all that is left
_QUIET = logging.Logger("steering", logging.CRITICAL)


@durable.function
async def waits(ctx: durable.Context) -> None:
    """Wait until it is cancelled."""
    await ctx.step.sleep("s", "365d")


@durable.function(retries=0)
async def fails(ctx: durable.Context) -> None:
    """Fail, however often it is opened again."""
    await ctx.step.run("never", _never)


def _never() -> None:
    raise durable.NonRetriableError("never")


@durable.function("steering/sent")
async def hears(ctx: durable.Context) -> int:
    """Be opened by an event, or be the origin of forks."""
    return await ctx.step.run("one", lambda: 1)


@durable.function(durable.TriggerEvery("1h", missed="skip"))
async def ticks(ctx: durable.Context) -> None:
    """Be opened for ticks of long ago."""


FUNCTIONS = [waits, fails, hears, ticks]
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
FILLED = "cron/ticks/"

# The children.


async def serve(store: str) -> None:
    """Have the store open until killed."""
    async with durable.Engine(FUNCTIONS, store=store, logger=_QUIET):
        print("open", flush=True)
        await asyncio.Event().wait()


class Voice:
    """A voice steers runs, and writes down what it asks for and what it is told."""

    def __init__(self, sender: durable.Sender, reader: durable.Reader, log: Path, name: str) -> None:
        self._sender = sender
        self._reader = reader
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._name = name
        self._numbers = itertools.count()
        life, _, place = name.removeprefix("s").partition("-")
        self._first = LONG_AGO + (int(life) * SENDERS + int(place)) * 1_000 * HOUR  # nobody else fills in these

    async def speak(self) -> None:
        """Steer until killed."""
        print("open", flush=True)
        for number in itertools.count():
            waiting, failing = f"{self._name}-waits{number}", f"{self._name}-fails{number}"
            await self.says("start", waiting, self._sender.start(waits, id=waiting))
            await self.says("cancel", waiting, self._sender.cancel(waiting))
            await self.says("start", failing, self._sender.start(fails, id=failing))
            [later] = await self.says("schedule", "", self._sender.send("steering/sent", ts=NEVER))
            await self.says("unsend", later, self._sender.unsend(later))
            await self.says("fork", "", self._sender.fork(ORIGIN))
            await self.says("send", "", self._sender.send("steering/sent"))
            await self.says("start", "", self._sender.start(hears))
            await self.says("pause", waiting, self._sender.pause(waiting))  # nobody has a function of that id
            await self.says("resume", waiting, self._sender.resume(waiting))
            await self.says("plan", waiting, self._sender.schedule(ticks, "@yearly", id=waiting))
            await self.says("drop", waiting, self._sender.unschedule(waiting))
            tick = self._first + number * HOUR
            filled = f"{FILLED}{tick:%Y-%m-%dT%H:%M:%SZ}"
            await self.says("fill", filled, self._sender.backfill(ticks, tick, tick + HOUR))
            while not await self._has_failed(failing):
                await asyncio.sleep(0.01)
            await self.says("retry", failing, self._sender.retry(failing))

    async def _has_failed(self, run: str) -> bool:
        try:
            return (await self._reader.info(run)).status == "failed"
        except KeyError:  # what starts it was not taken yet
            return False

    async def says(self, verb: str, about: str, call: Awaitable[Any]) -> Any:
        """Ask for something; return what was told."""
        number = next(self._numbers)
        self._write(number, verb, about, None)
        told = await call
        self._write(number, verb, about, [told])
        return told

    def _write(self, number: int, verb: str, about: str, told: object) -> None:
        os.write(self._log, f"{json.dumps([self._name, number, verb, about, told])}\n".encode())


async def steer(store: str, log: str, name: str) -> None:
    """Steer the runs of a store until killed."""
    async with durable.Sender(store) as sender, durable.Reader(store) as reader:
        await Voice(sender, reader, Path(log), name).speak()


# The parent.


@attrs.define(eq=False)
class Story:
    """One store, its engine and those who steer it. `kills` counts the killed by what they were."""

    folder: Path
    chance: Random
    kills: Counter[str] = attrs.field(factory=Counter)
    lives: dict[str, subprocess.Popen[str]] = attrs.field(factory=dict)

    @property
    def store(self) -> Path:
        """Where the store is."""
        return self.folder / "x.db"

    def begin(self) -> None:
        """Make the store, with a run that can be forked."""
        asyncio.run(_originate(made(self.store)))

    def round(self) -> None:
        """Let all live for a while, then kill one or all of them."""
        for role in ("engine", *(f"sender {number}" for number in range(SENDERS))):
            if role not in self.lives:
                self._give_life(role)
        try:
            self.lives["engine"].wait(self.chance.uniform(0, self.chance.choice((0.05, 0.3, 0.8))))
        except subprocess.TimeoutExpired:
            pass
        roles = [*self.lives] if self.chance.random() < 0.2 else [self.chance.choice([*self.lives])]
        for role in roles:
            self._kill(role)

    def _give_life(self, role: str) -> None:
        arguments = ["serve", str(self.store)]
        if role != "engine":
            arguments = ["steer", str(self.store), str(self.folder / "log"), f"s{self.kills.total()}-{role[-1]}"]
        command = [sys.executable, "-m", "tests.proof.crashes.steering", "--child", *arguments]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=ROOT)
        self.lives[role] = child
        if self.chance.random() < 0.8:  # else it may die while it opens
            assert child.stdout is not None
            assert child.stdout.readline() == "open\n", f"the {role} could not begin: exit code {child.wait()}"

    def _kill(self, role: str) -> None:
        child = self.lives.pop(role)
        child.kill()
        child.communicate()
        assert child.returncode == -9, f"the {role} ended by itself, with {child.returncode}"
        self.kills[role.split()[0]] += 1

    def end(self) -> Counter[str]:
        """Kill all, let an engine take what is left, and judge; return how often each verb was done.

        Raises:
            AssertionError: something that was told is lost, or something was done twice, or unasked.
        """
        for role in [*self.lives]:
            self._kill(role)
        return asyncio.run(_judged(self.store, self.folder / "log"))


async def _originate(store: Path) -> None:
    async with durable.Engine(FUNCTIONS, store=store, logger=_QUIET) as engine:
        await (await engine.start(hears, id=ORIGIN)).result()


async def _judged(store: Path, log: Path) -> Counter[str]:
    async with durable.Engine(FUNCTIONS, store=store, logger=_QUIET) as engine, asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(waiting, store):
            await asyncio.sleep(0.01)
        await engine.settled()
    asked = _asked(log)
    async with FileReader(store) as reader:
        runs = {row.id: await _records(reader, row.id) for row in await reader.find(RunQuery(limit=MOST_RUNS))}
        facts = [scheduled_run(id) for id in _told(asked, "schedule")]
        facts += [pause_fact(one.about) for one in asked if one.verb == "pause"]
        facts += [schedule_fact(one.about) for one in asked if one.verb == "plan"]
        others = [one for fact in facts for one in await _records(reader, fact)]
    done = _done(runs, others)
    for verb, times in done.items():
        _check(verb, times, asked)
    return Counter({verb: times.total() for verb, times in done.items()})


def _check(verb: str, times: Counter[str], asked: list[Asked]) -> None:
    told, strangers = Counter(_told(asked, verb)), Counter[str]()
    unsure = Counter(one.about for one in asked if one.verb == verb and one.told is None)
    for about in {*times, *told}:
        more = times[about] - told[about]
        assert more >= 0, f"{verb} of {about!r}: told {told[about]} times, done {times[about]} times"
        if more > unsure[about]:
            strangers[about] = more - unsure[about]
    twice = [about for about, count in strangers.items() if about in told or count > 1]
    assert not twice, f"{verb}: done more than once: {twice}"
    assert len(strangers) <= unsure[""], f"{verb}: done unasked: {[*strangers]}, unsure are {unsure['']}"


def _done(runs: dict[str, list[Record]], others: list[Record]) -> dict[str, Counter[str]]:
    """Return how often each verb was done, by what it was about."""
    openings = {run: [one for one in records if isinstance(one, RunOpened)] for run, records in runs.items()}
    forks = Counter({run: len(found) for run, found in openings.items() if found[0].fork is not None})
    filled = Counter({run: len(found) for run, found in openings.items() if run.startswith(FILLED)})
    heard = Counter({run: len(found) for run, found in openings.items() if "/" in run and run not in filled})
    starts = Counter(
        {run: len(found) for run, found in openings.items() if not {run} & {*forks, *heard, *filled, ORIGIN}}
    )
    every = [one for records in runs.values() for one in records]
    return {
        "start": starts,
        "fork": forks,
        "send": Counter({run.partition("/")[0]: count for run, count in heard.items()}),
        "cancel": Counter(one.run for one in every if isinstance(one, RunClosed) and one.status == "cancelled"),
        "retry": Counter(one.run for one in every if isinstance(one, RunRetried) and one.reopened),
        "unsend": Counter(one.id for one in others if isinstance(one, EventSent) and one.withdrawn),
        "pause": Counter(one.function for one in others if isinstance(one, FunctionPaused)),
        "resume": Counter(one.function for one in others if isinstance(one, FunctionResumed)),
        "plan": Counter(one.id for one in others if isinstance(one, ScheduleMade)),
        "drop": Counter(one.id for one in others if isinstance(one, ScheduleEnded)),
        "fill": Counter({run: count for run, count in filled.items() if run < f"{FILLED}2020"}),
    }


@attrs.frozen
class Asked:
    """What a sender asked for, and what it was told: None if it died before."""

    verb: str
    about: str
    told: list[Any] | None


def _asked(log: Path) -> list[Asked]:
    found: dict[tuple[str, int], Asked] = {}
    for line in log.read_text().splitlines():
        name, number, verb, about, told = json.loads(line)
        found[name, number] = Asked(verb, about, told)
    return [*found.values()]


def _told(asked: list[Asked], *verbs: str) -> list[str]:
    """Return what was told to be done: runs and events, by their ids."""
    told = [one for one in asked if one.verb in verbs and one.told not in (None, [False])]
    return [one.about or _id(one.told) for one in told]


def _id(told: Any) -> str:
    [found] = told
    return found[0] if isinstance(found, list) else found


async def _records(reader: FileReader, run: str) -> list[Record]:
    return [read(entry.kind, entry.body) async for entry in reader.history(run)]


def rounds(folder: Path, count: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Do so many rounds; return how many were killed, and how often each verb was done.

    Raises:
        AssertionError: something that was told is lost, or was done twice.
    """
    story = Story(folder, Random(seed))
    story.begin()
    try:
        for _ in range(count):
            story.round()
    finally:
        for child in story.lives.values():
            child.kill()
    for child in story.lives.values():
        child.communicate()
    story.lives.clear()
    return story.kills, story.end()


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.proof.crashes.steering",
        description="kill -9 of an engine and of those who steer its runs from outside, again and again",
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of all that is chosen by chance")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        verb, *arguments = asked.child
        asyncio.run({"serve": serve, "steer": steer}[verb](*arguments))
        return
    folder = Path(tempfile.mkdtemp(prefix="steering-"))  # stays, where a rule was broken
    kills, done = rounds(folder, asked.rounds, asked.seed)
    shutil.rmtree(folder)
    killed = ", ".join(f"{count} {role}s" for role, count in kills.most_common())
    print(f"seed {asked.seed}: {asked.rounds} rounds, killed: {killed}")
    print(", ".join(f"{count} × {verb}" for verb, count in done.most_common()))
    print("none lost, none twice")


if __name__ == "__main__":
    main()
