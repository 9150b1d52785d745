"""Both stores keep the contract that any store keeps."""

from __future__ import annotations

import random
import shelve
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from durable.stores.dict import DictStore
from durable.stores.file.store import FileStore
from durable.stores.store import Entry, RunQuery, RunRow, Store
from durable.testing.contract.contract import Check, store_contract
from durable.testing.contract.of_finding import OF_FINDING


def _mapping_after_death(store: Any) -> DictStore:
    return DictStore(dict(store.mapping))


def _damaged_mapping(store: Any, part: str) -> Iterator[DictStore]:
    """A mapping's items are whole or not there: the last ones may be missing, any may be something else."""
    keys = [key for key in store.mapping if key.startswith("batch/")]
    if part == "tail":
        for count in range(len(keys)):
            left = keys[:count]
            yield DictStore({key: item for key, item in store.mapping.items() if key in left or key not in keys})
    else:
        for garbled in (None, (), "x", ((1,),)):
            yield DictStore({**store.mapping, keys[len(keys) // 2]: garbled})
        yield DictStore({**store.mapping, "batch/x": store.mapping[keys[0]]})


def _file_after_death(store: Any) -> FileStore:
    copy = Path(tempfile.mkdtemp(dir=Path(store.path).parent)) / "x.db"
    for beside in ("", "-wal"):
        shutil.copyfile(f"{store.path}{beside}", f"{copy}{beside}")
    return FileStore(copy, durability="none")


def _damaged_file(store: Any, part: str) -> Iterator[FileStore]:
    places = random.Random(5)
    if part == "tail":
        size = Path(f"{store.path}-wal").stat().st_size
        for cut in (0, 1, 100, 4_096, 4_200, 9_000, size // 2, size - 1):
            copy = _file_after_death(store)
            wal = bytearray(Path(f"{copy.path}-wal").read_bytes())
            wal[size - 1 - cut] ^= 1
            Path(f"{copy.path}-wal").write_bytes(wal if places.random() < 0.5 else wal[: size - cut])
            yield copy
        return
    for number in range(40):
        copy = Path(tempfile.mkdtemp(dir=Path(store.path).parent)) / "x.db"
        content = bytearray(Path(store.path).read_bytes())
        content[places.randrange(len(content))] ^= 1 << number % 8
        copy.write_bytes(content if number % 4 else content[: len(content) * (number + 1) // 41])
        yield FileStore(copy, durability="none")
    for statement in _CHANGES:
        copy = Path(tempfile.mkdtemp(dir=Path(store.path).parent)) / "x.db"
        shutil.copyfile(store.path, copy)
        connection = sqlite3.connect(copy, isolation_level=None)
        connection.execute(statement)
        connection.close()
        yield FileStore(copy, durability="none")


_CHANGES = (
    "UPDATE journal SET body = body || '!'",
    "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)",
    "DELETE FROM runs WHERE no = 1",
)


def _of_mappings(make_store: Callable[[], Store]) -> list[Check]:
    return store_contract(make_store, reopen_after_death=_mapping_after_death, damage=_damaged_mapping)


def _of_files(make_store: Callable[[], Store]) -> list[Check]:
    return store_contract(make_store, reopen_after_death=_file_after_death, damage=_damaged_file)


NAMES = [check.name for check in _of_mappings(DictStore)]


def _named(name: str, checks: list[Check]) -> Check:
    return next(check for check in checks if check.name == name)


def _broken(checks: list[Check]) -> list[str]:
    broken = []
    for check in checks:
        try:
            check()
        except AssertionError:
            broken.append(check.name)
    return broken


@pytest.mark.parametrize("check", _of_mappings(lambda: DictStore()), ids=str)
def test_a_dict_store_of_its_own_keeps_the_contract(check: Check) -> None:
    check()


class Chosen(DictStore):
    """Has the rows of all runs at hand, and lets a query choose."""

    immediate = False

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, RunRow] = {}

    async def append(self, entries) -> None:
        await super().append(entries)
        for entry in entries:
            if entry.row is not None:
                self.rows[entry.run] = entry.row
            elif entry.run in self.rows and not entry.ends_run:
                self.rows[entry.run] = attrs.evolve(self.rows[entry.run], ended_at=None, status=None, error=None)

    async def find(self, query: RunQuery) -> list[RunRow]:
        return query.choose(reversed(self.rows.values()))

    async def prune(self, ended_before) -> int:
        count = await super().prune(ended_before)
        left = {row.id for row in await super().find(RunQuery(limit=1 << 62))}
        self.rows = {run: row for run, row in self.rows.items() if run in left}
        return count


@pytest.mark.parametrize("name", [promise.__name__ for promise in OF_FINDING])
def test_a_store_that_lets_queries_choose_keeps_the_contract(name: str) -> None:
    _named(name, store_contract(Chosen))()


@pytest.mark.parametrize("name", NAMES)
def test_a_dict_store_over_one_mapping_keeps_the_contract(name: str) -> None:
    mapping: dict[str, object] = {}
    _named(name, _of_mappings(lambda: DictStore(mapping)))()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_store_keeps_the_contract(name: str, tmp_path: Path) -> None:
    """Durability "none" only leaves the syncing out, which no check can see and every check would wait for."""
    _named(name, _of_files(lambda: FileStore(tmp_path / "x.db", durability="none")))()


@pytest.mark.parametrize("durability", ["power", "process"])
def test_every_durability_keeps_the_contract_on_a_place_that_was_used_before(durability, tmp_path: Path) -> None:
    checks = _of_files(lambda: FileStore(tmp_path / "x.db", durability=durability))
    for check in (*checks[:12], *checks[-5:]):
        check()


def test_the_contract_has_many_checks_with_names_of_their_own() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 60


def test_a_store_that_loses_an_entry_breaks_the_contract() -> None:
    class Forgetful(DictStore):
        async def append(self, entries) -> None:
            await super().append([entry for entry in entries if entry.body != "7"])

    broken = _broken(store_contract(Forgetful))
    assert "a_batch_is_in_order" in broken and len(broken) < len(NAMES) / 2


def test_checks_that_need_what_only_the_author_knows_are_not_in_the_list_without_it() -> None:
    plain = [check.name for check in store_contract(DictStore)]
    deaths = [check.name for check in store_contract(DictStore, reopen_after_death=_mapping_after_death)]
    assert (deaths[:-3], NAMES[:-2]) == (plain, deaths)
    assert "what_was_acknowledged_is_there_after_a_death" in deaths
    assert NAMES[-2:] == ["a_torn_tail_opens_as_an_earlier_whole_state", "damage_is_refused_or_changes_nothing"]


class Late(DictStore):
    """Writes everything down when it is closed, and not before."""

    def __init__(self, place: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.place = {} if place is None else place

    async def open(self) -> None:
        self.mapping = dict(self.place)
        await super().open()

    async def close(self) -> None:
        if self.generation is not None:
            self.place.clear()
            self.place.update(self.mapping)
        await super().close()


def test_a_store_that_writes_only_when_it_is_closed_breaks_the_contract() -> None:
    """R30: nobody closes a store whose process dies."""
    assert _broken(store_contract(Late)) == []
    place: dict[str, Any] = {}
    assert _broken(
        [_named("an_opener_that_takes_over_finds_what_was_acknowledged", store_contract(lambda: Late(place)))]
    )
    checks = store_contract(Late, reopen_after_death=lambda store: Late(dict(store.place)))  # type: ignore[attr-defined]
    assert _broken(checks) == [
        "what_was_acknowledged_is_there_after_a_death",
        "a_batch_that_a_death_interrupts_is_there_whole_or_not_at_all",
        "a_store_goes_on_after_a_death",
    ]


def test_a_store_that_writes_a_batch_in_pieces_breaks_the_contract() -> None:
    class Piecemeal(DictStore):
        async def append(self, entries) -> None:
            for entry in entries:
                await super().append([entry])

    def damage(store, part) -> Iterator[Store]:
        return (Piecemeal(damaged.mapping) for damaged in _damaged_mapping(store, part))

    assert _broken(store_contract(Piecemeal, damage=damage)) == ["a_torn_tail_opens_as_an_earlier_whole_state"]


def test_a_store_that_changes_what_it_is_given_breaks_the_contract() -> None:
    """As one does that keeps texts as C strings, or looks them up without regard to case."""

    class Cutting(DictStore):
        async def append(self, entries) -> None:
            await super().append([attrs.evolve(entry, kind=entry.kind.partition("\0")[0]) for entry in entries])

    class Folding(DictStore):
        async def find(self, query):
            every = await super().find(attrs.evolve(query, function=None, event=None, limit=10**6))
            asked = {"function": query.function, "event": query.event}
            return [
                row
                for row in every
                if all(one is None or one.lower() == getattr(row, name).lower() for name, one in asked.items())
            ][: query.limit]

    assert _broken(store_contract(Cutting)) == ["the_words_of_a_row_come_back_with_nul"]
    assert _broken(store_contract(Folding)) == ["names_that_differ_little_are_different_functions"]


def test_a_store_that_skips_what_is_damaged_breaks_the_contract() -> None:
    class Lenient(DictStore):
        async def open(self) -> None:
            for key in [key for key, item in self.mapping.items() if key.startswith("batch/") and not item]:
                del self.mapping[key]
            await super().open()

    def damage(store, part) -> Iterator[Store]:
        return (Lenient(damaged.mapping) for damaged in _damaged_mapping(store, part))

    assert _broken(store_contract(Lenient, damage=damage)) == ["damage_is_refused_or_changes_nothing"]


def test_damage_that_yields_nothing_proves_nothing() -> None:
    assert len(_broken(store_contract(DictStore, damage=lambda store, part: ()))) == 2


async def _all(entries) -> list[Entry]:
    return [entry async for entry in entries]


def test_a_dict_store_never_suspends() -> None:
    def drive(awaitable):
        with pytest.raises(StopIteration) as stopped:
            awaitable.send(None)
        return stopped.value.value

    store = DictStore()
    drive(store.open())
    drive(store.append([Entry("r", "k", "b")]))
    assert drive(_all(store.history("r"))) == [Entry("r", "k", "b")]
    assert DictStore.immediate and not FileStore.immediate


def test_a_dict_store_keeps_plain_values_in_a_shelve(tmp_path: Path) -> None:
    with shelve.open(str(tmp_path / "shelf")) as shelf:
        for check in store_contract(lambda: DictStore(shelf))[:6]:
            check()
