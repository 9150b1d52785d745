"""R10, R6: classes that changed since they were recorded, and classes that users register hooks for."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import attrs
import pytest

from durable.codec import ABSENT, converter, decode, encode
from durable.errors import CodecError


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (attrs.make_class("Line", {"cost": attrs.field(default=0, type=int)}), "no field 'price'"),
        (attrs.make_class("Line", {"price": attrs.field(type=int), "vat": attrs.field(type=int)}), "vat"),
        (attrs.make_class("Other", {"price": attrs.field(type=int)}), "Line is recorded"),
        (enum.Enum("Line", ["A"]), "no member"),
        (
            attrs.make_class("Line", {"price": attrs.field(validator=attrs.validators.gt(5), type=int)}),
            "cannot be built again",
        ),
        (ABSENT, "does not name"),
    ],
)
def test_a_class_that_no_longer_fits_is_an_error_when_read(now: Any, why: str) -> None:
    """R6: the engine makes it a DriftError."""
    before = attrs.make_class("Line", {"price": attrs.field(type=int)})
    with pytest.raises(CodecError, match=why):
        decode(encode(before(1), before), now)


def test_a_new_field_with_a_default_takes_it_for_what_was_recorded_before() -> None:
    before = attrs.make_class("Line", {"price": attrs.field(type=int)})
    now = attrs.make_class("Line", {"price": attrs.field(type=int), "vat": attrs.field(default=19, type=int)})
    assert decode(encode(before(1), before), now) == now(1, 19)


def test_a_pydantic_model_is_refused_with_the_remedy() -> None:
    class Model:
        def model_dump(self) -> dict[str, Any]:
            return {}

    for annotation in (ABSENT, Model):
        with pytest.raises(CodecError, match=r"return model\.model_dump\(\)"):
            encode(Model(), annotation)


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


@pytest.fixture
def _money_hooks() -> Iterator[None]:
    """What is registered stays registered: only for a class that no other test uses."""
    with pytest.raises(CodecError, match=r"register hooks for it on durable\.codec\.converter"):
        encode(Money(5), Money)
    converter.register_unstructure_hook(Money, lambda money: {"at": datetime(2030, 1, 1), "cents": (money.cents,)})
    converter.register_structure_hook(Money, lambda tree, _: Money(tree["cents"][0]))
    yield


@pytest.mark.usefixtures("_money_hooks")
def test_a_class_with_registered_hooks_goes_through_them() -> None:
    """R10: also when they are registered after the class was refused once, as in a notebook."""

    @attrs.define
    class Cart:
        total: Money

    back = decode(encode([Cart(Money(5))], Cart), Cart)
    assert type(back[0].total) is Money and back[0].total.cents == 5


def test_hooks_go_before_the_fields_of_a_class() -> None:
    @attrs.define
    class Secret:
        text: str

    converter.register_unstructure_hook(Secret, lambda secret: secret.text[::-1])
    converter.register_structure_hook(Secret, lambda text, _: Secret(text[::-1]))
    assert "cba" in encode(Secret("abc"), Secret)
    assert decode(encode(Secret("abc"), Secret), Secret) == Secret("abc")


def test_a_hook_that_loses_something_is_refused() -> None:
    class Lossy:
        def __init__(self, n: int) -> None:
            self.n = n

    converter.register_unstructure_hook(Lossy, lambda lossy: lossy.n)
    converter.register_structure_hook(Lossy, lambda n, _: Lossy(n + 1))
    with pytest.raises(CodecError, match=r"\$\.a.*another value"):
        encode({"a": Lossy(1)}, Lossy)
