"""R6: what was recorded under one annotation does not pass for what another one says; R10: a loose annotation does."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NewType, TypedDict

import attrs
import pytest

from durable import CodecError
from durable.codec import decode, encode

Name = NewType("Name", str)


class Row(TypedDict):
    id: int


@attrs.frozen
class Item:
    price: int


FITTING = [
    (1, int),
    (1, float),
    (1.5, float),
    (True, bool),
    ("a", str),
    (None, None),
    ([1], list[int]),
    ({"a": 1}, dict[str, int]),
    ((1, 2), tuple[int, ...]),
    (None, int | None),
    ("a", Literal["a", "b"]),
    ("a", Name),
    ({"id": 1}, Row),
    (1, Any),
    (1, object),
    ("a", Annotated[str, "x"]),
    (Item(1), Item),
    ([Item(1)], list[Item]),
    (Item(1), Item | None),
]
MISFITS = [
    ("a", int),
    (1, str),
    (1.5, int),
    (True, int),
    (1, bool),
    (1, None),
    ({"a": 1}, list[int]),
    ([1], dict[str, int]),
    ([1], tuple[int, ...]),
    ("c", Literal["a", "b"]),
    (1, Name),
    (7, Item),
    ({"price": 1}, Item),
    (1, str | None),
]


@pytest.mark.parametrize(("value", "annotation"), FITTING)
def test_a_value_that_fits_its_annotation_comes_back_under_it_alone(value: object, annotation: object) -> None:
    written = encode(value, annotation)
    assert "loose" not in written
    assert decode(written, annotation) == value


@pytest.mark.parametrize(("value", "annotation"), MISFITS)
def test_what_was_recorded_without_an_annotation_is_refused_under_one_it_does_not_fit(
    value: object, annotation: object
) -> None:
    with pytest.raises(CodecError, match="not of the type"):
        decode(encode(value), annotation)


@pytest.mark.parametrize(("value", "annotation"), MISFITS)
def test_a_handler_that_returns_what_its_annotation_does_not_say_gets_it_back_all_the_same(
    value: object, annotation: object
) -> None:
    written = encode(value, annotation)
    again = decode(written, annotation)
    assert again == value and type(again) is type(value)
    assert decode(written) == value


def test_a_users_own_dict_cannot_be_taken_for_the_mark() -> None:
    value = {"~loose": 1}
    assert decode(encode(value)) == value
    assert decode(encode(value, int), int) == value
