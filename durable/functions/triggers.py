"""What opens and what cancels a function's runs, as users declare it.

Separate because a declaration is checked where it is written, long before an event comes.
Leaves to `events` the matching.
"""

from __future__ import annotations

import attrs

from durable.errors import checked_calls
from durable.events import Expression, Trigger, checked_expression, checked_path, checked_pattern
from durable.journal import WAIT_NAMES, CancelRule
from durable.timers import Duration, duration


def optional_expression(source: object, names: tuple[str, ...], *, what: str) -> Expression | None:
    """Return the parsed expression of an option, or None for None."""
    return None if source is None else checked_expression(source, names, what=what)


@checked_calls
@attrs.frozen
class TriggerEvent:
    """A trigger names an event that opens a run of the function.

    Attributes:
        event: a name, or a pattern such as "shop/*" or "shop/order.*". A pattern ends with a `*` after `/` or `.`.
        if_exp: a CEL expression over `event`, or None. If it is not true, or fails, no run is opened.

    Raises:
        ValueError, ExpressionError: at the call, for a malformed pattern or expression.
    """

    event: str
    if_exp: str | None = None

    def __attrs_post_init__(self) -> None:
        put = object.__setattr__
        put(self, "event", checked_pattern(self.event, what="a trigger"))
        expression = trigger_of("", self).expression
        put(self, "if_exp", None if expression is None else expression.source)


def trigger_of(function: str, trigger: TriggerEvent) -> Trigger:
    """Return a trigger of a function as the engine's rules use it, with its expression parsed."""
    what = f"if_exp of TriggerEvent {trigger.event!r}"
    return Trigger(function, trigger.event, optional_expression(trigger.if_exp, ("event",), what=what))


@checked_calls
@attrs.frozen
class Cancel:
    """A cancel rule names an event that cancels the unfinished runs it matches.

    Attributes:
        event: the event's name. Only an event that is sent after a run was opened cancels the run.
        match: a path such as "data.order_id", or None. Its values in the run's own event and in this event must be
            equal. An event without the path does not match. For a run whose own event lacks the path, one WARNING in
            the log says that nothing can match.
        if_exp: a CEL expression over `event` (the run's own) and `async` (this one), or None. A missing field is null
            in it, so a field that is absent in both events is equal.
        timeout: for how long after its opening a run can be cancelled by this event. An opening by `engine.retry`
            counts anew. None: for as long as the run is unfinished.

    Raises:
        TypeError, ValueError, ExpressionError: at the call, for a malformed name, path, expression or duration.
    """

    event: str
    match: str | None = None
    if_exp: str | None = None
    timeout: Duration | None = None

    def __attrs_post_init__(self) -> None:
        put = object.__setattr__
        put(self, "event", checked_pattern(self.event, what="a Cancel"))
        if "*" in self.event:
            raise ValueError(f"the event of a Cancel must be a name without *, not {self.event!r}")
        if self.match is not None:
            put(self, "match", ".".join(checked_path(self.match, what=f"Cancel {self.event!r}")))
        rule = rule_of(self)
        put(self, "if_exp", None if rule.expression is None else rule.expression.source)
        put(self, "timeout", rule.timeout)


def rule_of(cancel: Cancel) -> CancelRule:
    """Return a cancel rule as the engine's rules use it, with its expression parsed."""
    expression = optional_expression(cancel.if_exp, WAIT_NAMES, what=f"if_exp of Cancel {cancel.event!r}")
    what = f"the timeout of Cancel {cancel.event!r}"
    timeout = None if cancel.timeout is None else duration(cancel.timeout, what=what)
    return CancelRule(cancel.event, cancel.match, expression, timeout)
