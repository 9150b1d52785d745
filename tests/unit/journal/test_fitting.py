"""R6: what was recorded under one annotation does not pass for what another one says; R10: a loose annotation does."""

from __future__ import annotations

import dataclasses
import enum
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import attrs
import pytest

from durable import CodecError
from durable.journal.codec.values import encode
from tests.support.reading import decode

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


# All the way down.


class Colour(enum.Enum):
    RED = "r"


class Wheel(NamedTuple):
    size: int


@dataclasses.dataclass
class Tree:
    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class IntTree(Tree):
    weight: int = 0


@attrs.define
class Cart:
    items: list[Item]
    by_name: dict[str, Item] = attrs.field(factory=dict)
    note: Any = None


T = TypeVar("T")


@attrs.frozen
class Box(Generic[T]):
    inside: T


class Order(TypedDict):
    id: int
    lines: list[Row]
    note: NotRequired[str]


class Ids(list[int]):
    pass


Id = NewType("Id", int)


def made(annotation: Any, *, name: str = "Thing", by: str = "attrs") -> Any:
    """Return a class with one field of this type, as an earlier or a later deploy defines it."""
    if by == "attrs":
        return attrs.make_class(name, {"field": attrs.field(type=annotation)})
    if by == "dataclass":
        return dataclasses.make_dataclass(name, [("field", annotation)])
    if by == "typed dict":
        return TypedDict(name, {"field": annotation})
    return NamedTuple(name, [("field", annotation)])


# What was recorded, under which annotation, under which it is read now, and at which path the two part.
CHANGED: list[tuple[Any, Any, Any, str]] = [
    ([1, 2, 3], list[int], list[str], "$[0]"),
    ([1, "b"], list[int | str], list[int], "$[1]"),
    ([[1], ["b"]], list[list[Any]], list[list[int]], "$[1][0]"),
    ({"a": 1}, dict[str, int], dict[str, str], "$.a"),
    ({1: "a"}, dict[int, str], dict[str, str], "$[1]"),
    ({"a": {"b": [1.5]}}, dict[str, Any], dict[str, dict[str, list[int]]], "$.a.b[0]"),
    ({"a": 1}, dict, dict[str, str], "$.a"),
    ([1, True], list[Any], list[int], "$[1]"),
    ([None], list[None], list[int], "$[0]"),
    ((1, "a"), tuple[int, str], tuple[int, int], "$[1]"),
    ((1, 2), tuple[int, ...], tuple[str, ...], "$[0]"),
    ((1, 2), tuple[int, int], tuple[int, int, int], "$"),
    ({1, 2}, set[int], set[str], "$["),
    (frozenset({"a"}), frozenset[str], frozenset[int], "$["),
    ({"id": 1, "lines": [{"id": 1}]}, Order, TypedDict("Order", {"id": str}), "$.id"),
    ({"id": 1, "lines": [{"id": "b"}]}, dict, Order, "$.lines[0].id"),
    ({"id": 1, "lines": []}, Order, TypedDict("Order", {"id": int, "total": int}), "$.total"),
    ({"id": 1, "lines": [], "note": 3}, dict[str, Any], Order, "$.note"),
    ([1], list[int] | None, list[str] | None, "$[0]"),
    ([1], Annotated[list[int], "x"], Annotated[list[str], "x"], "$[0]"),
    (["a"], list[Literal["a"]], list[Literal["b"]], "$[0]"),
    ([1], list[Id], list[Name], "$[0]"),
    ([1], Sequence[int], Sequence[str], "$[0]"),
    ("ab", str, Sequence[int], "$"),
    ({"a": [1]}, Mapping[str, Sequence[int]], Mapping[str, Sequence[str]], "$.a[0]"),
    ([Item(1)], list[Item], list[Item | None] | dict[str, int], ""),
    ([Colour.RED], list[Colour], list[Colour], ""),
    ([1.5], list[float], list[float], ""),
    ([1], list[int], list[float], ""),
    ({"id": 1, "lines": [], "more": 1}, dict[str, Any], Order, ""),
    (Tree(1, [Tree(2)]), Tree, Tree, ""),
    (Box(1), Box[int], Box[str], "$.inside"),
    (Box([Box("a")]), Box[list[Box[str]]], Box[list[Box[int]]], "$.inside[0].inside"),
    (Cart([], {"a": Item("x")}), Cart, Cart, ""),
    (Ids([1]), Ids, Ids, ""),
]


@pytest.mark.parametrize(("value", "before", "now", "path"), CHANGED, ids=lambda one: str(one)[:40])
def test_what_an_annotation_says_holds_all_the_way_down(value: Any, before: Any, now: Any, path: str) -> None:
    """R6: an item, a key, a value, a field whose type is another one now is told with its path."""
    written = encode(value, before)
    assert decode(written, before) == value
    if not path:
        assert decode(written, now) == value
        return
    with pytest.raises(CodecError, match=f"^{re.escape(path)}.*not of the type"):
        decode(written, now)


FIELDS: list[tuple[Any, Any, Any, str]] = [
    (1, int, str, "$.field"),
    ([1], list[int], list[str], "$.field[0]"),
    ({"a": 1}, dict[str, int], dict[str, str], "$.field.a"),
    (None, int | None, int, "$.field"),
    ((1,), tuple[int], tuple[str], "$.field[0]"),
    (1, int, Literal[2, 3], "$.field"),
    (True, bool, int, "$.field"),
]


@pytest.mark.parametrize("by", ["attrs", "dataclass", "named tuple", "typed dict"])
@pytest.mark.parametrize("wrapped", ["", "in a list", "in a dict", "in another field"])
@pytest.mark.parametrize(("value", "before", "now", "path"), FIELDS, ids=lambda one: str(one)[:30])
def test_a_field_whose_type_changed_is_told(
    value: Any, before: Any, now: Any, path: str, wrapped: str, by: str
) -> None:
    """R6: whatever the class is made by, and wherever its instance stands."""

    def deployed(annotation: Any) -> tuple[Any, Any]:
        cls = made(annotation, by=by)
        instance = cls(field=value)
        if wrapped == "in a list":
            return [instance], list[cls]
        if wrapped == "in a dict":
            return {"k": instance}, dict[str, cls]
        if wrapped == "in another field":
            holder = made(cls, name="Holder")
            return holder(instance), holder
        return instance, cls

    recorded, annotation = deployed(before)
    written = encode(recorded, annotation)
    assert decode(written, annotation) == recorded
    with pytest.raises(CodecError, match=f"{re.escape(path[1:])}: .*not of the type"):
        decode(written, deployed(now)[1])


@attrs.frozen
class Sloppy:
    price: int
    names: list[str] = attrs.field(factory=list)


SLOPPY: list[tuple[Any, Any]] = [
    ([1, "b", 2.5], list[int]),
    ({"a": None}, dict[str, int]),
    ({"id": "seven"}, Row),
    ({}, Row),
    ((1, 2, 3), tuple[int, int]),
    (Sloppy("free", [1]), Sloppy),
    ([Sloppy(1), Sloppy(None)], list[Sloppy]),
    ({"a": [{"b": (1,)}]}, dict[str, list[dict[str, tuple[str]]]]),
    ([["x"] * 5_000], list[list[int]]),
    (list(range(3_000)), list[str]),
    ([*range(200_000), None], list[int]),
    (Tree("x", [Tree(1, [Tree("y")])]), Tree),
]


@pytest.mark.parametrize(("value", "annotation"), SLOPPY, ids=lambda one: str(one)[:40])
def test_what_never_fitted_its_annotation_comes_back_under_it(value: Any, annotation: Any) -> None:
    """R10: annotations are often loose, also inside."""
    began = time.process_time()
    written = encode(value, annotation)
    assert decode(written, annotation) == value
    assert "loose" in written
    assert time.process_time() - began < 0.5


def test_where_a_value_never_fitted_it_fits_later_and_nowhere_else() -> None:
    """R6: what was wrong in one place when it was written excuses no other place."""
    before = attrs.make_class("Line", {"price": attrs.field(type=int), "name": attrs.field(type=str)})
    written = encode([before(1.5, "a")], list[before])
    same = attrs.make_class("Line", {"price": attrs.field(type=str), "name": attrs.field(type=str)})
    [back] = decode(written, list[same])
    assert (back.price, back.name) == (1.5, "a")
    other = attrs.make_class("Line", {"price": attrs.field(type=int), "name": attrs.field(type=bytes)})
    with pytest.raises(CodecError, match=r"^\$\[0\]\.name: 'a' is recorded, which is not of the type bytes"):
        decode(written, list[other])
    with pytest.raises(CodecError, match=r"^\$: .* is recorded, which is not of the type dict"):
        decode(encode([1.5], list[int]), dict[str, float])


OLD: list[tuple[str, Any, Any]] = [
    ('[1,"b"]', list[int], [1, "b"]),
    ('{"a":null}', dict[str, int], {"a": None}),
    ("{}", Row, {}),
    ('{"~=Sloppy":{"price":"free","names":[1]}}', Sloppy, Sloppy("free", [1])),
    ('{"~loose":[1]}', dict[str, int], [1]),
    ('[[{"~tuple":[1]}]]', list[list[int]], [[(1,)]]),
]


@pytest.mark.parametrize(("text", "annotation", "value"), OLD)
def test_what_an_earlier_release_recorded_is_held_against_its_outermost_alone(
    text: str, annotation: Any, value: Any
) -> None:
    """It marked nothing inside, so that what never fitted cannot be told from what does not any more."""
    assert decode(text, annotation, deep=False) == value
    if "loose" not in text:
        with pytest.raises(CodecError, match="not of the type"):
            decode(text, annotation)
        with pytest.raises(CodecError, match=r"^\$: .* is recorded, which is not of the type"):
            decode(text, tuple[int] | dict[int, Sloppy] if text[0] == "[" else tuple[int] | list[Sloppy], deep=False)


def test_a_subclass_is_held_against_its_own_fields() -> None:
    written = encode([IntTree(1, weight="heavy")], list[Tree | IntTree])
    assert "~at" in written
    assert decode(written, list[Tree | IntTree]) == [IntTree(1, weight="heavy")]


def test_an_instance_in_a_loose_place_is_held_against_its_own_fields() -> None:
    """R6: `Any` says nothing, but the class does."""
    before, now = (attrs.make_class("Line", {"price": attrs.field(type=one)}) for one in (int, str))
    for value in ([before(1)], {"a": (before(1),)}, [{"b": [before(1)]}]):
        written = encode(value, Any | before)
        assert decode(written, Any | before) == value
        with pytest.raises(CodecError, match=r"\.price: 1 is recorded, which is not of the type str"):
            decode(written, Any | now)


def test_an_annotation_that_holds_itself_is_followed() -> None:
    """R6: sixty levels down."""

    def tree(innermost: Any) -> Tree:
        for number in range(60):
            innermost = Tree(number, [innermost])
        return innermost

    assert "loose" not in encode(tree(Tree(0)), Tree)
    written = encode(tree(Tree("leaf")), Tree)
    assert '"~at":' in written and written.count('".children"') == 60
    assert decode(written, Tree) == tree(Tree("leaf"))


NEW = """
import attrs
type Json = None | bool | int | str | list[Json] | dict[str, Json]
type Pairs[T] = list[tuple[str, T]]

@attrs.frozen
class Box[T]:
    inside: T
    more: list[T] = attrs.field(factory=list)
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is newer")
def test_the_newer_ways_to_spell_a_type_are_followed() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec(NEW, names)
    json, pairs, box = names["Json"], names["Pairs"], names["Box"]
    fitting = [
        ({"a": [1, None, {"b": ["c"]}]}, json), ([("a", 1)], pairs[int]), (box(1, [2]), box[int]),
        ([box("a")], list[box[str]]),
    ]  # fmt: skip
    for value, annotation in fitting:
        assert "loose" not in encode(value, annotation)
        assert decode(encode(value, annotation), annotation) == value
    changed = [
        ({"a": [1.5]}, json, "$.a[0]"), ([("a", 1)], pairs[str], "$[0][1]"), (box(1, [2]), box[str], "$.inside"),
        ([box("a", ["b"])], list[box[int]], "$[0].inside"),
    ]  # fmt: skip
    for value, annotation, path in changed:
        loose = attrs.has(type(value)) or (isinstance(value, list) and attrs.has(type(value[0])))
        with pytest.raises(CodecError, match=f"^{re.escape(path)}: .*not of the type"):
            decode(encode(value, Any | box if loose else Any), annotation)


@pytest.mark.parametrize(
    "annotation", [list[Annotated[int, []]], 5, "nonsense", object(), Callable[[int], str], [int], type[int], T, {}]
)
def test_an_annotation_that_says_nothing_is_no_hindrance(annotation: Any) -> None:
    for value in ([1, "b"], {"a": (1,)}, "x", None):
        assert decode(encode(value, annotation), annotation) == value


class Refusing(type):
    def __instancecheck__(cls, _one: object) -> bool:
        raise RuntimeError("not to be asked")


class Asked(metaclass=Refusing):
    pass


def test_a_class_that_refuses_to_be_asked_is_no_hindrance() -> None:
    for annotation in (Asked, list[Asked], dict[str, Asked | int]):
        for value in ([1], {"a": 1}, "x"):
            assert decode(encode(value, annotation), annotation) == value
