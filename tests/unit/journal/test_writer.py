"""The journal's own end: after its last record nothing is posted, on whatever way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from durable import DictStore, Event, StoreError
from durable.journal import EngineClosed, Journal, Ok, RunOpened, State

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
OPENED = RunOpened("r", "f", Event("e", {}, "i", NOON), NOON)
OPENED_LATE = RunOpened("late", "f", Event("e", {}, "j", NOON), NOON)
WAYS: dict[str, Callable[[Journal, State], object]] = {
    "post": lambda journal, state: journal.post(OPENED_LATE),
    "post at once": lambda journal, state: journal.post(OPENED_LATE, at_once=True),
    "post_all": lambda journal, state: journal.post_all(iter([OPENED_LATE])),
    "close_step": lambda journal, state: journal.close_step(
        state.ledgers["r"], "s", "run", Ok("1", False), None, NOON, 1, NOON, lambda turn, number: None
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_after_the_last_record_nothing_is_posted(way: str) -> None:
    """R31: the one who asks is told, and the store is as the close left it."""

    async def story() -> None:
        store, state = DictStore(), State(lambda about, text: None)
        await store.open()
        journal = Journal(store, state, asyncio.Event())
        journal.post(OPENED)
        journal.close(EngineClosed(NOON))
        await journal.synced()
        before = dict(store.mapping)
        with pytest.raises(StoreError, match="the engine was closed: this is not recorded"):
            WAYS[way](journal, state)
        await asyncio.sleep(0)
        assert dict(store.mapping) == before and not state.ledgers["r"].steps

    asyncio.run(story())
