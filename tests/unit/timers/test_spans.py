"""Spans: what is kept by key and given out in the order of setting, however many there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from durable.timers.spans import CHUNK, Spans

START = datetime(2030, 1, 1, tzinfo=UTC)


def at(number: int) -> datetime:
    return START + timedelta(seconds=number)


@pytest.mark.parametrize("seed", range(8))
def test_they_are_given_out_as_a_plain_dict_would_give_them(seed: int) -> None:
    chance, spans = Random(seed), Spans[int]()
    model: dict[int, datetime] = {}
    for _ in range(6_000):
        key, what = chance.randrange(1_500), chance.random()
        if what < 0.6:
            model.pop(key, None)
            model[key] = when = at(chance.randrange(1_000))
            spans.set(key, when)
        elif what < 0.999:
            model.pop(key, None)
            spans.drop(key)
        else:
            taken = list(spans.take().items())
            assert taken == list(model.items())[: len(taken)] and bool(taken) == bool(model)
            for key, _ in taken:
                del model[key]
        assert len(spans) == len(model)
    rest: list[tuple[int, datetime]] = []
    while spans:
        rest += spans.take().items()
    assert rest == list(model.items())


def test_none_is_moved_with_more_than_a_chunk_of_others() -> None:
    spans = Spans[int]()
    for number in range(5_000):
        spans.set(number, at(number))
    for number in range(1, 5_000):
        spans.drop(number)
    assert spans.take() == {0: at(0)} and spans.take() == {} and not len(spans)
    for number in range(5_000):
        spans.set(number, at(number))
    sizes = []
    while spans:
        sizes.append(len(spans.take()))
    assert sum(sizes) == 5_000 and max(sizes) == CHUNK
