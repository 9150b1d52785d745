"""A table of many dicts is one dict to whoever asks it, and none of them grows beyond a thousand or so."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from durable.timers.table import FULL, Table, shrink


def put(table: Table[Any, Any], key: Any, value: Any) -> None:
    """Put a value in as `Slots` does."""
    part = table.parts[hash(key) & table.mask]
    part[key] = value
    if len(part) > FULL:
        table.divide(key)


@pytest.mark.parametrize("spelled", [int, str, lambda number: ("run", number)], ids=["ints", "texts", "tuples"])
def test_a_table_finds_what_was_put_there_and_no_dict_is_large(spelled: Any) -> None:
    table, plain, random = Table[Any, int](), dict[Any, int](), Random(1)
    for number in range(40_000):
        key = spelled(number)
        put(table, key, number)
        plain[key] = number
        assert len(table.parts[hash(key) & table.mask]) <= FULL
        if random.random() < 0.2:
            gone = spelled(random.randrange(number + 1))
            assert (table.parts[hash(gone) & table.mask].pop(gone, None) is None) == (plain.pop(gone, None) is None)
    assert {key: value for part in table.parts for key, value in part.items()} == plain
    assert all(key in table for key in plain) and spelled(-5) not in table
    assert len(table.parts) <= 4 * len(plain) / FULL
    table.clear()
    assert table.parts == [{}] and not table


class Ending:
    """Keys whose hashes have one ending, and differ above it."""

    def __init__(self, number: int, bits: int) -> None:
        self.number, self.bits = number, bits

    def __hash__(self) -> int:
        return self.number << self.bits


@pytest.mark.parametrize("bits", [4, 13, 40])
def test_keys_whose_hashes_end_alike_are_found(bits: int) -> None:
    """However far they must be divided; from the fourteenth bit on they stay together."""
    table = Table[Any, int]()
    keys = [Ending(number, bits) for number in range(3 * FULL)]
    for number, key in enumerate(keys):
        put(table, key, number)
    assert all(table.parts[hash(key) & table.mask][key] == number for number, key in enumerate(keys))
    assert len(table.parts) <= 1 << 14 and Ending(1, bits) not in table


@pytest.mark.parametrize("kept", [0, 1, 8, 100])
def test_a_dict_gives_back_the_room_of_what_was_taken_out_and_keeps_its_order(kept: int) -> None:
    entries = dict.fromkeys(range(FULL))
    before = entries.__sizeof__()
    for key in range(FULL - kept):
        del entries[key]
        shrink(entries)
    assert list(entries) == list(range(FULL - kept, FULL))
    assert entries.__sizeof__() < max(700, before * kept / 200)
