"""A DictStore over a mapping that outlives it."""

from __future__ import annotations

import asyncio
from collections import UserDict
from typing import Any

import pytest

from durable.errors import StoreCorruptError, StoreError
from durable.stores.dict import DictStore
from durable.stores.store import Entry

ONE, TWO = Entry("r", "k", "one"), Entry("r", "k", "two")


async def _opened(mapping: Any) -> DictStore:
    store = DictStore(mapping)
    await store.open()
    return store


async def _history(store: DictStore) -> list[Entry]:
    return [entry async for entry in store.history("r")]


def test_a_new_store_over_the_mapping_of_a_crashed_one_has_everything() -> None:
    async def main() -> None:
        mapping: dict[str, Any] = {}
        await (await _opened(mapping)).append([ONE])
        assert await _history(await _opened(mapping)) == [ONE]

    asyncio.run(main())


def test_an_abandoned_store_can_neither_write_nor_read() -> None:
    """R29: one at a time; the crashed engine's stragglers must not write behind the back of the next."""

    async def main() -> None:
        mapping: dict[str, Any] = {}
        abandoned = await _opened(mapping)
        await abandoned.append([ONE])
        current = await _opened(mapping)
        with pytest.raises(StoreError, match="another store has opened"):
            await abandoned.append([TWO])
        with pytest.raises(StoreError, match="another store has opened"):
            await _history(abandoned)
        await current.append([TWO])
        assert await _history(current) == [ONE, TWO]

    asyncio.run(main())


def test_closing_an_abandoned_store_leaves_the_current_one_open() -> None:
    async def main() -> None:
        mapping: dict[str, Any] = {}
        abandoned, current = await _opened(mapping), await _opened(mapping)
        await abandoned.close()
        await current.append([ONE])

    asyncio.run(main())


def test_a_store_opened_again_without_closing_goes_on() -> None:
    async def main() -> None:
        store = await _opened({})
        await store.append([ONE])
        await store.open()
        await store.append([TWO])
        assert await _history(store) == [ONE, TWO]

    asyncio.run(main())


def test_the_mapping_holds_plain_values_only() -> None:
    def plain(value: object) -> bool:
        if isinstance(value, tuple):
            return all(plain(part) for part in value)
        return value is None or type(value) in (str, int, bool)

    mapping: dict[str, Any] = {}
    asyncio.run(_append(mapping))
    assert mapping and all(type(key) is str and plain(value) for key, value in mapping.items())


async def _append(mapping: Any) -> None:
    store = await _opened(mapping)
    await store.append([ONE, TWO])
    await store.close()


class Failing(UserDict[str, Any]):
    full = False

    def __setitem__(self, key: str, value: Any) -> None:
        if self.full:
            raise OSError("no space left")
        super().__setitem__(key, value)


def test_a_mapping_that_failed_once_is_not_written_to_again() -> None:
    """R31"""

    async def main() -> None:
        mapping = Failing()
        store = await _opened(mapping)
        await store.append([ONE])
        mapping.full = True
        with pytest.raises(StoreError, match="no space left"):
            await store.append([TWO])
        mapping.full = False
        with pytest.raises(StoreError):
            await store.append([TWO])
        assert await _history(await _opened(mapping)) == [ONE]

    asyncio.run(main())


@pytest.mark.parametrize("item", [("batch/x", ()), ("batch/1", ()), ("batch/1", "text"), ("generation", "many")])
def test_a_mapping_that_is_no_store_is_corrupt(item: tuple[str, Any]) -> None:
    with pytest.raises(StoreCorruptError):
        asyncio.run(_opened(dict([item])))


def test_text_that_is_not_unicode_is_refused_before_anything_is_kept() -> None:
    async def main() -> None:
        store = await _opened({})
        with pytest.raises(ValueError):
            await store.append([ONE, Entry("r", "k", "\ud800")])
        assert await _history(store) == []

    asyncio.run(main())
