"""Checksums are over what is kept, whatever Python shows of it. R30"""

from __future__ import annotations

import enum
from typing import Any

import pytest

from durable.stores.file.checksums import seal_values
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
