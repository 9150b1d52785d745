"""R10: enums, attrs classes, dataclasses and named tuples come back through the annotation, exactly or not at all."""

from __future__ import annotations

import dataclasses
import enum
import functools
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.errors import CodecError
from durable.journal.codec.fitting import ABSENT
from durable.journal.codec.remedies import Whose
from durable.journal.codec.values import encode
from tests.support.reading import decode

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    CRIMSON = "red"  # noqa: PIE796
    BLUE = ("b", 1)


class Level(enum.IntEnum):
    LOW = 1


class Tone(enum.StrEnum):
    SOFT = "soft"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: float = 0.0


@attrs.frozen
class Line:
    price: float
    color: Color = Color.RED


@attrs.define
class Order:
    id: str
    lines: list[Line] = attrs.field(factory=list)
    parent: Order | None = None


@attrs.define(kw_only=True, slots=False)
class Odd:
    _secret: int = attrs.field(validator=attrs.validators.instance_of(int))
    named: str = attrs.field(alias="other")
    doubled: int = attrs.field(converter=lambda n: n * 2)
    late: list[int] = attrs.field(init=False)
    unset: int = attrs.field(init=False)
    hidden: int = attrs.field(default=3, eq=False, repr=False)
    kind: ClassVar[str] = "odd"

    def __attrs_post_init__(self) -> None:
        self.late = [self._secret]
        self.lock = threading.Lock()


@dataclass
class Node:
    value: Any
    children: list[Node] = field(default_factory=list)
    total: int = field(init=False, default=0)


@dataclass(frozen=True, slots=True)
class Box(Generic[T]):
    item: T


class Row(TypedDict, total=False):
    point: Point


class Name(str):
    pass


class Tagged(str):
    __slots__ = ()


class Bag(dict[str, int]):
    pass


class Shape:
    pass


@attrs.define
class Circle:
    radius: int = 1


@attrs.define
class Wheel(Circle):
    pass


@attrs.define
class Empty:
    pass


@attrs.frozen
class IntBox:
    box: Box[int]


Id = NewType("Id", Point)
flags = Access.READ | Access.WRITE


def identical(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if attrs.has(type(one)):
        names = [f.name for f in attrs.fields(type(one)) if hasattr(one, f.name)]
        return all(identical(getattr(one, name), getattr(other, name)) for name in names)
    if dataclasses.is_dataclass(one):
        return all(identical(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, dict):
        return identical(list(one.items()), list(other.items()))
    return bool(one == other) or (one != one and other != other)


CASES: list[tuple[Any, Any]] = [
    (Color.RED, Color),
    (Color.BLUE, Color | None),
    (Level.LOW, Level),
    ([Level.LOW, 1, True], list[Level]),
    (Tone.SOFT, Tone),
    (flags, Access),
    (Access(0), Access),
    (Point(1, 2), Point),
    ({"point": Point(1)}, Row),
    (Order("1", [Line(1), Line(1.0, Color.BLUE)], Order("2")), Order),
    ([Order("1")], Sequence[Order]),
    ({"a": Order("1")}, Mapping[str, Order]),
    ({Color.RED: {Line(1.0)}, Point(1, 1): ()}, dict[Color | Point, set[Line]]),
    ((Line(2), None), tuple[Line, None]),
    (frozenset({Line(2)}), frozenset[Line]),
    (Point(1, 1), Id),
    (Point(1, 1), Annotated[Point, []]),
    (Color.RED, Literal[Color.RED]),
    (Point(1, 1), Optional[Point]),  # noqa: UP045
    (Wheel(2), Union[Circle, Wheel]),  # noqa: UP007
    (Circle(2), Wheel | Circle),
    (Node(1, [Node((1,)), Node({2})]), Node),
    (Box(Point(1, 2)), Box[Point]),
    (Box(Box(Color.RED)), Box[Box[Color]]),
    (IntBox(Box(1)), IntBox),
    (Empty(), Empty),
    (Name("x"), Name),
    (Tagged("x"), Tagged),
    (Bag(a=1), Bag),
    (OrderedDict(b=1, a=2), OrderedDict[str, int]),
    (Counter("aab"), Counter[str]),
    (Point(1, 1), Final[Point]),
]


@pytest.mark.parametrize(("value", "annotation"), CASES)
def test_an_instance_comes_back_through_the_annotation(value: Any, annotation: Any) -> None:
    """R10"""
    assert identical(decode(encode(value, annotation), annotation), value)


@pytest.mark.parametrize(("value", "annotation"), CASES)
def test_without_an_annotation_it_is_refused_and_never_made_less(value: Any, annotation: Any) -> None:
    """R10"""
    with pytest.raises(CodecError, match=r"comes back only through its type, and none is given.*output_type"):
        encode(value, whose=Whose.HANDLER)
    with pytest.raises(CodecError, match="does not name it"):
        encode(value, int)


nodes: st.SearchStrategy[Node] = st.deferred(
    lambda: st.builds(
        Node,
        value=st.one_of(st.integers(), st.text(), st.sampled_from(Color), st.builds(Line, price=st.integers()), nodes),
        children=st.lists(nodes, max_size=2),
    )
)
anything = st.recursive(
    st.one_of(nodes, st.sampled_from([*Color, *Level, flags]), st.builds(Point, x=st.integers()), st.just(Empty())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(), st.sampled_from([*Color, *Level])), inner, max_size=3),
        st.builds(Box, item=inner),
        st.builds(Order, id=st.text(), parent=inner),
        st.tuples(inner, inner),
    ),
    max_leaves=6,
)
EVERYTHING = Node | Color | Level | Access | Point | Empty | Box[Order] | Line


@settings(max_examples=150, deadline=None)
@given(anything)
def test_instances_anywhere_come_back_identical(value: Any) -> None:
    """R10: annotations are often loose; only which classes they name counts, not where."""
    written = encode(value, EVERYTHING)
    assert identical(decode(written, EVERYTHING), value)
    assert encode(decode(written, EVERYTHING), EVERYTHING) == written


@pytest.mark.parametrize("annotation", [None, int, str, list[str], Row, Color, ABSENT, Any, T, "nonsense"])
@pytest.mark.parametrize("value", ["x", 1, 1.5, {"a": (1,)}, [True], datetime(2030, 1, 1)])
def test_a_plain_value_is_kept_whatever_the_annotation_says(value: Any, annotation: Any) -> None:
    """R10: never converted to fit: an int in a float's place stays an int."""
    assert identical(decode(encode(value, annotation), annotation), value)


def test_a_dict_that_looks_like_an_instance_stays_a_dict() -> None:
    value = {"~=Line": {"price": 1.0}}
    assert decode(encode(value, Line), Line) == value


def test_private_aliased_late_and_converted_fields_come_back() -> None:
    """R10: init=False, alias, private, kw_only, a converter that is not idempotent, attributes made by post_init."""
    value = Odd(secret=1, other="n", doubled=4, hidden=7)
    value.late.append(9)
    back = decode(encode(value, Odd), Odd)
    assert (back._secret, back.named, back.doubled, back.late, back.hidden) == (1, "n", 8, [1, 9], 7)
    assert back.lock is not value.lock
    assert not hasattr(back, "unset")


def test_classes_defined_in_a_function_are_found_by_name() -> None:
    @attrs.define
    class Leaf:
        n: int

    @attrs.define
    class Tree:
        left: Tree | None = None
        leaf: Any = None

    value = Tree(Tree(), Leaf(1))
    assert decode(encode(value, Tree | Leaf), Tree | Leaf) == value


def test_one_field_that_does_not_resolve_does_not_hide_the_others() -> None:
    @attrs.define
    class Tree:
        left: Tree | None = None
        at: list[Point] = attrs.field(factory=list)

    value = Tree(Tree(at=[Point(1, 2)]))
    assert decode(encode(value, Tree), Tree) == value


def test_the_argument_of_a_generic_base_is_found() -> None:
    @dataclass(frozen=True)
    class PointBox(Box[Point]):
        pass

    assert decode(encode(PointBox(Point(1)), PointBox), PointBox) == PointBox(Point(1))


def test_two_classes_of_one_name_are_told_apart() -> None:
    def made(home: str) -> type:
        return attrs.make_class("Same", {"n": attrs.field(type=int)}, class_body={"__qualname__": f"{home}.Same"})

    one, two = made("one"), made("two")
    back = decode(encode([one(1), two(1)], one | two), two | one)
    assert [type(item) for item in back] == [one, two]


def test_a_member_of_a_union_comes_back_as_what_it_was_in_either_order() -> None:
    """R10: `A | B` and `B | A` are equal to Python."""
    assert type(decode(encode(Wheel(1), Circle | Wheel), Wheel | Circle)) is Wheel


def test_a_subclass_that_is_not_named_is_refused_with_the_annotation_to_write() -> None:
    with pytest.raises(CodecError, match=r"\$\.w: .*Wheel would lose its type.*Circle \| Wheel"):
        encode({"w": Wheel(1)}, Circle)


def test_a_class_that_was_defined_again_is_refused() -> None:
    again = attrs.make_class("Circle", {"radius": attrs.field(type=int)})
    with pytest.raises(CodecError, match="defined twice"):
        encode(again(1), Circle)


def test_a_path_inside_an_instance_is_named() -> None:
    with pytest.raises(CodecError, match=r"^\$\[0\]\.lines\[1\]\.price: "):
        encode([Order("1", [Line(1), Line(object())])], list[Order])  # type: ignore[arg-type]


def test_an_attribute_that_is_no_field_is_not_lost_silently() -> None:
    """R10: never a lesser value."""
    node, name = Node(1), Name("x")
    node.extra = name.extra = 1  # type: ignore[attr-defined]
    for value, annotation in ((node, Node), (name, Name)):
        with pytest.raises(CodecError, match=r"'extra'.*would be lost"):
            encode(value, annotation)


def test_a_slot_that_is_no_field_is_not_lost_silently() -> None:
    """R10"""

    class Marked(list[int]):
        __slots__ = ("mark",)

    value = Marked([1])
    assert decode(encode(value, Marked), Marked) == value
    value.mark = 5
    with pytest.raises(CodecError, match=r"'mark'.*would be lost"):
        encode(value, Marked)


def test_a_cached_property_is_neither_kept_nor_computed_again() -> None:
    computed = []

    @dataclass
    class Sum:
        n: int

        @functools.cached_property
        def twice(self) -> int:
            computed.append(self.n)
            return self.n * 2

    value = Sum(2)
    assert value.twice == 4
    assert decode(encode(value, Sum), Sum) == value
    assert computed == [2]


def test_an_instance_that_cannot_be_built_again_is_refused_when_written() -> None:
    """R10: at the time of encoding, not after a crash."""

    @attrs.define
    class Picky:
        n: int = attrs.field(validator=attrs.validators.lt(10), on_setattr=attrs.setters.NO_OP)

    @dataclass
    class Needy:
        seed: dataclasses.InitVar[int]
        n: int = 0

        def __post_init__(self, seed: int) -> None:
            self.n = seed

    picky = Picky(1)
    picky.n = 50
    for value in (picky, Needy(1)):
        with pytest.raises(CodecError, match=r"^\$\[0\]: .*cannot be built again.*converter"):
            encode([value], type(value))


def test_a_default_factory_that_would_be_lost_is_refused() -> None:
    with pytest.raises(CodecError, match="defaultdict"):
        encode(defaultdict(list, a=[1]), defaultdict[str, list[int]])


def test_what_changes_when_built_again_is_refused() -> None:
    class Upper(str):
        def __new__(cls, text: str) -> Upper:
            return super().__new__(cls, text + "!")

    with pytest.raises(CodecError, match=r"\$\.a: .*another value"):
        encode({"a": Upper("x")}, Upper)
