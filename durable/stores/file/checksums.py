"""Seal rows of a store's file with a checksum, and check it when they are read.

Separate because a row must be checked in the same way when it is written and when it is read.
Leaves to `reader` the check that no row is missing, to `schema` the tables.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any
from zlib import crc32

import attrs

from durable.errors import StoreCorruptError
from durable.stores.rows import Fields, instant, micros
from durable.stores.store import Entry

ENTRY_COLUMNS = "seq, run, prev, flags, keep_until, crc, kind, row, body"
RUN_COLUMNS = "no, id, open, last, function, event, opened_at, ended_at, status, error, crc"
ENDS_RUN = 1
SUMS_UP = 2

_HEAD = struct.Struct("<qqqqqi")
_PLACE, _REST = struct.Struct("<qqq"), struct.Struct("<qqi")  # the two parts of a head
_END = b"\0"  # behind the kind: no letter can move from there to the body
_NEVER = -(1 << 63)
_NO_FIELDS = (None,) * 6
_NOTHING_TOLD = "[null, null, null, null, null, null]"

EntryRow = tuple[Any, ...]
"""A row of the journal, in the order of ENTRY_COLUMNS; text read back is bytes."""
BareRow = tuple[int, int, int, int, str, str]
"""A row of the journal without flags, keep_until and row: seq, run, prev, crc, kind, body."""
RunRecord = tuple[Any, ...]
"""A row of the table of runs, in the order of RUN_COLUMNS; text read back is bytes."""


@attrs.define(eq=False, repr=False)
class Place:
    """A place says where a run stands in the file.

    Attributes:
        no: its rising number, never given again.
        id: the run; None for one that is being forgotten.
        open: its last entry did not end it.
        last: the number of its last entry; in the file, of the last one at which this row was written.
        fields: what `find` tells of it; None if no entry brought a row.
        told: the fields as `told_of` writes them, or None if they are not written yet.
    """

    no: int
    id: str | None
    open: bool
    last: int
    fields: Fields | None
    told: str | None = None


@lru_cache(maxsize=256)
def _words(name: bytes) -> str:
    """Return a kind, or the name of a function or an event, as a string that all its rows share: there are few."""
    return name.decode()


@lru_cache(maxsize=256)
def _quoted_words(name: bytes) -> str:
    return _quoted(name.decode())


@lru_cache(maxsize=256)
def _rest_of_bare(kind: str) -> bytes:
    """Return what stands between the place and the body of all bare rows of a kind, in their checksum."""
    return _REST.pack(0, _NEVER, 0) + kind.encode() + _END


def seal_bare(kind: str, body: str, seq: int, run: int, prev: int) -> BareRow:
    """Return as a row of the journal an entry that has no more than this, as `seal` would: nearly all are so."""
    return seq, run, prev, crc32(body.encode(), crc32(_PLACE.pack(seq, run, prev) + _rest_of_bare(kind))), kind, body


def seal(entry: Entry, told: str | None, seq: int, run: int, prev: int) -> EntryRow:
    """Return the entry as a row of the journal.

    `told` is what its run row says, if it has one: see `told_of`. `prev` is the number of the row before it in its run,
    or 0.
    """
    flags = (ENDS_RUN if entry.ends_run else 0) | (SUMS_UP if entry.sums_up else 0)
    keep = None if entry.keep_until is None else micros(entry.keep_until)
    kind, body = entry.kind, entry.body
    words = kind.encode() if told is None else f"{kind}{told}".encode()
    head = _HEAD.pack(seq, run, prev, flags, _NEVER if keep is None else keep, 0 if told is None else len(told))
    return seq, run, prev, flags, keep, crc32(body.encode(), crc32(head + words + _END)), kind, told, body


def unseal(record: EntryRow, run: str) -> Entry:
    """Return the entry in a row of the journal, without its run row.

    Raises:
        StoreCorruptError: a field is not what was written. R30
    """
    seq, no, prev, flags, keep, crc, kind, row, body = record
    try:
        words = kind if row is None else kind + row
        head = _HEAD.pack(seq, no, prev, flags, _NEVER if keep is None else keep, 0 if row is None else len(row))
        whole = crc32(body, crc32(head + words + _END)) == crc
    except (TypeError, struct.error):
        whole = False
    if not whole:
        raise StoreCorruptError(
            f"row {seq} of run {run!r} does not match its checksum: the store is damaged, restore a copy"
        )
    until = None if keep is None else instant(keep)
    return Entry(run, _words(kind), body.decode(), flags & ENDS_RUN != 0, until)


def seal_run(place: Place) -> RunRecord:
    """Return the place as a row of the table of runs."""
    no, id, is_open, last = place.no, place.id, 1 if place.open else 0, place.last
    told = place.told or told_of(place.fields)
    text = f"[{no}, {'null' if id is None else _quoted(id)}, {is_open}, {last}, {told[1:]}"  # as of `seal_values`
    return no, id, is_open, last, *(place.fields or _NO_FIELDS), crc32(text.encode())


def told_of(fields: Fields | None) -> str:
    """Return fields of a run as text: what the entry that brought them keeps of them."""
    if fields is None:
        return _NOTHING_TOLD
    function, event, opened_at, ended_at, status, error = fields
    end = "null" if ended_at is None else ended_at
    said = "null" if status is None else _quoted(status)
    why = "null" if error is None else _quoted(error)
    return f"[{_quoted(function)}, {_quoted(event)}, {opened_at}, {end}, {said}, {why}]"


def checked_run(record: RunRecord) -> Sequence[Any]:
    """Return the values in a row of the table of runs, without the checksum.

    Text is returned as strings.

    Raises:
        StoreCorruptError: a field is not what was written (R30).
    """
    no, run, is_open, last, function, event, opened_at, ended_at, status, error, crc = record
    try:
        if type(run) is type(function) is type(event) is bytes and ended_at is status is error is None:
            # What `_listed` gives for a run that has not ended, in a third of the time: recovery checks all of these.
            name, of = run.decode(), f"{_quoted_words(function)}, {_quoted_words(event)}"
            text = f"[{no}, {_quoted(name)}, {is_open}, {last}, {of}, {opened_at}, null, null, null]"
            if crc32(text.encode()) == crc:
                return no, name, is_open, last, _words(function), _words(event), opened_at, None, None, None
        values = [value.decode() if type(value) is bytes else value for value in record[:-1]]
        is_whole = seal_values(values) == crc
    except (TypeError, UnicodeDecodeError):  # a number with a fraction, or no text
        is_whole = False
    if not is_whole:
        raise StoreCorruptError(
            f"the row of run {_shown(record[1])} (number {record[0]}) does not match its checksum: "
            "the store is damaged, restore a copy"
        )
    return values


def seal_values(values: Sequence[Any]) -> int:
    """Return the checksum of a row's plain values.

    A value of a subclass of str or int counts as the plain value that is stored.
    """
    return crc32(_listed(values).encode())


def _listed(values: Sequence[Any]) -> str:
    # The text is that of json.dumps, which takes twice as long: opening a store checks a row for every run.
    texts = [_quoted(one) if type(one) is str else "null" if one is None else _spelled(one) for one in values]
    return f"[{', '.join(texts)}]"


def _spelled(value: str | int) -> str:
    return _quoted(str.__str__(value)) if isinstance(value, str) else int.__repr__(int.__int__(value))


def _shown(run: object) -> str:
    return repr(run.decode("utf-8", "backslashreplace") if isinstance(run, bytes) else run)
