"""The event bus: who is asked about an event, and who answers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from durable.events.bus import EventBus
from durable.events.event import Event
from durable.events.expressions.expression import parse
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.scope import Budget
from durable.events.matching import checked_path, checked_pattern, index_key, seen_by_filters
from durable.events.triggers import Complaint, Listener, Trigger

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
BY_ID = "async.data.id == event.data.id"


class Counted:
    """An expression that counts how often it is asked."""

    def __init__(self, source: str, asked: list[str]) -> None:
        self.source = source
        self._expression = parse(source, ("event", "async"))
        self._asked = asked
        self.is_equality = self._expression.is_equality

    def evaluate(self, bindings: Mapping[str, Any], budget: Budget | None = None) -> Any:
        self._asked.append(self.source)
        return self._expression.evaluate(bindings, budget)

    def equalities(self) -> Any:
        return self._expression.equalities()


def quiet(about: str, text: str) -> None:
    raise AssertionError(f"{about}: {text}")


def listener(run: str, own: dict[str, Any], *, match: str | None = None, if_exp: Any = None, **kw: Any) -> Listener:
    path = None if match is None else checked_path(match, what="a test")
    expression = parse(if_exp, ("event", "async")) if isinstance(if_exp, str) else if_exp
    return Listener(
        (run, "w"), kw.get("event", "paid"), kw.get("until"), path, expression, seen_by_filters(Event("go", own))
    )


def bus_of(*listeners: Listener, complain: Complaint = quiet) -> EventBus:
    bus = EventBus(complain)
    for one in listeners:
        bus.listen(one)
    return bus


def answered(bus: EventBus, data: dict[str, Any], *, name: str = "paid", now: datetime = NOON) -> list[str]:
    return sorted(one.place[0] for one in bus.listeners_for(seen_by_filters(Event(name, data)), now))


@pytest.mark.parametrize(
    "source",
    [
        "async.data.id == event.data.id",
        "event.data.id == async.data.id",
        "async.data['id'] == event.data.id",
        "async.data.plan == 'pro' && async.data.id == event.data.id",
        "event.data.id == async.data.id && async.data.plan == 'pro' && size(async.data.plan) == 3",
        "(async.data.plan == 'pro' && true) && (event.data.id == async.data.id)",
        "async.data.id == 'u' + string(event.data.number) && async.data.plan == 'pro'",
    ],
)
def test_one_event_asks_one_of_ten_thousand_waits(source: str) -> None:
    """Section 7: by one equality, written either way round; a bound value comes before a literal.

    A filter that is that equality alone need not even be asked.
    """
    asked: list[str] = []
    own = ({"id": f"u{number}", "number": number} for number in range(10_000))
    expression = Counted(source, asked)
    bus = bus_of(*(listener(str(number), data, if_exp=expression) for number, data in enumerate(own)))
    assert answered(bus, {"id": "u77", "plan": "pro"}) == ["77"]
    assert len(asked) == ("&&" in source)


def test_a_match_narrows_before_the_expression_is_asked() -> None:
    """R20: `match` is the equality that is indexed where both are given."""
    asked: list[str] = []
    expression = Counted("async.data.plan == 'pro'", asked)
    bus = bus_of(*(listener(str(n), {"id": n}, match="data.id", if_exp=expression) for n in range(10_000)))
    assert answered(bus, {"id": 5, "plan": "pro"}) == ["5"]
    assert answered(bus, {"id": 5, "plan": "free"}) == []
    assert len(asked) == 2


def test_waits_for_other_names_are_never_asked() -> None:
    """Section 7: waits are indexed by name first."""
    asked: list[str] = []
    odd = Counted("async.data.id > 3", asked)
    bus = bus_of(*(listener(str(n), {}, if_exp=odd, event=f"paid.{n}") for n in range(10_000)))
    assert answered(bus, {"id": 5}, name="paid.9") == ["9"]
    assert answered(bus, {"id": 5}, name="paid") == []
    assert len(asked) == 1


def test_among_bound_values_the_first_is_indexed() -> None:
    """Section 7: a value of the run's own event before a literal; among equals the first."""
    bound = listener(
        "r", {"a": 1, "b": 2}, if_exp="async.data.x == 'l' && async.data.b == event.data.b && async.data.a == 1"
    )
    assert bound.equality() == (("data", "b"), ("number", 2))
    both = listener("r", {"a": 1, "b": 2}, if_exp="async.data.b == event.data.b && async.data.a == event.data.a")
    assert both.equality() == (("data", "b"), ("number", 2))
    literal = listener("r", {}, if_exp="async.data.a > 1 && 'l' == async.data.x")
    assert literal.equality() == (("data", "x"), ("string", "l"))


@pytest.mark.parametrize("source", ["async.data.id == null", "async.data.id == event.data.none", "async.data.id > 3"])
def test_what_cannot_be_indexed_is_found_all_the_same(source: str) -> None:
    """Section 7: `x == null` is not indexable, since a missing field is null."""
    one = listener("r", {"none": None}, if_exp=source)
    assert one.equality() is None
    assert answered(bus_of(one), {"id": 4} if ">" in source else {}) == ["r"]


def test_an_alternative_is_no_equality() -> None:
    """Section 7: only a top-level conjunct is indexed; one side of || alone would lose answers."""
    one = listener("r", {"id": 1}, if_exp="async.data.id == event.data.id || async.data.all == true")
    assert one.equality() is None
    assert answered(bus_of(one), {"all": True}) == ["r"]


@pytest.mark.parametrize("how", [{"match": "data.id"}, {"if_exp": BY_ID}])
def test_values_are_indexed_with_their_json_type(how: dict[str, str]) -> None:
    """Section 7: `True` is not `1`, `1` is `1.0`; nor is "1" a number."""
    values = {"true": True, "one": 1, "float": 1.0, "text": "1", "false": False, "zero": 0}
    bus = bus_of(*(listener(run, {"id": value}, **how) for run, value in values.items()))
    assert answered(bus, {"id": 1}) == ["float", "one"]
    assert answered(bus, {"id": 1.0}) == ["float", "one"]
    assert answered(bus, {"id": True}) == ["true"]
    assert index_key(True) != index_key(1) == index_key(1.0) != index_key("1")
    assert answered(bus, {"id": "1"}) == ["text"]
    assert answered(bus, {"id": 0.0}) == ["zero"]


def test_large_ints_are_compared_exactly() -> None:
    """Section 6: int and float compare by value, exactly: 2**53 + 1 is no float."""
    bus = bus_of(*(listener(str(n), {"id": 2**53 + n}, match="data.id") for n in range(3)))
    assert answered(bus, {"id": float(2**53)}) == ["0"]
    assert answered(bus, {"id": 2**53 + 1}) == ["1"]


def test_a_match_of_lists_and_maps_compares_what_they_hold() -> None:
    """R20: containers are not indexed, and are compared as JSON does."""
    own = {"list": [1, {"a": True}], "other": [1, {"a": 1}], "map": {"a": 1}}
    bus = bus_of(*(listener(run, {"id": value}, match="data.id") for run, value in own.items()))
    assert answered(bus, {"id": [1.0, {"a": True}]}) == ["list"]
    assert answered(bus, {"id": {"a": 1}}) == ["map"]


def test_an_absent_path_never_matches() -> None:
    """R20: absent never matches, on either side, not even absent with absent."""
    bus = bus_of(listener("has", {"id": 1}, match="data.id"), listener("lacks", {}, match="data.id"))
    assert answered(bus, {}) == []
    assert answered(bus, {"id": 1}) == ["has"]
    assert answered(bus, {"id": {}}) == []


def test_who_left_is_not_answered_and_leaves_nothing_behind() -> None:
    """R9, R27: a wait that was cancelled or answered is freed."""
    bus = EventBus(quiet)
    ways: list[dict[str, str]] = [{}, {"match": "data.id"}, {"if_exp": BY_ID}, {"if_exp": "async.data.id > 0"}]
    for number, how in enumerate(ways):
        bus.listen(listener(str(number), {"id": 1}, **how))
    for number in range(len(ways)):
        assert answered(bus, {"id": 1}) == [str(left) for left in range(number, len(ways))]
        bus.leave((str(number), "w"))
    bus.leave(("0", "w"))
    assert not bus.is_heard("paid") and bus.near_misses("paid") == []


def test_one_event_answers_waits_in_the_order_in_which_they_came() -> None:
    """R18: whatever they ask for, and wherever the index has them. One that came again came last."""
    waits = [
        listener("any", {}),
        listener("n", {"n": 1}, match="data.n"),
        listener("m", {"m": 2}, match="data.m"),
        listener("any too", {}),
        listener("n too", {"n": 1}, match="data.n"),
    ]
    bus, seen = bus_of(*waits), seen_by_filters(Event("paid", {"n": 1, "m": 2}))
    assert [one.place[0] for one in bus.listeners_for(seen, NOON)] == ["any", "n", "m", "any too", "n too"]
    bus.listen(listener("any", {}))
    assert [one.place[0] for one in bus.listeners_for(seen, NOON)] == ["n", "m", "any too", "n too", "any"]


def test_a_listener_at_the_same_place_takes_the_place_of_the_first() -> None:
    """A newer definition of a function brings its cancellations anew."""
    bus = bus_of(listener("r", {"id": 1}, match="data.id"), listener("r", {"id": 2}, match="data.id"))
    assert answered(bus, {"id": 1}) == []
    assert answered(bus, {"id": 2}) == ["r"]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"match": "data.id"},
        {"if_exp": BY_ID},
        {"if_exp": "async.data.id > 0"},
        {"match": "data.id", "if_exp": BY_ID},
    ],
)
def test_a_deadline_ends_listening_before_its_timer_fires(how: dict[str, str]) -> None:
    """R19: an event that arrives at or after the deadline does not answer."""
    bus = bus_of(listener("r", {"id": 1}, until=NOON, **how))
    assert answered(bus, {"id": 1}, now=NOON - timedelta(microseconds=1)) == ["r"]
    assert answered(bus, {"id": 1}, now=NOON) == []


@pytest.mark.parametrize("seed", range(20))
def test_the_index_finds_exactly_who_would_answer_without_it(seed: int) -> None:
    """Section 7: candidates are evaluated in full; the index leaves nobody out."""
    chance = random.Random(seed)
    values: list[Any] = [0, 1, 1.0, True, False, "1", "a", None, [], [1], {"a": 1}, float("nan"), 2**60]
    values += [
        Decimal(1),
        Decimal("0.5"),
        0.5,
        UUID(int=1),
        str(UUID(int=1)),
        Path("a"),
        ZoneInfo("UTC"),
        NOON,
        NOON.date(),
    ]
    sources = [
        BY_ID,
        "event.data.id == async.data.id && async.data.x == 1",
        "async.data.x == 'a'",
        "async.data.x == null",
    ]
    sources += ["async.data.x == event.data.x || async.data.id == 1", "event.data.x == 1", "1 == async.data.x"]
    everyone = []
    for number in range(60):
        own = {key: chance.choice(values) for key in ("id", "x") if chance.random() < 0.8}
        match = chance.choice(["data.id", "data.x", None])
        everyone.append(listener(f"{number:02}", own, match=match, if_exp=chance.choice([*sources, None])))
    bus = bus_of(*everyone, complain=lambda *_: None)
    for _ in range(40):
        data = {key: chance.choice(values) for key in ("id", "x") if chance.random() < 0.8}
        seen = seen_by_filters(Event("paid", data))
        expected = [one.place[0] for one in everyone if _hears(one, seen)]
        assert answered(bus, data) == expected


def _hears(one: Listener, seen: Mapping[str, Any]) -> bool:
    try:
        return one.hears(seen, NOON)
    except EvaluationError:
        return False


# Triggers.


@pytest.mark.parametrize(
    ("name", "heard"),
    [
        ("shop/order.placed", ["shop/*", "shop/order.*", "shop/order.placed"]),
        ("shop/order.placed.late", ["shop/*", "shop/order.*"]),
        ("shop/order", ["shop/*"]),
        ("shop/", ["shop/*"]),
        ("shop", []),
        ("shopping/order.placed", []),
        ("shop/orders.placed", ["shop/*"]),
        ("durable/function.failed", ["durable/*", "durable/function.*"]),
    ],
)
def test_a_pattern_stands_for_every_ending_after_its_star(name: str, heard: list[str]) -> None:
    """Section 2: a * ends the name, after / or . ; R16: the runtime's own events only under their own prefix."""
    patterns = ["shop/*", "shop/order.*", "shop/order.placed", "durable/*", "durable/function.*", "dur.*"]
    bus = EventBus(quiet)
    for pattern in patterns:
        bus.add_trigger(Trigger(pattern, pattern))
    assert sorted(bus.functions_for(seen_by_filters(Event(name)))) == heard
    assert bus.is_heard(name) == bool(heard)


@pytest.mark.parametrize("pattern", ["", "*", "shop*", "shop/*/placed", "shop/**", "*/shop", "shop/or*"])
def test_a_star_anywhere_else_is_refused(pattern: str) -> None:
    """Section 2: "shop/*" and "shop/order.*" are patterns: a * ends the name, after / or . ."""
    with pytest.raises(ValueError, match="a pattern whose \\* ends it"):
        checked_pattern(pattern, what="a trigger")


def test_a_function_is_named_once_however_many_of_its_triggers_match() -> None:
    """R19: at most one run per function and event."""
    bus = EventBus(quiet)
    for pattern in ("shop/*", "shop/order.*", "shop/order.placed", "shop/order.placed"):
        bus.add_trigger(Trigger("f", pattern))
    assert bus.functions_for(seen_by_filters(Event("shop/order.placed"))) == ["f"]
    bus.drop_triggers("f")
    assert bus.functions_for(seen_by_filters(Event("shop/order.placed"))) == []
    assert not bus.is_heard("shop/order.placed")


def test_an_expression_that_fails_is_complained_of_and_holds_for_nobody() -> None:
    """Section 6: an error while evaluating means "no match"."""
    told: list[str] = []
    bus = EventBus(lambda about, text: told.append(text))
    bus.add_trigger(Trigger("f", "paid", parse("event.data.id > 'x'", ("event",))))
    bus.listen(listener("r", {}, if_exp="async.data.id > 'x'"))
    assert bus.functions_for(seen_by_filters(Event("paid", {"id": 1}))) == []
    assert bus.listeners_for(seen_by_filters(Event("paid", {"id": 1})), NOON) == []
    assert len(told) == 2
    assert "function 'f'" in told[0] and "run 'r'" in told[1]


def test_a_name_that_was_asked_for_is_looked_up_anew_when_triggers_change() -> None:
    bus = EventBus(lambda about, text: None)
    seen = {"name": "shop/order.placed", "data": {}}
    assert not bus.is_heard("shop/order.placed") and bus.functions_for(seen) == []
    bus.add_trigger(Trigger("f", "shop/*"))
    assert bus.is_heard("shop/order.placed") and bus.functions_for(seen) == ["f"]
    bus.add_trigger(Trigger("g", "shop/order.placed"))
    assert bus.functions_for(seen) == ["g", "f"] and bus.triggered_by("shop/order.placed") == ["g", "f"]
    bus.drop_triggers("f")
    assert bus.functions_for(seen) == ["g"]
    bus.drop_triggers("g")
    assert not bus.is_heard("shop/order.placed") and bus.functions_for(seen) == []
    bus.add_trigger(Trigger("h", "shop/*"))
    for number in range(2_000):  # any number of names may come
        assert bus.functions_for({"name": f"shop/{number}", "data": {}}) == ["h"]
