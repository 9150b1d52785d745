"""An inbox that was damaged is mended beside a live engine: nothing is lost by that, and nothing taken twice."""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import durable
from durable.engine.opened import inside
from durable.testing import VirtualClock
from tests.proof.crashes.senders import events, hears, listen, made, openings, paid, sent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


def damage(inbox: str) -> None:
    Path(inbox).write_bytes(b"no inbox" * 1_000)


@pytest.mark.parametrize("is_missed", [False, True], ids=["at once", "after a look that found none"])
def test_a_copy_in_the_place_of_a_damaged_inbox_brings_nothing_twice(path: Path, is_missed: bool) -> None:
    inbox, copy = f"{path}.inbox", f"{path}.copy"
    clock = VirtualClock(datetime.now(UTC) + timedelta(days=1))

    async def story() -> list[int]:
        heard = listen()
        async with durable.Engine([paid], store=path, clock=clock) as engine:

            async def is_ok(wanted: bool) -> None:
                clock.advance("30s")
                while (await engine.health()).is_ok is not wanted:
                    await asyncio.sleep(0.001)

            assert await hears(heard, 1) == [1]
            while not inside(engine, "a test").receiver._is_level:  # it has seen the inbox empty, after its message
                await asyncio.sleep(0.001)
            damage(inbox)
            await is_ok(False)
            os.remove(inbox)
            if is_missed:
                await is_ok(True)
            os.replace(copy, inbox)
            await is_ok(True)
            await durable.Sender(path).send("shop/paid", {"n": 2})
            return await hears(heard, 1)

    sent(path, *events(1))
    shutil.copy(inbox, copy)
    assert asyncio.run(story()) == [2]
    assert set(openings(path).values()) == {1} and len(openings(path)) == 2
