"""Check what a step that waits for an event asks for.

Separate because nearly all of it is written in the code of a function, which is called over and over: it is checked
once.
Leaves to `step` what is different in each run.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from durable.events import checked_expression, checked_path, checked_pattern
from durable.journal import WAIT_NAMES
from durable.timers import Duration, span_or_instant

Asked = tuple[str, timedelta | datetime, str | None, str | None]
"""The event's name, the timeout, `match` and `if_exp`."""

_MOST = 512
_TEXTS = frozenset({str, type(None)})
_checked: dict[tuple[str, str, str | None, str | None], Asked] = {}


def asked(
    step_id: str, event: str, timeout: Duration | datetime, match: str | None = None, if_exp: str | None = None
) -> Asked:
    """Return what step `step_id` waits for, checked, with a duration as its span.

    Raises:
        TypeError, ValueError, ExpressionError, LimitError: one of them is none; the message names the step.
    """
    # Only of exact texts: other values may be equal to one and spell something else.
    if type(event) is not str or type(timeout) is not str or not _TEXTS.issuperset((type(match), type(if_exp))):
        return _asked(step_id, event, timeout, match, if_exp)
    written = (event, timeout, match, if_exp)
    found = _checked.get(written)
    if found is None:
        found = _asked(step_id, event, timeout, match, if_exp)
        if len(_checked) >= _MOST:
            _checked.clear()
        _checked[written] = found
    return found


def _asked(step_id: str, event: str, timeout: Duration | datetime, match: str | None, if_exp: str | None) -> Asked:
    what = f"step {step_id!r}"
    event = checked_pattern(event, what=what)
    if "*" in event:
        raise ValueError(f"{what} waits for one event by its name, not for a pattern: {event!r}")
    if match is not None:
        match = ".".join(checked_path(match, what=what))
    if if_exp is not None:
        if_exp = checked_expression(if_exp, WAIT_NAMES, what=f"if_exp of {what}").source
    return event, span_or_instant(timeout, what=f"the timeout of {what}"), match, if_exp
