"""What opens and what cancels a function's runs, as users declare it.

Separate because a declaration is checked where it is written, long before an event comes.
Leaves to `events` the matching.
"""

from __future__ import annotations

import attrs

from durable.events import Expression, checked_path, checked_pattern, checked_source, parse
from durable.journal import WAIT_NAMES, CancelRule
from durable.timers import Duration, duration


def checked_expression(source: object, names: tuple[str, ...], *, what: str) -> Expression | None:
    """Return the parsed expression, or None for None.

    Raises:
        TypeError, ValueError, LimitError: see `words.checked_text`.
        ExpressionError: it does not parse, or it uses a name that is not in `names`.
    """
    if source is None:
        return None
    return parse(checked_source(source, what=f"the expression of {what}"), names)


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
        expression = checked_expression(self.if_exp, ("event",), what=f"trigger {self.event!r}")
        put(self, "if_exp", None if expression is None else expression.source)


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
        expression = checked_expression(self.if_exp, WAIT_NAMES, what=f"Cancel {self.event!r}")
        put(self, "if_exp", None if expression is None else expression.source)
        if self.timeout is not None:
            put(self, "timeout", duration(self.timeout, what=f"the timeout of Cancel {self.event!r}"))

    def rule(self) -> CancelRule:
        """Return this cancel rule as the engine's rules use it, with its expression parsed."""
        expression = checked_expression(self.if_exp, WAIT_NAMES, what=f"Cancel {self.event!r}")
        timeout = None if self.timeout is None else duration(self.timeout)
        return CancelRule(self.event, self.match, expression, timeout)
