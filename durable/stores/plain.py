"""Entries and run rows as plain values: ints, strings, tuples.

Separate because both stores keep the same thing, one in a mapping, the other in a file.
Leaves to each store where the values are kept, to `seal` how a file guards them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import cast

from durable.records import Ending
from durable.spelling import shown
from durable.stores.store import Entry, RunRow
from durable.times import aware
from durable.words import checked_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ANY = 1 << 62  # what bounds an entry stands at the doors: a store keeps what it is given

Fields = tuple[str, str, int, int | None, str | None, str | None]
"""What `find` tells of a run: function, event, opened at, ended at, status, error; instants in microseconds."""


def micros(when: datetime) -> int:
    """Return the instant as microseconds since 1970 in UTC: exact, and in order as an integer."""
    return (aware(when) - _EPOCH) // _MICROSECOND


def instant(count: int) -> datetime:
    """Return the instant that `micros` counted, in UTC."""
    return _EPOCH + timedelta(microseconds=count)


def fields_of(row: RunRow) -> Fields:
    """Return the row without its id, as plain values."""
    ended_at = None if row.ended_at is None else micros(row.ended_at)
    return row.function, row.event, micros(row.opened_at), ended_at, row.status, row.error


def row_of(run: str, fields: Fields) -> RunRow:
    """Return the row that `fields_of` took apart."""
    function, event, opened_at, ended_at, status, error = fields
    ended = None if ended_at is None else instant(ended_at)
    return RunRow(run, function, event, instant(opened_at), ended, cast("Ending | None", status), error)


def reopened(fields: Fields | None) -> Fields | None:
    """Return what `find` tells of an ended run after an entry that brought no row: it has not ended any more."""
    return None if fields is None else (*fields[:3], None, None, None)


def checked(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries as they are kept: their texts plain strings, whatever subclass of it they are.

    Raises:
        TypeError, ValueError: an entry that could not be read back as it is: text that is none, or not Unicode (a lone
            surrogate), a row of another run than its entry's, a naive instant. Then nothing may be kept.
    """
    return tuple([entry if _is_plain(entry) else _plain_entry(entry) for entry in entries])


def _is_plain(entry: Entry) -> bool:
    """Whether nothing about an entry needs a closer look, as with nearly all."""
    run, kind, body, until, row = entry.run, entry.kind, entry.body, entry.keep_until, entry.row
    return (
        type(run) is type(kind) is type(body) is str
        and body.isascii()
        and run.isascii()
        and kind.isascii()
        and (until is None or (type(until) is datetime and until.tzinfo is UTC))
        and (row is None or (row.id == run != "" and _is_plain_row(row)))
    )


def _is_plain_row(row: RunRow) -> bool:
    id, function, event, status, error = row.id, row.function, row.event, row.status, row.error
    return (
        type(id) is type(function) is type(event) is str
        and id.isascii()
        and function.isascii()
        and event.isascii()
        and (status is None or (type(status) is str and status.isascii()))
        and (error is None or (type(error) is str and error.isascii()))
        and type(row.opened_at) is datetime
        and row.opened_at.tzinfo is UTC
        and (row.ended_at is None or (type(row.ended_at) is datetime and row.ended_at.tzinfo is UTC))
    )


def _plain_entry(entry: Entry) -> Entry:
    run = _text(entry.run, "the run of an entry")
    what = f"an entry of run {shown(run)}"
    keep_until = None if entry.keep_until is None else aware(entry.keep_until, what=f"keep_until of {what}")
    row = None if entry.row is None else _plain_row(run, entry.row)
    return Entry(
        run,
        _text(entry.kind, f"the kind of {what}"),
        _text(entry.body, f"the body of {what}"),
        bool(entry.ends_run),
        keep_until,
        row,
    )


def _plain_row(run: str, row: RunRow) -> RunRow:
    id = _text(row.id, "the run of a row")
    if not run or id != run:
        raise ValueError(f"an entry of run {run!r} cannot bring the row of run {id!r}: give both the same id")
    what = f"the row of run {run!r}"
    return RunRow(
        id,
        _text(row.function, f"the function in {what}"),
        _text(row.event, f"the event in {what}"),
        aware(row.opened_at, what=f"opened_at in {what}"),
        None if row.ended_at is None else aware(row.ended_at, what=f"ended_at in {what}"),
        None if row.status is None else cast("Ending", _text(row.status, f"the status in {what}")),
        None if row.error is None else _text(row.error, f"the error in {what}"),
    )


def _text(value: object, what: str) -> str:
    return checked_text(value, what, most=_ANY)
