"""What a clean close leaves: the journal is drained into the store before that is closed (R26, R30)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

import durable
from durable import Context, Engine
from durable.stores.file.store import FileReader, FileStore
from durable.stores.store import Entry


class Slow(FileStore):
    """A file whose appends begin late: what nobody waits for is not there when it is closed."""

    async def append(self, entries: Sequence[Entry]) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        await super().append(entries)


async def _kept(path: Path) -> list[Entry]:
    """Return what the next opener will fold."""
    async with FileReader(path) as reader:
        return [entry async for entry in reader.unfinished(datetime.now(UTC))]


@pytest.mark.parametrize("kind", [FileStore, Slow])
def test_a_clean_close_is_the_last_that_the_next_opener_reads(tmp_path: Path, kind: type[FileStore]) -> None:
    """R26: only so does it know that nobody died."""

    async def story() -> None:
        for count in range(1, 4):
            async with Engine([], store=kind(tmp_path / "x.db", durability="none")):
                pass
            assert [entry.kind for entry in await _kept(tmp_path / "x.db")] == ["EngineClosed"] * count

    asyncio.run(story())


def test_a_run_that_was_in_a_handler_at_clean_closes_is_never_taken_for_a_crash(tmp_path: Path) -> None:
    """R26: `max_crashes` counts deaths, and a close is none."""
    called: list[int] = []

    @durable.function("go")
    async def waits(ctx: Context) -> str:
        async def handler() -> str:
            called.append(len(called))
            if len(called) <= 4:
                begun.set()
                await asyncio.Event().wait()
            return "done"

        return await ctx.step.run("handler", handler)

    async def life(number: int) -> str | None:
        store = Slow(tmp_path / "x.db", durability="none")
        async with Engine([waits], store=store, max_crashes=2) as engine:
            run = await engine.start(waits, id="r")
            if number < 4:
                await begun.wait()
                begun.clear()
                return None
            return await run.result()

    async def story() -> list[str | None]:
        return [await life(number) for number in range(5)]

    begun = asyncio.Event()
    assert asyncio.run(story()) == [None, None, None, None, "done"]
    assert called == [0, 1, 2, 3, 4]


def test_what_was_posted_right_before_the_close_is_there(tmp_path: Path) -> None:
    """R30: a close loses nothing that the engine took."""

    async def story() -> None:
        engine = Engine([], store=Slow(tmp_path / "x.db", durability="none"))
        await engine.open()
        sending = [asyncio.ensure_future(engine.send("e", {"n": n}, id=f"e{n}")) for n in range(3)]
        await asyncio.sleep(0)
        await engine.close()
        kinds = [entry.kind for entry in await _kept(tmp_path / "x.db")]
        assert kinds == [*["EventSent"] * 3, "EngineClosed"]
        await asyncio.gather(*sending)

    asyncio.run(story())
