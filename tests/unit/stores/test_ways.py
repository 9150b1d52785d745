"""The journal uses the fastest way into a store, and never one that passes by what a subclass does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from durable import DictStore, Engine, Entry, FileStore, Store, StoreError
from durable.stores.opening import opening_of
from durable.stores.store import Kept
from durable.stores.ways import keeping, submitting
from durable.testing import FailingStore, store_contract

ENTRY = Entry("run", "StepClosed", "body")


class Plain(DictStore):
    """It changes nothing."""


class Appends(DictStore):
    async def append(self, entries: Sequence[Entry]) -> None:
        USED.append("append")
        await super().append(entries)


class Keeps(DictStore):
    def keep(self, entries: Sequence[Entry]) -> None:
        USED.append("keep")
        super().keep(entries)


class AppendsOverKeeps(Keeps):
    async def append(self, entries: Sequence[Entry]) -> None:
        USED.append("append")
        await super().append(entries)


class KeepsOverAppends(Appends):
    def keep(self, entries: Sequence[Entry]) -> None:
        USED.append("keep")
        super().keep(entries)


class Both(DictStore):
    async def append(self, entries: Sequence[Entry]) -> None:
        raise AssertionError("the faster way stands beside it")

    def keep(self, entries: Sequence[Entry]) -> None:
        USED.append("keep")
        super().keep(entries)


class Outside:
    """A store of one's own around another, which passes everything on."""

    immediate = True

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, entries: Sequence[Entry]) -> None:
        USED.append("append")
        await self._store.append(entries)


def patched() -> DictStore:
    store = DictStore()
    append = store.append

    async def watched(entries: Sequence[Entry]) -> None:
        USED.append("append")
        await append(entries)

    store.append = watched  # type: ignore[method-assign]
    return store


USED: list[str] = []
WAYS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "a subclass that changes nothing": (Plain, set()),
    "a subclass that overrides append": (Appends, {"append"}),
    "a subclass that overrides keep": (Keeps, {"keep"}),
    "append overridden below keep": (AppendsOverKeeps, {"append", "keep"}),
    "keep overridden below append": (KeepsOverAppends, {"keep"}),
    "both overridden in one class": (Both, {"keep"}),
    "a store around another": (lambda: Outside(DictStore()), {"append"}),
    "append replaced in one object": (patched, {"append"}),
    "a failing store around one that overrides append": (lambda: FailingStore(Appends(), at=1_000), {"append"}),
}


@pytest.mark.parametrize("name", WAYS)
def test_whoever_overrides_append_gets_append(name: str) -> None:
    make_store, used = WAYS[name]
    USED.clear()

    async def main() -> None:
        store = make_store()
        async with Engine(store=store) as engine:
            await engine.send("hello")
        await store.open()
        assert [entry async for entry in store.history("")]

    asyncio.run(main())
    assert set(USED) == used


class FileAppends(FileStore):
    async def append(self, entries: Sequence[Entry]) -> None:
        USED.append("append")
        await super().append(entries)


class FileSubmits(FileStore):
    def submit(self, entries: Sequence[Entry], told: Kept) -> None:
        USED.append("submit")
        super().submit(entries, told)


class FileSubmitsBelow(FileAppends):
    def submit(self, entries: Sequence[Entry], told: Kept) -> None:
        USED.append("submit")
        super().submit(entries, told)


@pytest.mark.parametrize(
    ("kind", "used"),
    [(FileStore, set()), (FileAppends, {"append"}), (FileSubmits, {"submit"}), (FileSubmitsBelow, {"submit"})],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_whoever_overrides_append_of_a_file_gets_append(tmp_path: Path, kind: type[FileStore], used: set[str]) -> None:
    USED.clear()

    async def main() -> None:
        store = kind(tmp_path / "x.db", durability="none")
        async with Engine(store=store) as engine:
            await engine.send("hello")
        await store.open()
        assert [entry async for entry in store.history("")]
        await store.close()

    asyncio.run(main())
    assert set(USED) == used


@pytest.mark.parametrize("make_store", [DictStore, Appends, lambda: FailingStore(DictStore(), at=1_000)])
def test_an_older_opening_may_not_keep_by_the_faster_way(make_store: Callable[[], Store]) -> None:
    """R29: the newcomer has taken the store over."""

    async def main() -> None:
        store = make_store()
        older, newer = opening_of(store), opening_of(store)
        await older.open()
        keep = keeping(older)
        keep([ENTRY])
        await newer.open()
        with pytest.raises(StoreError):
            keep([ENTRY])
        keeping(newer)([ENTRY])
        assert [entry async for entry in newer.history("run")] == [ENTRY, ENTRY]

    asyncio.run(main())


def test_a_store_that_says_immediate_but_suspends_is_refused() -> None:
    class Suspends(DictStore):
        async def append(self, entries: Sequence[Entry]) -> None:
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="immediate = True suspended"):
        keeping(Suspends())([ENTRY])


@pytest.mark.parametrize("entries", [[], [ENTRY], [ENTRY] * 300])
def test_a_submitted_batch_is_told_once_and_later_on_the_loop(tmp_path: Path, entries: list[Entry]) -> None:
    async def main() -> None:
        store = FileStore(tmp_path / "x.db", durability="none")
        submit = submitting(store)
        assert submit is not None
        with pytest.raises(StoreError, match="not open"):
            submit(entries, told.append)
        await store.open()
        done = asyncio.Event()

        def kept(error: Exception | None) -> None:
            assert asyncio.get_running_loop() is loop
            told.append(error)
            done.set()

        loop = asyncio.get_running_loop()
        submit(entries, kept)
        assert told == []
        await done.wait()
        await store.append([ENTRY])
        assert told == [None]
        assert [entry async for entry in store.history("run")] == [*entries, ENTRY]
        await store.close()

    told: list[Exception | None] = []
    asyncio.run(main())
    assert told == [None]


def test_a_batch_submitted_before_the_close_is_kept_and_told(tmp_path: Path) -> None:
    async def main() -> None:
        store = FileStore(tmp_path / "x.db", durability="none")
        await store.open()
        for _ in range(20):
            store.submit([ENTRY], told.append)
        await store.close()
        assert told == [None] * 20
        await store.open()
        assert [entry async for entry in store.history("run")] == [ENTRY] * 20
        await store.close()

    told: list[Exception | None] = []
    asyncio.run(main())


def test_after_a_failed_batch_each_later_one_is_told_so(tmp_path: Path) -> None:
    """R31: nothing is tried again."""

    async def main() -> None:
        store = FileStore(tmp_path / "x.db", durability="none")
        await store.open()
        await store.append([ENTRY])
        store._writer._places.clear()
        store._writer._last = 0  # the next row has the number of one that is there
        for _ in range(2):
            store.submit([ENTRY], told.append)
        with pytest.raises(StoreError):
            await store.append([ENTRY])
        await store.close()
        assert [type(error) for error in told] == [StoreError, StoreError]
        assert told[0] is not told[1], "each caller has an error of its own"

    told: list[Exception | None] = []
    asyncio.run(main())


class Loses(DictStore):
    def keep(self, entries: Sequence[Entry]) -> None:
        super().keep([entry for entry in entries if entry.body != "5.3"])


class TellsWithin(FileStore):
    def submit(self, entries: Sequence[Entry], told: Kept) -> None:
        super().submit(entries, lambda _: None)
        told(None)


class TellsTwice(FileStore):
    def submit(self, entries: Sequence[Entry], told: Kept) -> None:
        super().submit(entries, lambda error: [told(error) for _ in range(2)])


@pytest.mark.parametrize("kind", [Loses, TellsWithin, TellsTwice])
def test_a_faster_way_that_breaks_its_promises_breaks_the_contract(tmp_path: Path, kind: Any) -> None:
    paths = itertools.count()
    make_store = kind if kind is Loses else lambda: kind(tmp_path / f"{next(paths)}.db", durability="none")
    check = next(one for one in store_contract(make_store) if one.name == "batches_kept_the_faster_way_are_in_order")
    with pytest.raises(AssertionError):
        check()
