"""R10, R6: classes that changed since they were recorded, and classes that users register hooks for."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import attrs
import pytest

from durable.errors import CodecError
from durable.journal.codec.classes import converter
from durable.journal.codec.fitting import ABSENT
from durable.journal.codec.remedies import Whose
from durable.journal.codec.values import decode, encode


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
            encode(Model(), annotation, whose=Whose.HANDLER)


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


@pytest.fixture
def _money_hooks() -> Iterator[None]:
    """What is registered stays registered: only for a class that no other test uses."""
    with pytest.raises(CodecError, match=r"register hooks for it on durable\.converter"):
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


# Hooks that do what they should not.


class Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class OwnEnd(BaseException):
    pass


def raising(error: BaseException) -> Callable[..., Any]:
    def hook(*_given: Any) -> Any:
        raise error

    return hook


def hooked(taken: Callable[[Any], Any], built: Callable[[Any, Any], Any]) -> type:
    """Return a new class with these hooks."""

    class Guest:
        def __init__(self, n: int = 1) -> None:
            self.n = n

    converter.register_unstructure_hook(Guest, taken)
    converter.register_structure_hook(Guest, built)
    return Guest


ERRORS = [ValueError("no"), Unshowable(), OwnEnd("gone"), asyncio.CancelledError(), GeneratorExit(), StopIteration(1)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_a_hook_raises_is_a_refusal_that_names_the_path(error: BaseException) -> None:
    """R10: when it is written, and when it is read after the hook has changed."""
    out = hooked(raising(error), lambda n, _: None)
    with pytest.raises(CodecError, match=r"^\$\.a\[0\]: .*Guest cannot be taken apart"):
        encode({"a": [out()]}, out)
    back = hooked(lambda guest: guest.n, raising(error))
    with pytest.raises(CodecError, match=r"^\$\.a\[0\]: .*Guest cannot be built again"):
        encode({"a": [back()]}, back)
    with pytest.raises(CodecError, match=r"^\$\.a\[0\]: .*Guest cannot be built again"):
        decode('{"a":[{"~=Guest":1}]}', back)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=["Ctrl-C", "exit"])
def test_what_ends_the_process_goes_through(error: BaseException) -> None:
    for guest in (hooked(raising(error), lambda n, _: None), hooked(lambda guest: guest.n, raising(error))):
        with pytest.raises(type(error)):
            encode({"a": [guest()]}, guest)


@pytest.mark.parametrize(
    ("taken", "why"),
    [
        (lambda guest: guest, "returned a Guest"),
        (lambda guest: [guest], "holds itself"),
        (lambda guest: {"a": {"b": guest}}, "holds itself"),
        (lambda guest: object(), "cannot be kept"),
        (lambda guest: iter([1]), "cannot be kept"),
    ],
)
def test_a_hook_that_gives_what_cannot_be_kept_is_refused(taken: Callable[[Any], Any], why: str) -> None:
    guest = hooked(taken, lambda n, _: guest())
    with pytest.raises(CodecError, match=rf"^\$\.k.*{why}"):
        encode({"k": guest()}, guest)


@pytest.mark.parametrize(
    "built", [lambda n, _: n, lambda n, cls: cls(n + 1), lambda n, _: None, lambda n, cls: cls, lambda n, cls: [cls(n)]]
)
def test_a_hook_that_builds_something_else_is_refused(built: Callable[[Any, Any], Any]) -> None:
    """R10: never a lesser value."""
    guest = hooked(lambda guest: guest.n, built)
    with pytest.raises(CodecError, match=r"^\$\.k"):
        encode({"k": guest(1)}, guest)


def test_a_hook_that_is_not_the_same_twice_is_refused() -> None:
    count = iter(range(100))
    guest = hooked(lambda guest: next(count), lambda n, cls: cls(n))
    with pytest.raises(CodecError, match=r"^\$\[0\]: .*another value"):
        encode([guest(1)], guest)


@pytest.mark.parametrize("change", ["append", "clear", "sort out", "add a key", "drop a key", "grow a set"])
def test_a_hook_that_changes_what_is_being_walked_changes_nothing_of_it(change: str) -> None:
    """It is kept as it was when it was given; nothing goes round for ever."""
    value: Any

    def taken(guest: Any) -> int:
        match change if value else "":
            case "append":
                value.append(guest)
            case "clear":
                value.clear()
            case "sort out":
                value.pop()
            case "add a key":
                value[f"more {len(value)}"] = guest
            case "drop a key":
                value.popitem()
            case "grow a set":
                value.add(len(value))
        return int(guest.n)

    guest = hooked(taken, lambda n, cls: cls(n))
    items = [guest(1), guest(2), guest(3)]
    value = set(items) if "set" in change else dict(zip("abc", items, strict=True)) if "key" in change else list(items)
    back = decode(encode(value, guest), guest)
    found = list(back.values()) if isinstance(back, dict) else list(back)
    assert sorted(one.n for one in found) == [1, 2, 3]


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "model_dump", "__module__"):
            raise RuntimeError(f"no {name}")
        return super().__getattribute__(name)


class Shy(metaclass=Meta):
    pass


class Touchy:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"hands off {name}")


@attrs.define(slots=False)
class Moody:
    n: int

    def __getattribute__(self, name: str) -> Any:
        if name == "n":
            raise RuntimeError("no n today")
        return super().__getattribute__(name)


@attrs.define(eq=False, slots=False)
class Fighting:
    n: int = 1

    def __attrs_post_init__(self) -> None:
        self.extra = Quarrel()


class Quarrel:
    def __eq__(self, _other: object) -> bool:
        raise RuntimeError("no comparison")

    __ne__ = __eq__  # type: ignore[assignment]

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class Loud(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no items")

    __iter__ = items  # type: ignore[assignment]


ODD: dict[str, Callable[[], tuple[Any, Any]]] = {
    "a metaclass, unnamed": lambda: (Shy(), ABSENT),
    "a metaclass": lambda: (Shy(), Shy),
    "every attribute, unnamed": lambda: (Touchy(), ABSENT),
    "every attribute": lambda: (Touchy(), Touchy),
    "a field": lambda: (Moody(1), Moody),
    "an attribute that is compared": lambda: (Fighting(), Fighting),
    "no fields": lambda: (Quarrel(), Quarrel),
    "its text": lambda: (Unshowable(), ABSENT),
    "its text, deeper": lambda: ({"a": Unshowable()}, Unshowable),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_class_that_raises_when_it_is_looked_at_is_refused(odd: str) -> None:
    value, annotation = ODD[odd]()
    said = ""
    try:
        encode([value], annotation)
    except CodecError as error:
        said = str(error)
    except BaseException as error:  # told without the value, which a test's report cannot show
        said = f"a {type.__getattribute__(type(error), '__name__')}"
    del value, annotation
    assert said.startswith("$[0]"), said


def test_a_subclass_that_overrides_how_it_is_walked_is_walked_all_the_same() -> None:
    value = Loud(a=1)
    back = decode(encode(value, Loud), Loud)
    assert type(back) is Loud and dict.items(back) == dict.items(value)
