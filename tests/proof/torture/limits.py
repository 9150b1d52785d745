"""Live random stories of bounded functions: sends, ends, deaths and changed limits, beside a model of what may begin.

Separate because in the generated workflows of `workflows` no handler takes any time: nobody waits for its end there.
Leaves to `counting` and `trying` the model of limits, which reads the records of the story and shares no code with the
rules, to `bounding` what a function declares.

`python -m tests.proof.torture.limits` lives a thousand stories; the suite lives some. A story dies at a random append:
what was written later is gone, as if it had never happened.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import durable
from durable import Backoff, Context, DictStore, Event, Function, RateLimitedError, StepOptions
from durable.journal.codec.write import read
from durable.stores import Entry
from durable.testing.clock import VirtualClock
from tests.proof.torture.bounding import MINUTE, bounded, shaped
from tests.proof.torture.counting import Book, Limits, key_of
from tests.proof.torture.stories import live_many
from tests.proof.torture.trying import Tries, Try

START = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ("one", "two")
SHOWN = (
    *("RunOpened", "RunAdmitted", "RunClosed", "RunRetried", "FunctionPaused", "FunctionResumed"),
    *("Counted", "StepRetried", "StepClosed"),
)
ACTS = (
    *("send", "send", "send", "start", "define", "pause", "resume", "advance", "advance", "cancel", "retry"),
    *("end", "end", "end"),
)
QUIET = 300  # rounds of the loop in which nothing is written and no handler begins or ends


class Disk(dict[str, Any]):
    """A mapping for a DictStore that remembers what it was after each write, and when that was."""

    def __init__(self, begun_with: dict[str, Any], clock: VirtualClock) -> None:
        super().__init__(begun_with)
        self.clock = clock
        self.taken = [(clock.now(), begun_with)]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.taken.append((self.clock.now(), dict(self)))


class Slow(DictStore):
    """A store that takes a few rounds of the loop for each write."""

    immediate = False

    async def append(self, entries: Sequence[Entry]) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await super().append(entries)


class Story:
    """A story is a row of lives over one disk; each bounds the functions in its own way, by the same keys."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.told = list[str]()
        self.shape = {name: shaped(self.random) for name in NAMES}
        self.clock = VirtualClock(START)
        self.disk = Disk({}, self.clock)
        self.limits: list[tuple[int, dict[str, Limits]]] = []  # each from so many records on
        self.too_early = list[str]()  # runs whose function was called before that was recorded
        self.functions: list[Function[Any]] = []
        self.tries = Tries(Book())
        self.working: dict[Try, asyncio.Future[None]] = {}
        self.swallowed = set[Try]()  # their cancelling
        self.is_over = False  # whether handlers end at once

    # What the functions do.

    async def body(self, ctx: Context) -> None:
        if ctx.run_id not in self.book().begun:
            self.too_early.append(ctx.run_id)
        data = ctx.event.data
        works = [self.step(ctx, name, way) for name, way in zip(("left", "right"), data["works"], strict=False)]
        await asyncio.gather(*works)
        if data["minutes"]:
            await ctx.step.sleep("rest", MINUTE * data["minutes"])
        if "below" in data:
            name, abandoned = data["calls"], data["abandoned"]
            await ctx.step.invoke("below", function=name, data=data["below"], abandoned=abandoned)
        if data["fails"]:
            raise durable.NonRetriableError("as it was told")

    async def step(self, ctx: Context, name: str, way: str) -> None:
        self.tries.asks(ctx.run_id, name)
        options = StepOptions(name, retries=1, backoff=Backoff("5m", 1.0, jitter=0))
        await ctx.step.run(options, self.work, ctx.run_id, name, way)

    async def work(self, run: str, step: str, way: str) -> None:
        one = self.tries.begins(self.book(), run, step)
        try:
            if way == "fails" and not durable.current_step().attempt:
                raise ValueError("not yet")
            while way in ("holds", "swallows") and not self.is_over:
                future = self.working[one] = asyncio.get_running_loop().create_future()
                try:
                    return await future
                except asyncio.CancelledError:
                    if way == "holds" or self.is_over:
                        raise
                    self.swallowed.add(one)
        finally:
            self.tries.ends(one)
            self.working.pop(one, None)

    def data(self, depth: int = 0) -> dict[str, Any]:
        chance = self.random.random
        data = {
            "p": self.random.choice((0, 0, 30, -60, 1_000, "much")),
            "minutes": self.random.choice((0, 0, 3, 10, 100)),
            "fails": chance() < 0.1,
            "works": [
                self.random.choice(("", "", "", "holds", "holds", "swallows", "fails"))
                for _ in range(self.random.choice((1, 1, 2)))
            ],
        }
        if chance() >= 0.1:
            data["k"] = self.random.choice(("a", "a", 1, 1.0, "1", True))
        if chance() < 0.3 and depth < 2:
            below, abandoned = self.data(depth + 1), self.random.choice(("leave", "cancel"))
            if "k" in data and chance() < 0.7:  # most families share their buckets
                below["k"] = data["k"]
            data |= {"below": below, "calls": self.random.choice(NAMES), "abandoned": abandoned}
        return data

    # What is on the disk.

    def records(self) -> list[Any]:
        """Return the records that are on the disk, of those kinds that the model knows."""
        batches = sorted((key for key in self.disk if key.startswith("batch/")), key=lambda key: int(key[6:]))
        return [read(fact[2], fact[3]) for key in batches for fact in self.disk[key] if fact[2] in SHOWN]

    def book(self) -> Book:
        """Return what the model makes of the records; it checks each."""
        book, records, ends = Book(), self.records(), [first for first, _ in self.limits[1:]]
        for (first, limits), end in zip(self.limits, [*ends, None], strict=True):
            book.bounded(limits)
            for record in records[first:end]:
                book.take(record)
        return book

    # What happens.

    async def live(self, lives: int = 3) -> None:
        for life in range(lives):
            if life:
                self.die()
            limits = {name: self.changed(shape) for name, shape in self.shape.items()}
            self.limits.append((len(self.records()), limits))
            self.functions = [bounded(name, one, self.body) for name, one in limits.items()]
            self.tries, self.is_over = Tries(self.book()), False
            self.told.append(f"{self.clock.now():%d %H:%M}: opened with {limits}")
            resident = self.random.choice((0, 10_000))
            store = self.random.choice((DictStore, Slow))(self.disk)
            async with durable.Engine(self.functions, store=store, clock=self.clock, resident=resident) as engine:
                try:
                    await self.check(engine)
                    for _ in range(self.random.randint(1, 14)):
                        await self.act(engine)
                        await self.check(engine)
                    if life == lives - 1:
                        await self.end(engine)
                finally:
                    self.is_over = True
                    for one in self.swallowed & self.working.keys():
                        self.finish(one)

    def changed(self, shape: Limits) -> Limits:
        return shape.counted(lambda: self.random.randint(1, 4))

    def die(self) -> None:
        """Go back to a random append: nothing that came later has happened."""
        number = self.random.choice((self.random.randrange(len(self.disk.taken)), len(self.disk.taken) - 1))
        at, kept = self.disk.taken[number]
        self.told.append(f"died at append {number} of {len(self.disk.taken) - 1}, {at:%d %H:%M}")
        self.clock = VirtualClock(at + MINUTE * self.random.choice((0, 0, 1, 45, 200)))
        self.disk = Disk(kept, self.clock)
        count = len(self.records())
        self.limits = [(first, limits) for first, limits in self.limits if first <= count]

    async def act(self, engine: durable.Engine) -> None:
        act = self.random.choice(ACTS)
        self.told.append(f"{self.clock.now():%d %H:%M}: {act}")
        match act:
            case "send":
                await self.send(engine)
            case "start":
                await self.start(engine, self.random.choice(self.functions))
            case "define":
                await self.define(engine, self.random.choice(NAMES))
            case "pause" | "resume":
                name = self.random.choice(NAMES)
                self.told.append(f"  {name}")
                await (engine.pause(name) if act == "pause" else engine.resume(name))
            case "advance":
                await self.advance(engine, MINUTE * self.random.choice((1, 5, 10, 45, 120)))
            case "cancel" | "retry":
                book = self.book()
                may = book.waiting | book.begun if act == "cancel" else book.failed
                if wanted := [run for run in book.known if run in may]:  # in the same order in each life of the story
                    run = self.random.choice(wanted)
                    self.told.append(f"  {run}")
                    await (engine.cancel(run) if act == "cancel" else engine.retry(run))
            case "end" if self.working:
                one = self.random.choice(list(self.working))
                self.told.append(f"  {one.step} of {one.run}")
                self.finish(one, fails=self.random.random() < 0.2)

    def finish(self, one: Try, *, fails: bool = False) -> None:
        """Let a handler end."""
        future = self.working.pop(one)
        if fails:
            future.set_exception(ValueError("no"))
        else:
            future.set_result(None)

    async def send(self, engine: durable.Engine) -> None:
        name = self.random.choice(NAMES)
        events = [Event(f"go/{name}", self.data()) for _ in range(self.random.randint(1, 6))]
        is_at_rest = True
        for some in [events] if self.random.random() < 0.5 else [[event] for event in events]:
            await self.sent(engine, name, some, is_at_rest)
            if is_at_rest := self.random.random() < 0.5:
                await self.rest(engine)

    async def sent(self, engine: durable.Engine, name: str, events: Sequence[Event], is_at_rest: bool) -> None:
        """Send events at once; what opens is known beforehand unless something moves that may open runs, too."""
        book, now = self.book(), self.clock.now()
        before = len(book.known)
        for event in events:
            has_room, key = book.opens(name, key_of(event.data), now), key_of(event.data)
            self.told.append(f"  {name} {dict(event.data)}: {'opens' if has_room else 'is dropped'}")
            if has_room:
                book.openings.append((name, key, now))
                before += 1
        await engine.send(events)
        assert len(self.book().known) == before or not is_at_rest, "another opening than there must be"

    async def define(self, engine: durable.Engine, name: str) -> None:
        """Define a function anew while its runs wait and run, and start it."""
        limits = {**self.limits[-1][1], name: self.changed(self.shape[name])}
        self.limits.append((len(self.records()), limits))
        self.told.append(f"  {name} with {limits[name]}")
        function = self.functions[NAMES.index(name)] = bounded(name, limits[name], self.body)
        await self.start(engine, function)

    async def start(self, engine: durable.Engine, function: Function[Any]) -> None:
        data = self.data()
        has_room = self.book().opens(function.id, key_of(data), self.clock.now())
        self.told.append(f"  {function.id} {data}: {'opens' if has_room else 'is refused'}")
        try:
            await engine.start(function, data)
        except RateLimitedError:
            assert not has_room, "a start was refused that there is room for"
        else:
            assert has_room, "a start was taken that there is no room for"

    async def advance(self, engine: durable.Engine, by: timedelta) -> None:
        end = self.clock.now() + by
        while (due := self.clock.next_due()) is not None and due <= end:
            self.clock.advance_to(due)
            await self.check(engine)
        self.clock.advance_to(end)

    async def rest(self, engine: durable.Engine) -> None:
        """Wait until nothing moves, or nothing but handlers that are to be told to end."""
        settled, quiet, seen = asyncio.ensure_future(engine.settled()), 0, (-1, -1)
        while not settled.done() and not (self.working and quiet > QUIET):
            now = len(self.disk.taken), self.tries.count
            quiet, seen = (quiet + 1, seen) if now == seen else (0, now)
            await asyncio.sleep(0)
        settled.cancel()
        await asyncio.wait([settled])

    async def check(self, engine: durable.Engine) -> None:
        await self.rest(engine)
        assert not self.too_early, f"a function was called before its start was durable: {self.too_early}"
        book = self.book()
        book.rests(self.clock.now())
        self.tries.rests(book, self.clock.now())
        queued = {info.id for info in await engine.runs(status="queued", limit=10_000)}
        lingering = {one.run for one in self.tries.inside}  # a run that is opened again waits for its handlers to end
        assert queued ^ book.waiting <= lingering, "others are queued than must be"

    async def end(self, engine: durable.Engine) -> None:
        """Let time pass until all runs have ended."""
        self.is_over = True
        for one in list(self.working):
            self.finish(one)
        for name in NAMES:
            await engine.resume(name)
            await self.check(engine)
        for _ in range(5_000):
            book = self.book()
            if not book.waiting | book.begun:
                return
            due = self.clock.next_due()
            assert due is not None, f"for ever unfinished: {sorted(book.waiting | book.begun)}"
            await self.advance(engine, due - self.clock.now())
            await self.check(engine)
        raise AssertionError("the runs come to no end")


if __name__ == "__main__":
    logging.disable()  # of the failures and the drops that are meant
    live_many(
        Story,
        "limits",
        what="Live random stories of functions whose openings, starts, runs and tries are bounded.",
        proven="all openings, starts, runs and tries are within their limits, and in their order",
    )
