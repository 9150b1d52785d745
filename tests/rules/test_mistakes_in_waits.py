"""Rule R13a, R20: what people write wrongly in a wait, what they are told at once, and what to do about it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from durable import Event
from tests.support.mistakes import Mistake, in_a_function


def waiting(**filters: Any) -> Any:
    """Return the code of a function that waits for an event so."""
    return lambda ctx: ctx.step.wait_for_event("a", **{"event": "e", "timeout": 1, **filters})


MISTAKES: dict[str, Mistake] = {
    "a wait without a timeout": Mistake(lambda ctx: ctx.step.wait_for_event("a", event="e"), "'timeout'"),
    "a wait with a positional event": Mistake(lambda ctx: ctx.step.wait_for_event("a", "e", timeout=1), "positional"),
    "a wait for a pattern": Mistake(lambda ctx: ctx.step.wait_for_event("a", event="e/*", timeout=1), "'a'", "'e/*'"),
    "a wait whose match is no path": Mistake(
        lambda ctx: ctx.step.wait_for_event("a", event="e", timeout=1, match="a b"), "'a'", "a b"
    ),
    "a wait whose expression does not parse": Mistake(
        lambda ctx: ctx.step.wait_for_event("a", event="e", timeout=1, if_exp="async.data.x =="), "line 1"
    ),
    "a wait for a signal without a name": Mistake(
        lambda ctx: ctx.step.wait_for_signal("a", signal="", timeout=1), "'a'"
    ),
    "a wait with an unknown conflict": Mistake(
        lambda ctx: ctx.step.wait_for_signal("a", signal="s", timeout=1, on_conflict="raise"),
        '"fail" or "replace"',
        "'raise'",
    ),
    "a wait by another library's names": Mistake(
        waiting(expression="x"),
        "'expression'",
        "it is Step.wait_for_event(step_id, *, event, timeout, match=..., if_exp",
    ),
    "a wait without an id": Mistake(
        lambda ctx: ctx.step.wait_for_event(event="e", timeout=1), "'step_id'", "wait_for_event(step_id, *, event,"
    ),
    "a wait for an event object": Mistake(waiting(event=Event("e")), "step 'a'", "must be a name, not Event("),
    "a wait without a name": Mistake(waiting(event=""), "step 'a'", "cannot be ''"),
    "a timeout of None": Mistake(waiting(timeout=None), "the timeout of step 'a' cannot be None", 'write "30s"'),
    "a timeout without a unit": Mistake(waiting(timeout="3600"), "the timeout of step 'a' cannot be '3600'", '"24h"'),
    "a timeout at a naive instant": Mistake(
        waiting(timeout=datetime(2031, 1, 1)), "the timeout of step 'a' must say its time zone", "replace(tzinfo=UTC)"
    ),
    "a match that the run's own event lacks": Mistake(
        waiting(match="data.user_id"),
        "match='data.user_id' of step 'a' can never match",
        "it has no 'data.user_id': there is 'order_id' in 'data'",
    ),
    "a match that goes on below a value": Mistake(waiting(match="data.order_id.no"), "'a' can never match"),
    "a match that begins with the event": Mistake(
        waiting(match="event.data.order_id"), "match of step 'a' must be a path", "such as 'data.invoice_id'"
    ),
    "a match of all data": Mistake(waiting(match="data"), "match of step 'a' must be a path below the event"),
    "a match that is a comparison": Mistake(
        waiting(match="event.data.order_id == async.data.order_id"), "match of step 'a' must be a path below the event"
    ),
    "a match that is a function": Mistake(waiting(match=len), "match of step 'a' must be a path such as 'data.invoice"),
    "an expression with one =": Mistake(
        waiting(if_exp="event.data.id = async.data.id"),
        "if_exp of step 'a': line 1, column 15",
        "unexpected character '='; to compare, write ==",
    ),
    "an expression without event or async": Mistake(
        waiting(if_exp="data.order_id == 7"),
        "if_exp of step 'a'",
        "unknown variable 'data': write event.data or async.data",
    ),
    "an expression with Python's and": Mistake(
        waiting(if_exp="async.data.id == 7 and async.data.paid"),
        "if_exp of step 'a'",
        "unexpected 'and'",
        "for 'and' write &&",
    ),
    "an expression with Python's or": Mistake(
        waiting(if_exp="async.data.a or async.data.b"), "'or'", "for 'or' write ||"
    ),
    "an expression with Python's not": Mistake(
        waiting(if_exp="not async.data.paid"), "if_exp of step 'a'", "for 'not' write !"
    ),
    "an expression with Python's True": Mistake(
        waiting(if_exp="async.data.paid == True"), "if_exp of step 'a'", "unknown variable 'True': write true"
    ),
    "an expression with Python's None": Mistake(
        waiting(if_exp="async.data.paid is None"), "if_exp of step 'a'", "unexpected 'is'", "for 'is' write =="
    ),
    "an expression with a variable mistyped": Mistake(
        waiting(if_exp="asnyc.data.id == 7"), "if_exp of step 'a'", "'asnyc': there is async, event"
    ),
    "an expression that is a lambda": Mistake(
        waiting(if_exp=lambda event: True), "if_exp of step 'a' must be a string"
    ),
    "an expression with a quote too few": Mistake(waiting(if_exp="async.data.a == 'x"), "if_exp of step 'a': line 1"),
    "an expression of an unknown function": Mistake(waiting(if_exp="lower(async.data.a) == 'x'"), "if_exp of step 'a'"),
    "what is asked cannot be kept": Mistake(waiting(ask=object()), "ask of step 'a'", "cannot be kept"),
    "a signal by its position": Mistake(
        lambda ctx: ctx.step.wait_for_signal("a", "go", timeout=1),
        "it is Step.wait_for_signal(step_id, *, signal, timeout",
    ),
    "a signal that is a number": Mistake(
        lambda ctx: ctx.step.wait_for_signal("a", signal=7, timeout=1), "the signal of step 'a' must be a string"
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_wait_is_told_at_once_with_its_remedy(mistake: str) -> None:
    in_a_function(MISTAKES[mistake])
