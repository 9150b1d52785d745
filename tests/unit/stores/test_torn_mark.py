"""A checkpoint that a loss of power cut short in the page of the mark: the store opens with its `-wal` (R30)."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

import durable
from durable import Context

pytestmark = pytest.mark.anyio
SECTOR = 512


@durable.function(retries=0)
async def one(ctx: Context) -> int:
    return await ctx.step.run("a", lambda: 1)


async def left_behind(folder: Path) -> tuple[Path, int, int]:
    """Return a file with its `-wal` as a dead process leaves them, where the page of the mark is, and its size."""
    store, copy = folder / "store.db", folder / "copy.db"
    for _ in range(2):
        async with durable.Engine([one], store=store) as engine:
            await engine.invoke(one)
    async with durable.Engine([one], store=store) as engine:
        for _ in range(3):
            await engine.invoke(one)
        for suffix in ("", "-wal"):
            shutil.copy(f"{store}{suffix}", f"{copy}{suffix}")
    connection = sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)
    [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'mark'").fetchone()
    [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    return copy, (page - 1) * size, size


async def test_whatever_sectors_of_it_are_missing_the_store_opens_whole(tmp_path: Path) -> None:
    copy, begin, size = await left_behind(tmp_path)
    whole = copy.read_bytes()
    sectors = [(at, at + SECTOR) for at in range(0, size, SECTOR)]
    for first, last in [*sectors, (0, size // 2), (size // 2, size), (0, size)]:
        for filling in (b"\0", b"\xff"):
            torn = tmp_path / f"{first}-{last}-{filling.hex()}.db"
            gone = filling * (last - first)
            torn.write_bytes(whole[: begin + first] + gone + whole[begin + last :])
            shutil.copy(f"{copy}-wal", f"{torn}-wal")
            async with durable.Engine([one], store=torn) as engine:
                assert len(await engine.runs(status="completed")) == 5, torn.name


async def test_a_wal_beside_a_file_that_never_had_a_mark_of_its_own_is_refused(tmp_path: Path) -> None:
    copy, _, _ = await left_behind(tmp_path)
    new = tmp_path / "new.db"
    async with durable.Engine([one], store=new):
        shutil.copy(new, tmp_path / "fresh.db")
    shutil.copy(f"{copy}-wal", tmp_path / "fresh.db-wal")
    with pytest.raises(durable.StoreCorruptError, match="-wal of another file"):
        async with durable.Engine([one], store=tmp_path / "fresh.db"):
            pass
