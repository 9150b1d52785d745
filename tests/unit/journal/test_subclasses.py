"""R10: a subclass of a plain type comes back as what it was, through its annotation, or is refused; never as less."""

from __future__ import annotations

import enum
import ipaddress
import pathlib
from collections import Counter, OrderedDict, UserDict, UserString, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest

from durable.errors import CodecError
from durable.journal.codec.remedies import Whose
from durable.journal.codec.values import encode
from tests.support.reading import decode


class Text(str):
    pass


class Whole(int):
    pass


class Real(float):
    pass


class Blob(bytes):
    pass


class Items(list[Any]):
    pass


class Fields(dict[str, Any]):
    pass


class Pair(tuple[Any, ...]):
    __slots__ = ()


class Bag(set[Any]):
    pass


class Frozen(frozenset[Any]):
    pass


class Named(NamedTuple):
    x: int
    y: str = "b"


class Tall(Named):
    pass


class Moment(datetime):
    pass


class Day(date):
    pass


class Clock(time):
    pass


class Span(timedelta):
    pass


class Money(Decimal):
    pass


class Key(UUID):
    pass


class Way(pathlib.PurePosixPath):
    pass


class Zone(ZoneInfo):
    pass


class Level(enum.IntEnum):
    LOW = 1


class Tone(enum.StrEnum):
    SOFT = "soft"


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Mixed(Text, enum.Enum):
    A = "a"


class OwnFlag(int):
    """As a bool of another library is one."""

    def __repr__(self) -> str:
        return "yes" if self else "no"


class Lying(int):
    """Says that it is something else wherever it is asked."""

    def __int__(self) -> int:
        return 99

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__

    def __repr__(self) -> str:
        return "99"


class LyingText(str):
    def __str__(self) -> str:
        return "another text"

    def encode(self, *_given: Any) -> bytes:
        return b"another text"


class Empty(list[int]):
    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


class Claiming:
    """Says that it is a str."""

    @property
    def __class__(self) -> Any:
        return str

    @__class__.setter
    def __class__(self, cls: Any) -> None:
        raise TypeError


@dataclass
class Point:
    x: int


class Point3(Point):
    pass


@attrs.frozen
class Line:
    price: Whole
    name: Text
    tags: list[Text] = attrs.field(factory=list)


MADE: list[Any] = [
    Text("a"), Text(""), Text("\ud83d\ude00"), Whole(5), Whole(2**70), Real(1.5), Real("inf"), Blob(b"\x00"),
    Items([1, "b"]), Fields(a=1), Fields(), Pair((1, 2)), Bag({1}), Frozen({1}),
    Named(1), Tall(1, "c"), Level.LOW, Tone.SOFT, Access.READ | Access.WRITE, Access(0), Mixed.A, OwnFlag(1),
    Lying(3), LyingText("truth"), Empty([1, 2]), Point3(1), OrderedDict(a=1), Counter("aab"),
    Moment(2030, 1, 1, tzinfo=UTC), Day(2030, 1, 1), Clock(1, 2), Span(1), Money("1.10"), Key(int=7), Way("/a"),
    Zone("Europe/Berlin"), defaultdict(int, a=1), deque([1]), Fraction(1, 3), complex(1, 2), UserDict(a=1),
    UserString("a"), bytearray(b"a"), memoryview(b"a"), ipaddress.ip_address("127.0.0.1"), range(3), Claiming(),
]  # fmt: skip
WRAPPED: list[Callable[[Any], Any]] = [
    lambda one: one,
    lambda one: [one],
    lambda one: {"a": one},
    lambda one: {"a": [1, (one,)]},
    lambda one: [{"b": one}, 1.5, None],
]


def bare(value: Any) -> list[Any]:
    """Return all that a value is, as values of exact built-in types."""
    kind = type(value)
    if issubclass(kind, list):
        return [kind, [bare(one) for one in list.__iter__(value)]]
    if issubclass(kind, tuple):
        return [kind, [bare(one) for one in tuple.__iter__(value)]]
    if issubclass(kind, dict):
        return [kind, [(bare(key), bare(one)) for key, one in dict.items(value)]]
    if issubclass(kind, enum.Enum):
        return [kind, value.name]
    if issubclass(kind, int):
        return [kind, int.__add__(value, 0)]
    if issubclass(kind, str):
        return [kind, str.__add__(value, "")]
    if attrs.has(kind) or hasattr(kind, "__dataclass_fields__"):
        return [kind, {name: bare(one) for name, one in vars(value).items()}]
    return [kind, value]


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("value", MADE, ids=lambda one: type(one).__name__)
def test_a_subclass_comes_back_as_what_it_was_or_is_refused(value: Any, wrap: Callable[[Any], Any]) -> None:
    """R10."""
    given, kind = wrap(value), type(value)
    for annotation in (kind, kind | list[Any] | Text, dict[str, kind], Any | kind):
        try:
            written = encode(given, annotation)
        except CodecError as error:
            assert str(error).startswith("$") and kind.__name__ in str(error), error
        else:
            assert bare(decode(written, annotation)) == bare(given)


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("value", MADE, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("whose", Whose)
def test_a_subclass_that_nothing_names_is_refused(value: Any, wrap: Callable[[Any], Any], whose: Whose) -> None:
    """R10: also as the key of a dict."""
    for given in (wrap(value), {value: 1} if type(value).__hash__ is not None else [value]):
        with pytest.raises(CodecError, match=r"^\$"):
            encode(given, whose=whose)


COMES_BACK = (
    Text, Whole, Real, Blob, Items, Fields, Pair, Bag, Frozen, Named, Tall, Level, Tone, Access, Mixed, OwnFlag, Lying,
    LyingText, Empty, Point3, OrderedDict, Counter,
)  # fmt: skip


@pytest.mark.parametrize("value", MADE, ids=lambda one: type(one).__name__)
def test_most_of_them_come_back(value: Any) -> None:
    """What is refused is refused for a reason: nothing but a constructor of its own could build it again."""
    if isinstance(value, COMES_BACK) and type(value) in COMES_BACK:
        assert bare(decode(encode([value], list[type(value)]), list[type(value)])) == bare([value])
        return
    with pytest.raises(CodecError, match=r"cannot be kept: return"):
        encode([value], list[type(value)])


def test_subclasses_in_the_fields_of_a_class_come_back() -> None:
    line = Line(Whole(3), Text("tea"), [Text("a")])
    assert bare(vars_of(decode(encode(line, Line), Line))) == bare(vars_of(line))


def vars_of(line: Line) -> dict[str, Any]:
    return {"price": line.price, "name": line.name, "tags": line.tags}


def test_a_bool_stays_a_bool_beside_its_equals() -> None:
    """True == 1 == 1.0: as keys, in sets, under annotations that say otherwise."""
    for value in ([True, 1, 1.0, False, 0, 0.0], {1: True}, {True: 1}, (True, 1), {"a": True}):
        for annotation in (list[int], dict[str, int], int, bool, list[bool]):
            assert bare(decode(encode(value, annotation), annotation)) == bare(value)
