"""Torture: one run, lived again and again with its process dying at every point.

Separate because it is a test in one call: it needs nothing of the function but the function.
Leaves to `stage` and `actors` a single life, to `stories` what is said when two lives differ.

The first life is undisturbed. Then there is one life for each batch of records, with a crash right after it; one that
is rebuilt from its record after every delivery; one that walks every set the other way round; and, where handlers run
side by side, lives in which these end in other orders, one by one and together, each undisturbed and rebuilt. A process
must ask, between the deliveries that are recorded, for what the one before it asked for, and a run of which all is
recorded must end as it did. A race may go another way in another order, or where a crash cuts it before its winner is
recorded: but it goes that way again when the same is lived again, and chance does not. Where the function looks at a
clock or draws random numbers outside its steps, there are many more lives, with the clocks of the wall moved, since a
coin that decides may fall the same way several times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import attrs

from durable.engine import inside
from durable.errors import RunCancelled, RunFailed
from durable.function import Function
from durable.run import Run
from durable.testing.actors import Memory
from durable.testing.lab import Lab
from durable.testing.places import awaited_line
from durable.testing.sets import ordered_sets
from durable.testing.shifts import shifted
from durable.testing.stage import RUN, Life, Plot, Stage, life_of
from durable.testing.stories import GENERAL, Story, parting, told
from durable.testing.witness import Witness, sets_in

Drive = Callable[[Lab, Run[Any]], Awaitable[object]]
ORDERS = 5
RELIVED = 4
COINS = 40  # a coin falls the same way so often once in 10 ** 12
LOOK_SECONDS = 0.002


@attrs.frozen
class TortureReport:
    """What a function has survived.

    Attributes:
        function: its id.
        ending: how the run ended, in words.
        steps: the steps of the run and of those that derive from it.
        batches: the batches of records that the undisturbed life wrote.
        crashes: the lives with a crash after one batch.
        rebuilds: how often a life was rebuilt from its record after a delivery.
        orders: the other orders in which handlers that run side by side were let end.
        endings: how many different endings there were: 1 where no race decides.
    """

    function: str
    ending: str
    steps: int
    batches: int
    crashes: int
    rebuilds: int
    orders: int
    endings: int

    def __str__(self) -> str:
        races = "" if self.endings == 1 else f", its races with {self.endings} endings"
        return (
            f"{self.function}: {self.steps} steps in {self.batches} batches of records; the same after {self.crashes} "
            f"crashes, {self.rebuilds} rebuilds and in {self.orders} other orders of parallel steps{races}; it "
            f"{self.ending}"
        )


async def torture(
    function: Function[Any],
    data: Mapping[str, Any] | None = None,
    *,
    functions: Iterable[Function[Any]] = (),
    drive: Drive | None = None,
) -> TortureReport:
    """Run a function again and again, with a crash at every point.

    It crashes after every batch of records, is rebuilt after every delivery, and is lived in other orders. Each time
    the result, the keys and the kinds of the steps must be those of the undisturbed life, and no handler of a finished
    step may be called again. Handlers are really called once for each step and try; later lives get what they returned.
    Sleeps are skipped. Clocks, random numbers and sets that decide something fail, and so does I/O outside a step,
    whatever comes of it.

    What it cannot see: a branch to which no life comes; what a clock that only measures (`time.monotonic`,
    `time.perf_counter`, `loop.time`) decides; clocks and random numbers that an installed package asks by itself, or a
    clock that is kept in a class or a container; a condition on the date that holds now and for twenty years; a set
    that is walked in a package or in a method of a class, unless it holds tasks; I/O of a package written in C, or that
    a package does for reasons of its own (time zones, certificates). While another profiler is at work, clocks, random
    numbers and I/O are not looked for.

    Args:
        function: what to run; `data`: what to start it with.
        functions: others that it invokes, or that its events open.
        drive: `async def drive(lab, run)`: sends the events that the function waits for, through the Lab's methods. It
            is called in every life; a call that a crash interrupts is made again.

    Raises:
        AssertionError: it is not deterministic: the message is the shortest story that shows it.
        StuckError: it waits for something that nobody sends.
    """
    others = list(functions)
    with ordered_sets([function, *others]):
        return await _Torture(function, data, others, drive).inflict()


class _Torture:
    def __init__(
        self,
        function: Function[Any],
        data: Mapping[str, Any] | None,
        functions: list[Function[Any]],
        drive: Drive | None,
    ) -> None:
        self._function = function
        self._data = data
        self._functions = functions
        self._drive = drive
        self._memory = Memory()
        self._witness = Witness()
        self._rebuilds = 0
        self._endings: set[tuple[str, str]] = set()

    async def inflict(self) -> TortureReport:
        first = await self._first()
        for batch in range(1, first.batches + 1):
            await self._compare(first, await self._live(Plot(dies_after=batch)))
        await self._rebuild(first)
        await self._compare(first, await self._live(Plot(flipped=1)))
        orders = await self._orders() if self._memory.parallel > 1 else 0
        if self._witness.sights:
            await self._toss_coins(first)
        return TortureReport(
            function=self._function.id,
            ending=first.ending[0],
            steps=len(first.steps),
            batches=first.batches,
            crashes=first.batches,
            rebuilds=self._rebuilds,
            orders=orders,
            endings=len(self._endings),
        )

    async def _first(self) -> Life:
        with self._witness.watching():
            first = await self._live(Plot(), looking=True)
        await self._compare(first, first)
        harmful = [sight for sight in self._witness.sights if sight.does_harm]
        if harmful:
            self._fail(first, Story(f"  what it does at {harmful[0].line} is not recorded: it is done at every replay"))
        return first

    async def _rebuild(self, first: Life) -> None:
        often = 1 if first.plot.order is None else 1 + first.batches // 12
        life = await self._live(attrs.evolve(first.plot, rebuilds=often))
        self._rebuilds += life.crashes
        await self._compare(first, life)

    async def _orders(self) -> int:
        for order in range(ORDERS):
            plot = Plot(order=order, together=order % 2 == 1)
            live = await self._live(plot)
            await self._compare(live, live)
            await self._compare(live, await self._live(attrs.evolve(plot, dies_after=max(1, live.batches - 1))))
            await self._rebuild(live)
        return ORDERS

    async def _toss_coins(self, first: Life) -> None:
        cells = [cell for one in (self._function, *self._functions) for cell in one.code.__closure__ or ()]
        for number in range(COINS):
            # From a second over hours to twenty years.
            with shifted(0.5 + 7.3 * number**5, self._witness.namespaces.values(), cells):
                life = await self._live(Plot(dies_after=max(1, first.batches - 1)))
            story = parting(first, life)
            if story is not None and self._memory.parallel <= 1 and len(self._endings) == 1:
                self._fail(life, story)  # nothing has raced so far: it is the clock that decides
            await self._compare(first, life)

    async def _live(self, plot: Plot, *, looking: bool = False) -> Life:
        stage = Stage([self._function, *self._functions], plot, self._memory)
        async with stage:
            looker = asyncio.ensure_future(_look(stage)) if looking else None
            try:
                await self._play(stage)
            finally:
                if looker is not None:
                    looker.cancel()
                    await asyncio.wait([looker])
            if plot.dies_after and not stage.crashes:
                await stage.crash()
            return life_of(stage)

    async def _play(self, stage: Stage) -> None:
        run = await stage.start(self._function, self._data, id=RUN)
        if self._drive is not None:
            await self._drive(stage, run)
        try:
            await stage.result(run)
        except (RunFailed, RunCancelled):
            pass

    async def _compare(self, first: Life, life: Life) -> None:
        self._endings.add(life.ending)
        story = parting(first, life)
        if story is not None and not (story.may_be_race and await self._is_race(first, life)):
            self._fail(life, story)

    async def _is_race(self, first: Life, life: Life) -> bool:
        """Say whether a life that went another way does so each time: then a crash has cut a race, whose winner had not
        been recorded. Chance, clocks and sets go now this way, now that."""
        # Not by the number of the batch: a machine that stands still for a moment joins two, or parts one in two.
        recorded = set(life.died_at)
        was_whole = set(first.finished) <= recorded or set(life.finished) <= recorded
        if life.plot.dies_after is not None and len(first.opened) == 1 and was_whole:
            return False  # all but the end was recorded: no crash has cut anything
        for flipped in range(1, RELIVED + 1):
            again = await self._live(attrs.evolve(life.plot, flipped=flipped))
            if again.signature != life.signature and not _died_elsewhere(life, again):
                return False
        return True

    def _fail(self, life: Life, story: Story) -> None:
        title = f"function {self._function.id!r} is not deterministic: {life.plot}, it goes on differently"
        if story.title:
            title = f"function {self._function.id!r} is not deterministic: {story.title}"
        elif life.plot == Plot():
            title = f"function {self._function.id!r} does something outside its steps"
        sights = self._witness.sights
        if (life.plot.flipped or not sights) and story.remedy == GENERAL:
            sights += [sight for function in (self._function, *self._functions) for sight in sets_in(function.code)]
        raise AssertionError(told(title, story, sights))


def _died_elsewhere(life: Life, again: Life) -> bool:
    """Say whether a life that was lived again died at another point of the same story, and so shows nothing."""
    earlier, later = sorted((life, again), key=lambda one: len(one.died_at))
    same = len(earlier.died_at)
    # One in which nothing was left to be done died where no other could have gone on.
    return same < len(later.died_at) and earlier.died_at == later.died_at[:same] and len(earlier.finished) > same


async def _look(stage: Stage) -> None:
    """Look now and then for a function that awaits something and has no step pending."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for session in list(inside(stage.engine, "torture").scheduler.sessions.values()):
            if session.delivery.is_quiet and not session.calls and not session.refused and not session.main.done():
                stage.actors.lived.outside.append(f"at {awaited_line(session.main)}")
