"""Read the text of a Retry-After header as a span or an instant.

Separate because servers write the header in five ways, and a bad header must never raise an error in the client.
Leaves to `errors` the use of the result, to `durations` the durations that users write.

Source: RFC 9110, 10.2.3 and 5.6.7: whole seconds, or a date in one of three forms. Fractions of a second, which some
servers send, and this library's own durations are read too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from durable.timers.durations import duration

_SECONDS = re.compile(r"[0-9]{1,20}(\.[0-9]{0,20})?")
_CLOCK = r"(?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})"
_DATES = tuple(
    re.compile(form)
    for form in (
        rf"[A-Za-z]+, (?P<day>[0-9]{{1,2}})[ -](?P<month>[A-Za-z]{{3}})[ -](?P<year>[0-9]{{2}}|[0-9]{{4}}) {_CLOCK}"
        r"(?: (?:GMT|UTC?|Z|[+-]0000))?",
        rf"[A-Za-z]+ (?P<month>[A-Za-z]{{3}})  ?(?P<day>[0-9]{{1,2}}) {_CLOCK} (?P<year>[0-9]{{4}})",
    )
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONGEST = 100  # characters: no form is longer


def retry_after_of(text: str) -> timedelta | datetime | None:
    """Return the span or the instant that a header's text names.

    None if the text names neither. It never raises.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    try:
        if _SECONDS.fullmatch(text):
            return timedelta(seconds=float(text))
        return _date(text) or duration(text)
    except (ValueError, OverflowError):
        return None


def _date(text: str) -> datetime | None:
    found = next((match for form in _DATES if (match := form.fullmatch(text))), None)
    if found is None:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += 1900 if year >= 70 else 2000
    hour, minute, second = map(int, found["clock"].split(":"))
    month = _MONTHS.index(found["month"].lower()) + 1
    return datetime(year, month, int(found["day"]), hour, minute, min(second, 59), tzinfo=UTC)  # 60: a leap second
