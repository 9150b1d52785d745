"""An opening puts off the collection of old objects, and leaves the collector as it was."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime

import pytest

import durable
from durable import DictStore, Engine, StoreError
from durable.engine.collecting import collecting_seldom
from durable.stores.store import Entry

pytestmark = pytest.mark.anyio

USUAL = (701, 11, 12)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)


class Asked(DictStore):
    """A store that calls back while recovery reads it."""

    def __init__(self, asked: Callable[[], object]) -> None:
        super().__init__()
        self.asked = asked

    async def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        self.asked()
        await asyncio.sleep(0)
        async for entry in super().unfinished(now):
            yield entry


@durable.function
async def work(ctx: durable.Context) -> None: ...


async def test_old_objects_are_not_looked_through_while_a_store_is_opened() -> None:
    seen: list[tuple[int, int, int]] = []
    async with Engine([work], store=Asked(lambda: seen.append(gc.get_threshold()))):
        assert gc.get_threshold() == USUAL
    assert seen[0][:2] == USUAL[:2] and seen[0][2] >= 100_000


async def test_the_collector_is_as_before_when_an_opening_fails() -> None:
    def fail() -> None:
        raise StoreError("it cannot be read")

    with pytest.raises(StoreError):
        await Engine([work], store=Asked(fail)).open()
    assert gc.get_threshold() == USUAL


async def test_the_collector_is_as_before_when_an_opening_is_cancelled() -> None:
    reading = asyncio.Event()
    engine = Engine([work], store=Asked(reading.set))
    opening = asyncio.ensure_future(engine.open())
    await reading.wait()
    assert gc.get_threshold() != USUAL
    opening.cancel()
    await asyncio.wait([opening])
    await engine.close()
    assert gc.get_threshold() == USUAL


async def test_the_last_of_several_openings_leaves_the_collector_as_it_was() -> None:
    with collecting_seldom():
        async with Engine([work]):
            assert gc.get_threshold() != USUAL
    assert gc.get_threshold() == USUAL


async def test_what_a_program_asks_of_the_collector_meanwhile_stays() -> None:
    with collecting_seldom():
        gc.set_threshold(0)
    assert gc.get_threshold()[0] == 0


FORKED = """
import gc, os, sys
from durable.engine.collecting import collecting_seldom

usual = gc.get_threshold()
with collecting_seldom():
    child = os.fork()
    if not child:
        is_usual = gc.get_threshold() == usual
        with collecting_seldom():
            is_seldom = gc.get_threshold() != usual
        os._exit(0 if is_usual and is_seldom and gc.get_threshold() == usual else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_that_is_forked_meanwhile_has_the_collector_as_it_was() -> None:
    assert subprocess.run([sys.executable, "-c", FORKED], timeout=60).returncode == 0
