"""R10: what comes back equals what went in, with the same types, or it is refused when it is written."""

from __future__ import annotations

import json
import math
import pathlib
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from durable.errors import CodecError, RecordedError
from durable.events.event import Event, Signal
from durable.journal.codec.remedies import Whose
from durable.journal.codec.values import encode
from tests.support.reading import decode


def identical(one: Any, other: Any) -> bool:
    """Deeply equal including types, order of dicts, NaN, signs of zeros, time zones and folds."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, dict):
        return identical(list(one.items()), list(other.items()))
    if isinstance(one, set | frozenset):
        # Some match for each: NaN is in no set by equality.
        return len(one) == len(other) and all(any(identical(a, b) for b in other) for a in one)
    if isinstance(one, datetime | time):
        zones = [getattr(zone, "key", None) or zone for zone in (one.tzinfo, other.tzinfo)]
        bare = [value.replace(tzinfo=None) for value in (one, other)]
        return zones[0] == zones[1] and bare[0] == bare[1] and one.fold == other.fold
    if isinstance(one, ZoneInfo):
        return bool(one.key == other.key)  # one of a name, but for those that were made before the cache was cleared
    if isinstance(one, Decimal):
        return one.as_tuple() == other.as_tuple()
    return bool(one == other)


zones = st.one_of(
    st.none(),
    st.just(UTC),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]).map(ZoneInfo),
    st.just(timezone(timedelta(hours=2), "CEST")),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**700, max_value=10**701),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(st.characters(codec=None)),
    st.text(alphabet='~=\ud83d\ude00é{"\\u'),
    st.datetimes(timezones=zones, allow_imaginary=True),
    st.dates(),
    st.builds(lambda at, zone: at.replace(tzinfo=zone), st.times(), zones),
    st.timedeltas(),
    st.decimals(allow_nan=True),
    st.uuids(),
    st.binary(),
    st.sampled_from(["UTC", "Europe/Berlin"]).map(ZoneInfo),
    st.text("ab/.", min_size=1).map(pathlib.PurePosixPath),
    st.lists(st.sampled_from(["c:\\", "a", "b.c", "..", "/", "é"])).map(lambda parts: pathlib.PureWindowsPath(*parts)),
    st.text("ab/.", min_size=1).map(pathlib.Path),
)
hashable = scalars.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan()))
keys = st.one_of(
    st.text(), st.sampled_from(["~dict", "~", "~=A"]), hashable, st.tuples(hashable, hashable), st.frozensets(hashable)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(), inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(hashable, max_size=4),
        st.frozensets(hashable, max_size=4),
    ),
    max_leaves=25,
)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)


@settings(max_examples=400, deadline=None)
@given(values)
@example({"~dict": [1, 2]})
@example([{"~": 1}, {"a": 1, "~": 2}])
@example("\ud83d\ude00")
@example({"\ud83d\ude00": "\ud83d"})
@example({1: "int", "1": "str", 1.5: None, None: 0, (1, 2): []})
@example(-0.0)
def test_any_value_comes_back_identical(value: Any) -> None:
    """R10"""
    written = encode(value)
    assert written.isascii()
    assert "\n" not in written
    assert identical(decode(written), value)


@given(plain)
def test_plain_values_are_written_as_plain_json(value: Any) -> None:
    """R10: they pass as they are, unless a key looks like a tag."""
    written = encode(value)
    assert '{"~' in written or json.loads(written) == value
    assert identical(decode(written), value)


@given(values)
def test_the_same_value_gives_the_same_text(value: Any) -> None:
    assert encode(decode(encode(value))) == encode(value)


@pytest.mark.parametrize(
    "kinds", [({1: "a"}, {True: "a"}, {1.0: "a"}), ([1], (1,)), ({1}, frozenset({1})), (UTC, ZoneInfo("UTC"))]
)
def test_values_that_compare_equal_keep_their_own_type(kinds: tuple[Any, ...]) -> None:
    """R10"""
    for value in kinds:
        assert identical(decode(encode(value)), value)


def test_a_datetime_keeps_its_zone_and_its_fold() -> None:
    """R10: the second 02:30 of the night when the clocks go back."""
    when = datetime(2030, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    back = decode(encode(when))
    assert back == when and back.tzinfo.key == "Europe/Berlin" and back.fold == 1
    assert back.utcoffset() == timedelta(hours=1)


def test_ints_beyond_the_interpreters_limit_on_digits_come_back() -> None:
    value = {"n": -(10**5000), "m": 10**4299}
    assert decode(encode(value)) == value


def test_an_int_written_under_a_higher_limit_on_digits_is_read() -> None:
    written = encode([10**4200])
    old = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert decode(written) == [10**4200]
    finally:
        sys.set_int_max_str_digits(old)


def test_sets_are_written_in_an_order_that_does_not_depend_on_hashes() -> None:
    names = [f"name{number}" for number in range(50)]
    assert json.loads(encode(set(names)))["~set"] == sorted(names)


def test_events_signals_and_recorded_errors_need_no_annotation() -> None:
    """R10: a wait's answer is recorded like any value."""
    event = Event("shop/paid", {"at": date(2030, 1, 1), "~": (1,)}, id="e", ts=datetime(2030, 1, 1, tzinfo=UTC))
    error = RecordedError("A", "b", "c", "d", (RecordedError("E", "f"),))
    for value in (event, Signal("go", {1: 2}), error, [event, None]):
        assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"items": [1, 2, 3, {"price": object()}]}, "$.items[3].price"),
        ({"a b": {1: bytearray()}}, "$['a b'][1]"),
        ((1, range(3)), "$[1]"),
        ({"k": {(1, object)}}, "$.k[(1, <class 'object'>)][1]"),
        (OrderedDict(a=1), "$"),
        ([defaultdict(list)], "$[0]"),
        ({"c": Counter("aa")}, "$.c"),
        ({"x": 1j}, "$.x"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_with_its_path(value: Any, path: str) -> None:
    """R10"""
    with pytest.raises(CodecError) as caught:
        encode(value, whose=Whose.HANDLER)
    assert str(caught.value).startswith(f"{path}: a ")
    assert "return" in str(caught.value)


def test_a_time_zone_of_another_kind_is_refused() -> None:
    class Odd(type(UTC).__mro__[1]):  # type: ignore[misc]
        def utcoffset(self, _when: datetime | None) -> timedelta:
            return timedelta(hours=1)

    with pytest.raises(CodecError, match=r"\$\.at: .*Odd.*ZoneInfo"):
        encode({"at": datetime(2030, 1, 1, tzinfo=Odd())})


class Text(str):
    pass


@pytest.mark.parametrize("value", [Text("a"), [Text("a")], {Text("a"): 1}, {"a": Text("b")}])
def test_a_subclass_is_refused_and_never_flattened(value: object) -> None:
    """R10: json alone would write it as its base."""
    with pytest.raises(CodecError, match="Text comes back only through its type"):
        encode(value)


def cyclic() -> Iterator[Any]:
    one: list[Any] = []
    one.append(one)
    one.append(one)
    yield one
    two: dict[str, Any] = {}
    two["self"] = [two, two]
    yield two
    three: list[Any] = [datetime(2030, 1, 1)]
    three.append((three,))
    yield {"deep": three}


@pytest.mark.parametrize("value", list(cyclic()))
def test_a_value_that_holds_itself_is_refused_with_its_path(value: Any) -> None:
    with pytest.raises(CodecError, match=r"^\$[.\[].*holds itself"):
        encode(value)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner,)])
def test_two_hundred_levels_are_kept_and_one_more_is_refused(wrap: Any) -> None:
    value: Any = wrap(1)
    for _ in range(199):
        value = wrap(value)
    assert decode(encode(value)) == value
    with pytest.raises(CodecError, match="deeper than 200 levels"):
        encode(wrap(value))


@pytest.mark.parametrize("left", range(12, 60, 3))
def test_a_stack_that_is_nearly_full_is_a_codec_error(left: int) -> None:
    value = [[[[[[[[[[(1,)]]]]]]]]]]

    def deeper(levels: int) -> str:
        return encode(value) if levels == 0 else deeper(levels - 1)

    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    try:
        written = deeper(sys.getrecursionlimit() - depth - left)
    except CodecError as error:
        assert left < 50 and "stack" in str(error)
    else:
        assert left > 10 and written == encode(value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "1 2", "nul", '{"~nope":1}', '{"~datetime":"x"}', '{"~datetime":"2030-01-01","b":1}', '{"~set":1}',
     '{"~ZoneInfo":"No/Where"}', '{"~dict":[1]}', '{"~set":[[1]]}', '{"~UUID":1}', '{"~bytes":"%"}'],
)  # fmt: skip
def test_text_that_the_codec_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        decode(text)


@pytest.mark.skipif(sys.platform == "win32", reason="the other way round there")
def test_a_path_of_another_system_says_so() -> None:
    with pytest.raises(CodecError, match="another operating system"):
        decode('{"~WindowsPath":"c:/a"}')


@pytest.mark.parametrize("odd", ["\\\\a\\", "\\\\.\\", "//a//", "a/", ""])
def test_a_path_comes_back_or_is_refused(odd: str) -> None:
    """R10: on Python 3.11 the text of the first two spells another path."""
    path = pathlib.PureWindowsPath(odd)
    try:
        written = encode([path])
    except CodecError as error:
        assert str(error).startswith("$[0]: the path") and pathlib.PureWindowsPath(str(path)) != path
    else:
        assert identical(decode(written), [path])


def test_uuids_decimals_and_bytes_are_exact() -> None:
    value = [UUID(int=5), Decimal("1.10"), Decimal("-0"), Decimal("sNaN"), b"\x00\xff"]
    assert identical(decode(encode(value)), value)


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"a": "b", "c": None}, dict.fromkeys("abcdefghij", 1.5)])
def test_a_value_that_is_read_is_nobody_elses(value: dict[str, Any]) -> None:
    """R3: not the handler's own, nor that of who reads it as well; what becomes of theirs later is not seen."""
    before, written = dict(value), encode(value)
    value["later"] = 1
    first, second = decode(written), decode(written)
    assert first == second == before and first is not second
    first["later"] = 1
    assert decode(written) == before
