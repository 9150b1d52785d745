"""Checksums are over what is kept, whatever Python shows of it. R30"""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable.errors import StoreCorruptError
from durable.stores.file.checksums import Place, checked_run, seal_run, seal_values, told_of
from tests.support.wordings import SHAPES, Count, Odd, Whole, Word


@pytest.mark.parametrize("shape", [name for name in SHAPES if SHAPES[name].refused is None])
def test_a_text_is_sealed_as_what_it_spells(shape: str) -> None:
    text = SHAPES[shape]
    assert seal_values([1, text.text, None]) == seal_values([1, text.plain, None])


def test_a_number_is_sealed_as_what_it_is() -> None:
    class Flag(enum.IntFlag):
        ON = 3

    for three in (Count.THREE, Whole(3), Flag.ON):
        assert seal_values([three]) == seal_values([3])
    assert seal_values([True, False]) == seal_values([1, 0])


def test_what_differs_is_sealed_otherwise() -> None:
    rows: list[list[Any]] = [["1"], [1], [None], ["null"], [""], [], ["1", None], [Word.ONE], [Odd("1 ")]]
    assert len({seal_values(row) for row in rows}) == len(rows)


OPEN: list[Any] = [7, "run é", 1, 40, "shop/order", 'say "when"', 1_900_000_000_000_000, None, None, None]
ENDED: list[Any] = [*OPEN[:2], 0, *OPEN[3:7], 1_900_000_000_000_001, "failed", "Boom"]
ODD: list[Any] = [8, "run", 1, 41, None, None, None, None, None, None]


def _as_read(values: list[Any], crc: int) -> tuple[Any, ...]:
    return *[value.encode() if isinstance(value, str) else value for value in values], crc


@pytest.mark.parametrize("values", [OPEN, ENDED, ODD])
def test_a_row_of_the_table_of_runs_is_read_as_it_was_sealed(values: list[Any]) -> None:
    assert list(checked_run(_as_read(values, seal_values(values)))) == values


@pytest.mark.parametrize("other", [0, 41, 1.5, b"1", b"\xff", b"null", None, b""])
@pytest.mark.parametrize("values", [OPEN, ENDED, ODD])
def test_a_row_with_any_field_changed_is_damaged(values: list[Any], other: Any) -> None:
    row = _as_read(values, seal_values(values))
    for place, kept in enumerate(row):
        if other is not kept and (type(other) is not type(kept) or other != kept):
            with pytest.raises(StoreCorruptError, match="does not match its checksum"):
                checked_run((*row[:place], other, *row[place + 1 :]))


_TEXTS = st.text() | st.none()
_NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
_FIELDS = st.none() | st.tuples(st.text(), st.text(), _NUMBERS, _NUMBERS | st.none(), _TEXTS, _TEXTS)


@given(_NUMBERS, _TEXTS, st.booleans(), _NUMBERS, _FIELDS)
def test_a_run_is_sealed_as_its_plain_values_are(
    no: int, id: str | None, is_open: bool, last: int, fields: Any
) -> None:
    """Its text is put together from what is written anyway: every release must read it."""
    *values, crc = seal_run(Place(no, id, is_open, last, fields))
    assert values == [no, id, int(is_open), last, *(fields or [None] * 6)]
    assert crc == seal_values(values)
    assert told_of(fields) == json.dumps(fields or [None] * 6)
    assert seal_run(Place(no, id, is_open, last, fields, told_of(fields))) == (*values, crc)
