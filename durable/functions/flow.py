"""Declare when a function's runs open and begin: limits, rates, queues, batches.

Separate because each option is checked where it is written, long before a run asks for it.
Leaves to `journal` what an option means, to `scheduler` the runs that wait.

Every key is a CEL expression over `event`. It is evaluated once, when the event comes. Its value counts with its JSON
type: 1 and "1" are two keys, 1 and 1.0 are one. Where it is absent, null or fails, the event is in a bucket of its own;
a failure gives one WARNING. Without a key all runs of the function share one bucket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import attrs

from durable.errors import checked_calls
from durable.events import Expression, checked_choice, checked_count
from durable.functions.triggers import optional_expression
from durable.journal import Batching, Debouncing, Flow, Slots, Sole, Window
from durable.timers import Duration, duration, shown

_COUNTS = ("steps", "runs")
_SCOPES = ("function", "engine")


def _key(source: object, of: object) -> Expression | None:
    return optional_expression(source, ("event",), what=f"the key of a {type(of).__name__}")


def _span(value: Duration, of: object, name: str) -> timedelta:
    what = f"the {name} of a {type(of).__name__}"
    span = duration(value, what=what)
    if not span:
        raise ValueError(f"{what} must be more than zero")
    return span


def _put(of: object, **checked: object) -> None:
    for name, value in checked.items():
        object.__setattr__(of, name, value.source if isinstance(value, Expression) else value)


@checked_calls
@attrs.frozen
class Concurrency:
    """Concurrency bounds how much of a function runs at the same time; the rest waits.

    Who waits is served in the order of opening, or of `Priority`. Waiting is no record. What sleeps, waits, or stands
    before its next try holds no slot of "steps".

    Attributes:
        limit: how many at a time, 1 or more.
        key: CEL over `event`: each value has slots of its own.
        scope: "function", or "engine": all functions that spell the same key share its slots. It needs a key.
        counts: "steps", the tries of handlers that run, or "runs", from their first call to their end.

    Raises:
        TypeError, ValueError, ExpressionError: at the call.
    """

    limit: int
    key: str | None = None
    scope: Literal["function", "engine"] = "function"
    counts: Literal["steps", "runs"] = "steps"

    def __attrs_post_init__(self) -> None:
        limit = checked_count(self.limit, "the limit of a Concurrency", least=1)
        scope = checked_choice(self.scope, _SCOPES, "the scope of a Concurrency")
        counts = checked_choice(self.counts, _COUNTS, "counts of a Concurrency")
        _put(self, limit=limit, key=_key(self.key, self), scope=scope, counts=counts)
        if scope == "engine" and self.key is None:
            raise ValueError(
                'Concurrency(scope="engine") needs a key: functions that spell the same key share its slots'
            )


@checked_calls
@attrs.frozen
class Throttle:
    """A throttle bounds how many runs start in any `period`; the others stay queued.

    A start is recorded before the function is first called, so the bound also holds over a restart. Further attempts
    and `engine.retry` are no starts.

    Attributes:
        limit: how many, 1 or more.
        period: a duration.
        key: CEL over `event`: each value has a limit of its own.
        burst: how many may start at once; later ones are `period / limit` apart. Default: as many as the limit allows.
        counts: "runs", or "steps": the tries of handlers, as a limit of calls a minute.

    Raises:
        TypeError, ValueError, ExpressionError: at the call.
    """

    limit: int
    period: Duration
    key: str | None = None
    burst: int | None = None
    counts: Literal["runs", "steps"] = "runs"

    def __attrs_post_init__(self) -> None:
        limit = checked_count(self.limit, "the limit of a Throttle", least=1)
        burst = None if self.burst is None else checked_count(self.burst, "the burst of a Throttle", least=1)
        counts = checked_choice(self.counts, _COUNTS, "counts of a Throttle")
        period = _span(self.period, self, "period")
        _put(self, limit=limit, period=period, key=_key(self.key, self), burst=burst, counts=counts)


@checked_calls
@attrs.frozen
class RateLimit:
    """A rate limit bounds how many runs open in any `period`; what is more opens no run.

    `engine.start` and `step.invoke` of such a run raise RateLimitedError, in a step as a StepError.

    Attributes:
        limit: how many, 1 or more.
        period: a duration. An opening counts for so long, even if `prune` has taken its run.
        key: CEL over `event`: each value has a limit of its own.

    Raises:
        TypeError, ValueError, ExpressionError: at the call.
    """

    limit: int
    period: Duration
    key: str | None = None

    def __attrs_post_init__(self) -> None:
        limit = checked_count(self.limit, "the limit of a RateLimit", least=1)
        _put(self, limit=limit, period=_span(self.period, self, "period"), key=_key(self.key, self))


@checked_calls
@attrs.frozen
class Debounce:
    """A debounce opens one run for many events: with the last, once none has come for `period`.

    The held event is recorded, so a crash neither loses nor delays it. An event with an older `ts` neither replaces nor
    delays it. What was replaced is told by the log and by `why` of the run. `engine.held` shows what is held,
    `engine.flush` opens it now, `engine.unsend` takes it back. `start` and `invoke` pass the debounce by.

    Attributes:
        period: a duration.
        timeout: how long after its first event the run opens at the latest. None: without limit.
        key: CEL over `event`: each value has a run of its own.

    Raises:
        TypeError, ValueError, ExpressionError: at the call.
    """

    period: Duration
    timeout: Duration | None = None
    key: str | None = None

    def __attrs_post_init__(self) -> None:
        period = _span(self.period, self, "period")
        timeout = None if self.timeout is None else _span(self.timeout, self, "timeout")
        _put(self, period=period, timeout=timeout, key=_key(self.key, self))


@checked_calls
@attrs.frozen
class Batch:
    """A batch opens one run for several events: `ctx.events`, in the order of sending.

    `ctx.event` is the first of them: the run's id derives from it, and keys and idempotency go by it. 10 MiB of data
    fill a batch, too. Held events are recorded, and a crash neither loses nor splits them. They are seen, opened and
    taken back as those of a `Debounce`. `start` and `invoke` pass the batch by.

    Attributes:
        max_size: how many events open the run at once, 1 or more.
        timeout: how long after its first event the run opens with those that have come.
        key: CEL over `event`: each value has batches of its own.
        if_exp: CEL over `event`, or None. Where it is not true, the event opens a run alone, at once.

    Raises:
        TypeError, ValueError, ExpressionError: at the call.
    """

    max_size: int
    timeout: Duration
    key: str | None = None
    if_exp: str | None = None

    def __attrs_post_init__(self) -> None:
        max_size = checked_count(self.max_size, "max_size of a Batch", least=1)
        condition = optional_expression(self.if_exp, ("event",), what="if_exp of a Batch")
        timeout = _span(self.timeout, self, "timeout")
        _put(self, max_size=max_size, timeout=timeout, key=_key(self.key, self), if_exp=condition)


@checked_calls
@attrs.frozen
class Priority:
    """A priority orders the runs that wait for a slot or a start.

    It delays nobody where nobody waits: of events that are sent together, too, the first begins if there is room. It is
    evaluated once, and recorded with the run's opening.

    Attributes:
        run: CEL over `event`, a number: the seconds by which a run goes before others, at most 600 either way. What is
            no number counts as 0, and gives one WARNING.

    Raises:
        TypeError, ValueError, ExpressionError: at the call.
    """

    run: str

    def __attrs_post_init__(self) -> None:
        _put(self, run=_of_priority(self))


@checked_calls
@attrs.frozen
class Singleton:
    """A singleton has one unfinished run at a time, sleeping ones too.

    The key is recorded with the run, and held over restarts until the run has ended. A run whose key another holds is
    not opened again by `engine.retry` or `fork`: a ValueError.

    Attributes:
        mode: "skip": a further event opens nothing, `engine.start` returns the run that holds the key, `step.invoke` is
            a StepError that names it. "cancel": that run is cancelled, with the reason, then the new one opens.
        key: CEL over `event`: one run for each value. Events without a value share one key.

    Raises:
        TypeError, ValueError, ExpressionError: at the call.
    """

    mode: Literal["skip", "cancel"] = "skip"
    key: str | None = None

    def __attrs_post_init__(self) -> None:
        mode = checked_choice(self.mode, ("skip", "cancel"), "the mode of a Singleton")
        _put(self, mode=mode, key=_key(self.key, self))


def _of_priority(option: Priority) -> Expression:
    found = optional_expression(option.run, ("event",), what="run of a Priority")
    if found is None:
        raise TypeError('run of a Priority must be an expression, such as "event.data.urgent ? 60 : 0", not None')
    return found


# As the rules know them. What an option holds was checked when it was made.


def _slots(option: Concurrency) -> Slots:
    return Slots(option.limit, _key(option.key, option), option.counts, option.scope == "engine")


def _window(option: Any) -> Window:
    window = Window(option.limit, option.period, _key(option.key, option))
    return window if isinstance(option, RateLimit) else attrs.evolve(window, burst=option.burst, counts=option.counts)


def _debouncing(option: Any) -> Debouncing:
    return Debouncing(option.period, option.timeout, _key(option.key, option))


def _batching(option: Any) -> Batching:
    condition = optional_expression(option.if_exp, ("event",), what="if_exp of a Batch")
    return Batching(option.max_size, option.timeout, _key(option.key, option), condition)


def _sole(option: Singleton) -> Sole:
    return Sole(option.mode, _key(option.key, option))


# By option: its class, what it is to the rules, and the name of that.
_OPTIONS: dict[str, tuple[type, Any, str]] = {
    "throttle": (Throttle, _window, "throttle"),
    "rate_limit": (RateLimit, _window, "rate_limit"),
    "debounce": (Debounce, _debouncing, "debounce"),
    "batch_events": (Batch, _batching, "batch"),
    "priority": (Priority, _of_priority, "priority"),
    "singleton": (Singleton, _sole, "singleton"),
}


def flow_of(given: Mapping[str, object], *, has_cancel: bool, what: str) -> Flow | None:
    """Return the flow control that a function declares, or None if it declares none.

    `given` are the options by name, None for those left out. `what` names the function in errors.

    Raises:
        TypeError: an option of another kind, or two that exclude each other.
    """
    options = {name: option for name, option in given.items() if option is not None}
    if not options:
        return None
    found: dict[str, Any] = {}
    for name, option in options.items():
        if name == "concurrency":
            found[name] = tuple(map(_slots, _concurrency(option, what=what)))
            continue
        kind, rule, field = _OPTIONS[name]
        if not isinstance(option, kind):
            raise TypeError(f"{name} of {what} must be a {kind.__name__}, not {shown(option)}")
        found[field] = rule(option)
    _check_together(options.keys(), has_cancel=has_cancel, what=what)
    return Flow(**found)


def _concurrency(given: object, *, what: str) -> tuple[Concurrency, ...]:
    if isinstance(given, Concurrency):
        return (given,)
    if isinstance(given, int):
        return (Concurrency(checked_count(given, f"concurrency of {what}", least=1)),)
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise TypeError(f"concurrency of {what} must be an int, a Concurrency or two of them, not {shown(given)}")
    if not 1 <= len(given) <= 2:
        raise ValueError(f"concurrency of {what} must be one limit or two, not {len(given)}")
    return tuple([limit for one in given for limit in _concurrency(one, what=what)])


_APART = (("debounce", "batch_events"), ("debounce", "singleton"), ("batch_events", "singleton"))


def _check_together(names: Any, *, has_cancel: bool, what: str) -> None:
    for one, other in _APART:
        if one in names and other in names:
            raise TypeError(f"{what} cannot have both {one} and {other}: leave one out")
    if has_cancel and "batch_events" in names:
        raise TypeError(f"{what} cannot have both batch_events and cancel: a batch has no event that is its own")
