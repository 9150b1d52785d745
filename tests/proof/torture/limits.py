"""Live random stories of bounded functions: sends, ends, deaths and changed limits, beside a model of what may begin.

Separate because the generated workflows of `workflows` run one at a time: nobody waits there for a slot or a start.
Leaves to `counting` the model of limits, which reads the records of the story, and shares no code with the rules.

`python -m tests.proof.torture.limits` lives a thousand stories; the suite lives some. A story dies at a random append:
what was written later is gone, as if it had never happened.
"""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import durable
from durable import Concurrency, Context, DictStore, Function, Priority, RateLimit, RateLimitedError, Throttle
from durable.journal.codec.write import read
from durable.testing.clock import VirtualClock
from tests.proof.torture.counting import Book, Limits, Most, Slots, key_of
from tests.proof.torture.stories import live_many

START = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NAMES = ("one", "two")
KEY = "event.data.k"
SHOWN = ("RunOpened", "RunAdmitted", "RunClosed", "RunRetried", "FunctionPaused", "FunctionResumed")
ACTS = ("send", "send", "send", "start", "define", "pause", "resume", "advance", "advance", "cancel", "retry")


class Disk(dict[str, Any]):
    """A mapping for a DictStore that remembers what it was after each write, and when that was."""

    def __init__(self, begun_with: dict[str, Any], clock: VirtualClock) -> None:
        super().__init__(begun_with)
        self.clock = clock
        self.taken = [(clock.now(), begun_with)]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.taken.append((self.clock.now(), dict(self)))


class Story:
    """A story is a row of lives over one disk; each bounds the functions in its own way, by the same keys."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.told = list[str]()
        self.shape = {name: self.shaped() for name in NAMES}
        self.clock = VirtualClock(START)
        self.disk = Disk({}, self.clock)
        self.limits: list[tuple[int, dict[str, Limits]]] = []  # each from so many records on
        self.too_early = list[str]()  # runs whose function was called before that was recorded
        self.functions: list[Function[Any]] = []

    def shaped(self) -> Limits:
        """Choose what a function bounds, and by which keys and periods; how many is up to each life."""
        chance, either = self.random.random, lambda: self.random.random() < 0.5
        period = MINUTE * self.random.choice((10, 60, 90))
        slots = [Slots(1, shared, shared or either()) for shared in (False, True) if chance() < 0.45]
        throttle = Most(1, period, either(), self.random.choice((None, 1, 2, 3))) if either() else None
        return Limits(
            rate=Most(1, period * 2, either()) if chance() < 0.3 else None,
            throttle=throttle if slots else throttle or Most(1, period, either()),
            slots=tuple(slots),
            has_priority=either(),
        )

    def bounded(self, name: str, limits: Limits) -> Function[Any]:
        """Return the function as the next life declares it."""
        rate, throttle = limits.rate, limits.throttle

        @durable.function(
            f"go/{name}",
            id=name,
            retries=0,
            rate_limit=rate and RateLimit(rate.limit, rate.period, key=KEY if rate.keyed else None),
            throttle=throttle
            and Throttle(throttle.limit, throttle.period, key=KEY if throttle.keyed else None, burst=throttle.burst),
            concurrency=[
                Concurrency(
                    slots.limit,
                    key=KEY if slots.keyed else None,
                    scope="engine" if slots.shared else "function",
                    counts="runs",
                )
                for slots in limits.slots
            ]
            or None,
            priority=Priority("event.data.p") if limits.has_priority else None,
        )
        async def function(ctx: Context) -> None:
            self.called(ctx.run_id)
            await ctx.step.run("work", lambda: None)
            if ctx.event.data["minutes"]:
                await ctx.step.sleep("rest", MINUTE * ctx.event.data["minutes"])
            if ctx.event.data["fails"]:
                raise durable.NonRetriableError("as it was told")

        return function

    def called(self, run: str) -> None:
        if run not in self.book().begun:
            self.too_early.append(run)

    def records(self) -> list[Any]:
        """Return the records that are on the disk, of those kinds that tell of starts and ends."""
        batches = sorted((key for key in self.disk if key.startswith("batch/")), key=lambda key: int(key[6:]))
        return [read(fact[2], fact[3]) for key in batches for fact in self.disk[key] if fact[2] in SHOWN]

    def book(self) -> Book:
        """Return what the model makes of the records; it checks each."""
        book, records, ends = Book(), self.records(), [first for first, _ in self.limits[1:]]
        for (first, limits), end in zip(self.limits, [*ends, None], strict=True):
            book.limits = limits
            for record in records[first:end]:
                book.take(record)
        return book

    async def live(self, lives: int = 4) -> None:
        for life in range(lives):
            if life:
                self.die()
            limits = {name: self.changed(shape) for name, shape in self.shape.items()}
            self.limits.append((len(self.records()), limits))
            self.functions = [self.bounded(name, one) for name, one in limits.items()]
            self.told.append(f"{self.clock.now():%d %H:%M}: opened with {limits}")
            resident = self.random.choice((0, 10_000))
            store = DictStore(self.disk)
            async with durable.Engine(self.functions, store=store, clock=self.clock, resident=resident) as engine:
                await self.check(engine)
                for _ in range(self.random.randint(1, 10)):
                    await self.act(engine)
                    await self.check(engine)
                if life == lives - 1:
                    await self.end(engine)

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
                    await (engine.cancel(run) if act == "cancel" else engine.retry(run))

    def data(self) -> dict[str, Any]:
        data = {
            "p": self.random.choice((0, 0, 30, -60, 1_000, "much")),
            "minutes": self.random.choice((0, 0, 3, 10, 100)),
            "fails": self.random.random() < 0.1,
        }
        return data if self.random.random() < 0.1 else {**data, "k": self.random.choice(("a", "a", 1, 1.0, "1", True))}

    async def send(self, engine: durable.Engine) -> None:
        name, book = self.random.choice(NAMES), self.book()
        for _ in range(self.random.randint(1, 6)):
            data = self.data()
            has_room = book.opens(name, key_of(data), self.clock.now())
            self.told.append(f"  {name} {data}: {'opens' if has_room else 'is dropped'}")
            await engine.send(f"go/{name}", data)
            before, book = book, self.book()
            assert len(book.known) - len(before.known) == has_room, "another opening than there must be"
            if self.random.random() < 0.3:
                await engine.settled()

    async def define(self, engine: durable.Engine, name: str) -> None:
        """Define a function anew while its runs wait and run, and start it."""
        limits = {**self.limits[-1][1], name: self.changed(self.shape[name])}
        self.limits.append((len(self.records()), limits))
        self.told.append(f"  {name} with {limits[name]}")
        function = self.functions[NAMES.index(name)] = self.bounded(name, limits[name])
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

    async def check(self, engine: durable.Engine) -> None:
        await engine.settled()
        assert not self.too_early, f"a function was called before its start was durable: {self.too_early}"
        book = self.book()
        book.rests(self.clock.now())
        queued = {info.id for info in await engine.runs(status="queued", limit=10_000)}
        assert queued == book.waiting, "others are queued than must be"

    async def end(self, engine: durable.Engine) -> None:
        """Let time pass until all runs have ended."""
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
        what="Live random stories of functions whose openings, starts and runs are bounded.",
        proven="all openings and starts are within their limits, and in their order",
    )
