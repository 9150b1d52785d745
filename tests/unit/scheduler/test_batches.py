"""Runs that step side by side share batches: what those post who are told of one joins the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import durable
from durable import Context, DictStore, Engine, Entry
from durable.stores.store import Kept

STEPS, RUNS = 20, 40
TAKES = 300  # rounds of the loop: longer than it takes until all that was told has gone on


class Slow(DictStore):
    """A store whose batches take many rounds of the loop."""

    immediate = False

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0
        self.is_busy = False

    def submit(self, entries: Sequence[Entry], told: Kept) -> None:
        assert not self.is_busy, "one batch at a time"
        self.is_busy = True
        self.batches += 1
        after_rounds(TAKES, lambda: self._end(entries, told))

    def _end(self, entries: Sequence[Entry], told: Kept) -> None:
        self.keep(entries)
        self.is_busy = False
        told(None)


def after_rounds(count: int, act: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    if count:
        loop.call_soon(after_rounds, count - 1, act)
    else:
        act()


async def one() -> int:
    return 1


@durable.function
async def steps(ctx: Context) -> int:
    return sum([await ctx.step.run("one", one) for _ in range(STEPS)])


def test_runs_that_began_one_after_the_other_come_to_share_their_batches() -> None:
    """Two groups would else take turns for ever, each with half of the runs in its batches."""

    async def main() -> None:
        store = Slow()
        async with Engine([steps], store=store) as engine:
            before = store.batches
            first = asyncio.gather(*[engine.invoke(steps) for _ in range(RUNS)])
            while not store.is_busy:
                await asyncio.sleep(0)
            second = asyncio.gather(*[engine.invoke(steps) for _ in range(RUNS)])
            assert await first + await second == [STEPS] * 2 * RUNS
            # One for each step, and a few for the beginnings and the ends.
            assert store.batches - before <= STEPS + 4

    asyncio.run(main())
