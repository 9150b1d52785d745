"""No value takes so long to write or to read that the loop stands still: ints of many digits, members of one hash."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from durable.errors import CodecError
from durable.journal.codec.values import decode, encode, outline

HUGE = 7**200_000  # 169,020 digits
SECONDS = 2.0  # of CPU: the old ways take ten times as long and more


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


@pytest.fixture(params=[0, 640, 4_300, 10**9])
def limit(request: pytest.FixtureRequest) -> Iterator[int]:
    """The interpreter's limit on digits: none, its lowest, its usual one, a high one."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(request.param)
    yield request.param
    sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [1, -one], lambda one: {"a": [one]}, lambda one: (one,)])
@pytest.mark.parametrize("annotation", [int, list[int], dict[str, Any], tuple[int]])
def test_an_int_of_any_size_comes_back(wrap: Any, annotation: Any, limit: int) -> None:
    """R10: whatever the interpreter's limit, and not as its digits, which take the square of their number."""
    written = encode(wrap(HUGE), annotation)
    assert '{"~int":' in written
    assert decode(written, annotation) == wrap(HUGE)


@pytest.mark.parametrize("digits", [4_000, 100_000, 400_000])
@pytest.mark.parametrize("shape", ["{}", "-{}", "[1,{}]", '{{"a":{}}}', '{{"~tuple":[{}]}}'])
def test_digits_that_another_wrote_are_read_in_time(digits: int, shape: str, limit: int) -> None:
    """A body that was not written here, under a checksum that is right."""
    text = shape.format("1" * digits)
    found = decode(text)
    while not isinstance(found, int):
        found = found["a"] if isinstance(found, dict) else found[-1]
    assert abs(found) == (10**digits - 1) // 9


def test_more_digits_than_can_be_read_in_time_are_refused(limit: int) -> None:
    text = f"[{'1' * 3_000_000}]"
    with pytest.raises(CodecError, match=r"^\$: .*3,000,000 digits takes too long"):
        decode(text)
    assert outline(text) == text


EQUAL = [number * sys.hash_info.modulus for number in range(20_000)]  # all with the hash 0


@pytest.mark.parametrize("tag", ["~set", "~frozenset"])
def test_a_set_of_too_many_members_of_one_hash_is_refused(tag: str) -> None:
    text = f'{{"a":[{{"{tag}":{EQUAL}}}]}}'.replace(" ", "")
    with pytest.raises(CodecError, match=r"^\$\.a\[0\]: .*the same hash"):
        decode(text)
    assert outline(text) == {"a": [EQUAL]}


def test_a_dict_of_too_many_keys_of_one_hash_is_refused() -> None:
    flat = [one for number in EQUAL for one in (number, 1)]
    with pytest.raises(CodecError, match=r"^\$: .*the same hash"):
        decode(f'{{"~dict":{flat}}}'.replace(" ", ""))


def test_what_could_not_be_read_is_refused_when_it_is_written() -> None:
    """R10: equal only by identity, so they are told apart in time here, and are refused before anything is kept."""
    members = EQUAL[:1_500]
    for value in ({"a": set(members)}, {"a": frozenset(members)}, {"a": dict.fromkeys(members)}):
        with pytest.raises(CodecError, match=r"^\$\.a: .*the same hash.*list"):
            encode(value)


@pytest.mark.parametrize(
    "value", [set(range(100_000)), set(EQUAL[:500]), dict.fromkeys(range(50_000)), {(1, 2), (2, 1)}]
)
def test_many_members_and_few_of_one_hash_are_kept(value: Any) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "hello", "", "[" * 100_000, '{"a":' * 5_000, '{"~set":[1],"~tuple":[2]}', '{"~timedelta":[1e400]}', "[1",
        '{"~datetime":"0000-00-00"}', '{"~=Gone":{"a":1}}', '{"~nope":[{"~tuple":[1]}]}', '{"~Event":[1]}', "\x00",
        '{"~loose":1,"~at":7}', '{"~loose":1,"~at":[[1]],"b":2}', '{"~dict":[[1],2]}', '{"~ZoneInfo":"../etc"}',
        '{"~PosixPath":5}', '{"~Decimal":"x"}', '{"~bytes":"é"}', '{"~UUID":{}}', '{"~int":"zz"}', '{"~str":"!"}',
        '{"~float":[]}', '{"~time":[1]}', '{"~timezone":[[99999,0,0],null]}', '{"~Signal":{"name":1,"nope":2}}',
        '{"~datetime":["2030-01-01",["~",1],0]}', "9" * 5_000_000, '{"~RecordedError":{"causes":[[]]}}',
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_text_that_nobody_wrote_is_a_codec_error_and_can_be_looked_at(text: str) -> None:
    """Whatever stands in a row whose checksum is right."""
    for annotation in (int, dict[str, Any]):
        try:
            decode(text, annotation)
        except CodecError as error:
            assert str(error).startswith("$")
    outline(text)
