"""Run a function again and again, with a crash at every point.

Separate because it is a whole test in one call, for which only the function is needed.
Leaves to `lives` and `handlers` a single life, to `stories` the message when two lives differ.

A life is one execution of a run from its beginning to its end, with its crashes. The first life is undisturbed. Then
there is one life for each batch of records, with a crash right after the batch; one that is rebuilt from its record
after every delivery; and one that iterates every set in the opposite order. If handlers run side by side, there are
lives in which they end in other orders, one by one and together, each undisturbed and rebuilt.

Between two recorded deliveries, a process must ask for the same steps as the process before it. A run that is recorded
completely must end as it did. A race may have another winner in another order, or after a crash that came before its
winner was recorded. But then it has that winner each time the same life is repeated, which chance has not. If the
function reads a clock or draws random numbers outside its steps, there are many more lives, with the wall clocks
shifted, since a random decision may turn out the same several times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import attrs

from durable.engine import Run, inside
from durable.errors import RunCancelled, RunFailed
from durable.functions import Function, check_function
from durable.testing.lab import Lab
from durable.testing.source_lines import awaited_line
from durable.testing.torture.handlers import Memory
from durable.testing.torture.later import shifted
from durable.testing.torture.lives import RUN, Life, Plot, Stage, life_of
from durable.testing.torture.outside import Witness, sets_in
from durable.testing.torture.set_order import ordered_sets
from durable.testing.torture.stories import GENERAL, OUTSIDE, Story, parting, told

Drive = Callable[[Lab, Run[Any]], Awaitable[object]]
ORDERS = 5
RELIVED = 4
COINS = 40  # the chance that a coin falls the same way so often is 1 in 10 ** 12
LOOK_SECONDS = 0.002


@attrs.frozen
class TortureReport:
    """A torture report says what a function has survived.

    Attributes:
        function: the function's id.
        ending: how the run ended, in words.
        steps: the number of steps, of the run and of runs that derive from it.
        batches: the number of batches of records that the undisturbed life wrote.
        crashes: the number of lives with a crash after one batch.
        rebuilds: how often a life was rebuilt from its record after a delivery.
        orders: the number of other orders in which handlers that run side by side were made to end.
        endings: the number of different endings: 1 if no race decides the ending.
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

    The run crashes after every batch of records, is rebuilt after every delivery, and is repeated with handlers ending
    in other orders. Each time the result, the keys and the kinds of the steps must be those of the undisturbed run, and
    no handler of a finished step may be called again. Handlers are really called once for each step and try; later runs
    get what they returned. Sleeps are skipped. The test fails if clocks, random numbers or the order of a set decide
    something. It also fails for any I/O outside a step.

    It cannot see:
    - code that none of the runs reaches;
    - decisions by a clock that only measures (`time.monotonic`, `time.perf_counter`, `loop.time`);
    - clocks and random numbers that an installed package reads by itself, or a clock kept in a class or a container;
    - a condition on the date that holds now and for twenty years;
    - a set that is iterated in a package or in a method of a class, unless it holds tasks;
    - I/O of a package written in C, or I/O that a package does for itself (time zones, certificates);
    - clocks, random numbers and I/O while another profiler is active.

    Args:
        function: the function to run.
        data: the data of the event that opens the run.
        functions: other functions that this one invokes, or that its events open.
        drive: `async def drive(lab, run)`; it sends the events that the function waits for, through the Lab's methods.
            It is called for every run; a call that a crash interrupts is made again.

    Raises:
        AssertionError: the function is not deterministic. The message is the shortest story that shows it.
        StuckError: the function waits for something that is never sent.
    """
    check_function(function, "torture")
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
            text = f"  what it does at {harmful[0].line} is not recorded: it is done at every replay"
            self._fail(first, Story(text, title=OUTSIDE))
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
            # The shifts grow from half a second over hours to twenty years.
            with shifted(0.5 + 7.3 * number**5, self._witness.namespaces.values(), cells):
                life = await self._live(Plot(dies_after=max(1, first.batches - 1)))
            story = parting(first, life)
            if story is not None and self._memory.parallel <= 1 and len(self._endings) == 1:
                self._fail(life, story)  # no race so far, so the clock decides
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
        """Return whether a life that went differently does so each time.

        Then a crash has cut a race whose winner was not recorded yet. Chance, clocks and sets vary instead.
        """
        # Lives are not compared by the number of the batch: a slow moment of the machine joins two batches or splits
        # one.
        recorded = set(life.died_at)
        was_whole = set(first.finished) <= recorded or set(life.finished) <= recorded
        if life.plot.dies_after is not None and len(first.opened) == 1 and was_whole:
            return False  # all but the end was recorded: the crash cannot have cut a race
        for flipped in range(1, RELIVED + 1):
            again = await self._live(attrs.evolve(life.plot, flipped=flipped))
            if again.signature != life.signature and not _died_elsewhere(life, again):
                return False
        return True

    def _fail(self, life: Life, story: Story) -> None:
        differs = f"is not deterministic: {life.plot}, it goes on differently"
        title = f"function {self._function.id!r} {story.title or differs}"
        sights = self._witness.sights
        if (life.plot.flipped or not sights) and story.remedy == GENERAL:
            sights += [sight for function in (self._function, *self._functions) for sight in sets_in(function.code)]
        raise AssertionError(told(title, story, sights))


def _died_elsewhere(life: Life, again: Life) -> bool:
    """Return whether a repeated life died at another point of the same course.

    Then a comparison of the two shows nothing.
    """
    earlier, later = sorted((life, again), key=lambda one: len(one.died_at))
    same = len(earlier.died_at)
    # If the earlier one had nothing left to do, the other could not have gone on from there.
    return same < len(later.died_at) and earlier.died_at == later.died_at[:same] and len(earlier.finished) > same


async def _look(stage: Stage) -> None:
    """Look regularly for a function that awaits something without a pending step."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for session in list(inside(stage.engine, "torture").scheduler.sessions.values()):
            if session.delivery.is_quiet and not session.calls and not session.refused and not session.main.done():
                stage.actors.lived.outside.append(f"at {awaited_line(session.main)}")
