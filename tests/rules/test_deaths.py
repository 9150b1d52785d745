"""Runs that take their process down with them, and the innocent beside them (rule R26)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, RunFailed
from durable.engine.opened import inside
from durable.scheduler import recovery


class Morgue:
    """A store that outlives its processes; each life is an engine that ends without closing."""

    def __init__(self, *functions: durable.Function[Any], max_crashes: int = 10) -> None:
        self.store = DictStore()
        self.functions = functions
        self.max_crashes = max_crashes

    @asynccontextmanager
    async def life(self, *, dies: bool = True) -> AsyncIterator[Engine]:
        self.store = DictStore(self.store.mapping)
        engine = Engine(self.functions, store=self.store, max_crashes=self.max_crashes)
        await engine.open()
        yield engine
        if dies:
            await inside(engine, "death").abandon()
        else:
            await engine.close()


class Work:
    """Handlers that never end: who called one, and a bell for it."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.bell = asyncio.Event()

    async def hang(self, name: str) -> None:
        self.called.append(name)
        self.bell.set()
        await asyncio.get_running_loop().create_future()

    async def begun(self, *runs: durable.Run[Any]) -> bool:
        """Wait until a handler has begun, or a run has ended; say whether one has begun."""
        ends = [asyncio.create_task(run.result()) for run in runs]
        rings = asyncio.create_task(self.bell.wait())
        await asyncio.wait([rings, *ends], return_when=asyncio.FIRST_COMPLETED)
        for task in (rings, *ends):
            task.cancel()
        await asyncio.gather(rings, *ends, return_exceptions=True)
        begun = self.bell.is_set()
        self.bell.clear()
        return begun


def hanging(work: Work) -> durable.Function[Any]:
    @durable.function()
    async def hangs(ctx: Context) -> None:
        await ctx.step.run("hang", work.hang, ctx.run_id)

    return hangs


@pytest.mark.parametrize("max_crashes", [1, 4, 10])
def test_a_run_that_kills_its_process_again_and_again_fails_and_says_so(max_crashes: int) -> None:
    """R26: after `max_crashes` unclean deaths in a row it fails, and its handler is not called again."""
    work = Work()
    f = hanging(work)

    async def story() -> None:
        morgue = Morgue(f, max_crashes=max_crashes)
        async with morgue.life() as engine:
            await engine.start(f, id="r")
            assert await work.begun()
        for _ in range(max_crashes - 1):
            async with morgue.life() as engine:
                assert await work.begun(await engine.run("r"))
        async with morgue.life() as engine:
            assert not await work.begun(await engine.run("r"))
            with pytest.raises(RunFailed, match=f"calling a handler at {max_crashes} unclean deaths.*engine.retry"):
                await engine.result("r")
        assert len(work.called) == max_crashes

    asyncio.run(story())


def test_clean_closes_never_count() -> None:
    """R26: only unclean deaths do, also when both come in turns."""
    work = Work()
    f = hanging(work)

    async def story() -> None:
        morgue = Morgue(f, max_crashes=3)
        async with morgue.life(dies=False) as engine:
            await engine.start(f, id="r")
            assert await work.begun()
        for life in range(8):
            async with morgue.life(dies=life == 6) as engine:
                assert await work.begun(await engine.run("r"))

    asyncio.run(story())


def test_one_record_since_the_death_begins_the_count_anew() -> None:
    """R26: deaths in a row at which not one record came of it since."""
    work = Work()

    @durable.function()
    async def ticks(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step.run("hang", work.hang, ctx.run_id))
            while True:
                await ctx.step.wait_for_event("tick", event="tick", timeout="9d")

    async def story() -> None:
        morgue = Morgue(ticks, max_crashes=3)
        for _ in range(8):
            async with morgue.life() as engine:
                run = await engine.start(ticks, id="r")
                assert await work.begun(run)
                while not (await run.info()).waiting_for:
                    await asyncio.sleep(0)
                await engine.send("tick")

    asyncio.run(story())


def test_sleeping_and_waiting_runs_never_count() -> None:
    """R26: a run that only waits is at no death's side, however many there are."""

    @durable.function()
    async def waits(ctx: Context) -> Any:
        await ctx.step.run("before", lambda: None)
        event, _ = await asyncio.gather(
            ctx.step.wait_for_event("w", event="e", timeout="1d"), ctx.step.sleep("s", "0s")
        )
        return event and event.name

    async def story() -> None:
        morgue = Morgue(waits, max_crashes=2)
        async with morgue.life() as engine:
            await engine.start(waits, id="r")
            await engine.settled()
        for _ in range(6):
            async with morgue.life() as engine:
                await engine.settled()
        async with morgue.life() as engine:
            await engine.send("e")
            assert await engine.result("r") == "e"

    asyncio.run(story())


def test_a_handler_that_came_due_after_the_death_has_killed_nobody_yet() -> None:
    """R26: a death at which a run waited is not counted on what it calls afterwards."""
    work = Work()

    @durable.function()
    async def waits_first(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="go", timeout="9d")
        await ctx.step.run("hang", work.hang, ctx.run_id)

    async def story() -> None:
        morgue = Morgue(waits_first, max_crashes=2)
        async with morgue.life() as engine:
            await engine.start(waits_first, id="r")
            await engine.settled()
        async with morgue.life() as engine:
            await engine.send("go")
            assert await work.begun(await engine.run("r"))
        for has_begun in (True, False):
            async with morgue.life() as engine:
                assert await work.begun(await engine.run("r")) == has_begun

    asyncio.run(story())


def test_from_the_third_death_on_suspects_run_one_at_a_time() -> None:
    """R26: two runs whose handlers hang; only one of them is called then, and only it is counted on."""
    work = Work()
    f = hanging(work)

    async def story() -> None:
        morgue = Morgue(f)
        called = []
        for _ in range(16):
            async with morgue.life() as engine:
                for name in ("a", "b"):
                    await engine.start(f, id=name)
                await work.begun()
                for _ in range(200):
                    await asyncio.sleep(0)
                called.append(sorted(work.called))
                del work.called[:]
        assert called[:3] == [["a", "b"]] * 3
        # The one that was resumed last goes first: it is the likelier killer.
        assert called[3:10] == [["b"]] * 7
        assert called[10:] == [["a"]] * 6

    asyncio.run(story())


def test_the_innocent_beside_a_killer_end_well() -> None:
    """R26: each is resumed alone until its first record; only the killer fails."""
    killer = asyncio.Event()

    async def kills() -> None:
        killer.set()
        await asyncio.get_running_loop().create_future()

    async def takes_a_while() -> str:
        for _ in range(30):
            await asyncio.sleep(0)
        return "well"

    @durable.function()
    async def poison(ctx: Context) -> None:
        await ctx.step.run("kill", kills)

    @durable.function()
    async def innocent(ctx: Context) -> str:
        return await ctx.step.run("work", takes_a_while)

    async def story() -> None:
        morgue = Morgue(poison, innocent)
        names = [f"innocent {number}" for number in range(4)]
        deaths = 0
        while True:
            async with morgue.life() as engine:
                runs = [await engine.start(innocent, id=name) for name in names[:2]]
                bad = await engine.start(poison, id="poison")
                runs += [await engine.start(innocent, id=name) for name in names[2:]]
                results = asyncio.gather(*(run.result() for run in (bad, *runs)), return_exceptions=True)
                death = asyncio.create_task(killer.wait())
                await asyncio.wait([results, death], return_when=asyncio.FIRST_COMPLETED)
                died = killer.is_set()
                death.cancel()
                if not died:
                    break
                results.cancel()
                await asyncio.gather(results, death, return_exceptions=True)
                killer.clear()
            deaths += 1
            assert deaths < 40
        fate, *others = await results
        assert isinstance(fate, RunFailed)
        assert others == ["well"] * len(names)

    asyncio.run(story())


def test_a_suspect_that_outlives_its_time_lets_the_next_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """R26: each until its first record or 10 s; and who does not run alone is not counted on."""
    monkeypatch.setattr(recovery, "ALONE_SECONDS", 0.0)
    work = Work()
    f = hanging(work)

    async def story() -> None:
        morgue = Morgue(f, max_crashes=4)
        for _ in range(12):
            async with morgue.life() as engine:
                for name in ("a", "b"):
                    await engine.start(f, id=name)
                while len(work.called) < 2:
                    await work.begun()
                assert sorted(work.called) == ["a", "b"]
                del work.called[:]

    asyncio.run(story())
