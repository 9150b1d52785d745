"""Turn entries and run rows into plain values: ints, strings, tuples.

Separate because both stores keep the same values, one in a mapping, the other in a file.
Leaves to each store the keeping of the values, to `checksums` their protection in a file.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from durable.stores.store import RunRow
from durable.timers import aware

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Fields = tuple[str, str, int, int | None, str | None, str | None]
"""What `find` tells of a run: function, event, opened at, ended at, status, error; instants in microseconds."""


def micros(when: datetime) -> int:
    """Return the instant as microseconds since 1970 in UTC: exact, and in order as an integer."""
    return _micros(when if type(when) is datetime and when.tzinfo is UTC else aware(when))


def _micros(when: datetime) -> int:
    passed = when - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def instant(count: int) -> datetime:
    """Return the instant that `micros` counted, in UTC."""
    return _EPOCH + timedelta(microseconds=count)


def fields_of(row: RunRow) -> Fields:
    """Return the row without its id, as plain values."""
    ended_at = row.ended_at
    ended = None if ended_at is None else _micros(ended_at)
    return row.function, row.event, _micros(row.opened_at), ended, row.status, row.error


def row_of(run: str, fields: Fields) -> RunRow:
    """Return the row that `fields_of` took apart."""
    function, event, opened_at, ended_at, status, error = fields
    ended = None if ended_at is None else instant(ended_at)
    return RunRow(run, function, event, instant(opened_at), ended, status, error)


def reopened(fields: Fields | None) -> Fields | None:
    """Return the run's row as open again.

    Used when an entry follows the run's end without bringing a new row.
    """
    return None if fields is None else (*fields[:3], None, None, None)
