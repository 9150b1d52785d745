"""R10: what a handler returns is read off its annotation, whatever kind of callable it is."""

from __future__ import annotations

import functools
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn

import attrs
import pytest

from durable.functions.annotations import return_type
from durable.journal.codec.fitting import ABSENT


@attrs.define
class Order:
    id: str = ""

    async def later(self) -> Order:
        return self

    @classmethod
    def made(cls) -> list[Order]:
        return []

    @staticmethod
    def counted() -> int:
        return 0


class Shop:
    __slots__ = ()

    def __call__(self) -> Order:
        return Order()

    __hash__ = None  # type: ignore[assignment]


async def order() -> Order:
    return Order()


def orders() -> dict[str, Order | None]:
    return {}


def nothing() -> None: ...


def never() -> NoReturn:
    raise ValueError


def bare():  # type: ignore[no-untyped-def]
    ...


def soon() -> Awaitable[Order]:
    return order()


def coroutine() -> Coroutine[Any, Any, list[Order]]:
    raise NotImplementedError


async def inner_awaitable() -> Awaitable[int]:
    raise NotImplementedError


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: object) -> object:
        return function(*args)

    return wrapper


def quoted() -> list["Order"]:  # noqa: UP037
    return []


@functools.lru_cache
def cached() -> Order:
    return Order()


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (order, Order),
        (orders, dict[str, Order | None]),
        (nothing, type(None)),
        (never, NoReturn),
        (bare, ABSENT),
        (lambda: 1, ABSENT),
        (soon, Order),
        (coroutine, list[Order]),
        (inner_awaitable, Awaitable[int]),
        (passing(order), Order),
        (passing(passing(orders)), dict[str, Order | None]),
        (functools.partial(functools.partial(order)), Order),
        (Order().later, Order),
        (Order.made, list[Order]),
        (Order.counted, int),
        (Shop(), Order),
        (Order, Order),
        (quoted, list[Order]),
        (cached, Order),
        (len, ABSENT),
        (object(), ABSENT),
        (1, ABSENT),
    ],
)
def test_the_return_annotation_is_found(handler: Any, expected: object) -> None:
    """R10"""
    assert return_type(handler) == expected
    assert return_type(handler) == expected


def test_a_class_of_the_enclosing_function_is_found() -> None:
    class Local:
        pass

    def made() -> Local:
        return Local()

    def listed() -> list[Local]:
        return [Local()]

    assert return_type(made) is Local
    assert return_type(listed) == list[Local]


def test_an_annotation_that_does_not_resolve_counts_as_absent_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R10"""

    def function() -> Callable[[], object]:
        def lost() -> list[Nowhere]:  # type: ignore[name-defined]  # noqa: F821
            return []

        return lost

    lost = function()
    with caplog.at_level(logging.WARNING, logger="durable"):
        assert return_type(lost) is ABSENT
        assert return_type(lost) is ABSENT
        assert return_type(functools.partial(lost)) is ABSENT
        assert return_type(function()) is ABSENT  # made anew at each call of the function
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "lost" in message and "output_type" in message and "Nowhere" in message


def test_an_argument_that_does_not_resolve_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    def kept(_: Nowhere) -> list[int]:  # type: ignore[name-defined]  # noqa: F821
        return []

    assert return_type(kept) == list[int]
    assert not caplog.records


def test_a_handler_is_not_kept_alive() -> None:
    def made() -> Order:
        return Order()

    assert return_type(made) is Order
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None
