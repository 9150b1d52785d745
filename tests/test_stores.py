"""Both stores keep the contract that any store keeps."""

from __future__ import annotations

import shelve
from pathlib import Path

import pytest

from durable.stores.dict import DictStore
from durable.stores.file import FileStore
from durable.stores.store import Entry
from durable.testing.contract import Check, store_contract

NAMES = [check.name for check in store_contract(DictStore)]


def _named(name: str, make_store) -> Check:
    return next(check for check in store_contract(make_store) if check.name == name)


@pytest.mark.parametrize("check", store_contract(lambda: DictStore()), ids=str)
def test_a_dict_store_of_its_own_keeps_the_contract(check: Check) -> None:
    check()


@pytest.mark.parametrize("name", NAMES)
def test_a_dict_store_over_one_mapping_keeps_the_contract(name: str) -> None:
    mapping: dict[str, object] = {}
    _named(name, lambda: DictStore(mapping))()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_store_keeps_the_contract(name: str, tmp_path: Path) -> None:
    """Durability "none" only leaves the syncing out, which no check can see and every check would wait for."""
    _named(name, lambda: FileStore(tmp_path / "x.db", durability="none"))()


@pytest.mark.parametrize("durability", ["power", "process"])
def test_every_durability_keeps_the_contract_on_a_place_that_was_used_before(durability, tmp_path: Path) -> None:
    checks = store_contract(lambda: FileStore(tmp_path / "x.db", durability=durability))
    for check in checks[:12]:
        check()


def test_the_contract_has_many_checks_with_names_of_their_own() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 60


def test_a_store_that_loses_an_entry_breaks_the_contract() -> None:
    class Forgetful(DictStore):
        async def append(self, entries) -> None:
            await super().append([entry for entry in entries if entry.body != "7"])

    broken = []
    for check in store_contract(Forgetful):
        try:
            check()
        except AssertionError:
            broken.append(check.name)
    assert "a_batch_is_in_order" in broken and len(broken) < len(NAMES) / 2


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
