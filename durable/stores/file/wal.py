"""Tell from the bytes whether a `-wal` belongs to the store's file beside it.

Separate because SQLite uses any file of that name, and cannot be asked whether it belongs there.
Leaves to `recognition` the consequences of a foreign one, to `connection` the writing of a lineage.

A backup that is put back beside the `-wal` of a dead process is destroyed when it is opened: SQLite writes the pages of
the `-wal` over those of the backup. The `-wal` itself does not say whose it is, so the writer does. The first
transaction of each `-wal`, and of each time that SQLite begins one anew from its start, brings a *lineage*: a random
number of its own, and the number that the file had before. Another one goes before each checkpoint, so that what the
file is when a generation begins has a number that no earlier state had. Once the pages of a lineage are in the file,
the file has its number. So file and `-wal` fit exactly if the file's number is among those in the `-wal`, wherever a
checkpoint was cut short.

A copy that `VACUUM INTO` has made has the number, but other pages: SQLite leaves it in rollback mode, in which no
`-wal` can be right, and counts its schema up by one; a lineage says how far that was. A `-wal` without a lineage, from
a release before this one, or cut off before it was whole, is given the benefit of the doubt.

A lineage is a row of its own in the table `mark`, which other releases do not look at. Here it is found in the raw
pages: one of a few bytes, on a leaf of its own, under its checksum. Source: SQLite's file format, sections 1.6 and 4.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence

import attrs

from durable.stores.file.checksums import seal_values

LINEAGE = 2
"""The key of the lineage's row in the table `mark`."""

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682  # one more if the checksums are of big-endian words
_LEAF = 0x0D
_MOST_CELLS = 2
_WIDTHS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


@attrs.frozen
class Lineage:
    """A lineage identifies a generation of a `-wal`.

    `number` is the generation's own, `base` the number that the file had before, `cookie` its schema cookie then.
    """

    number: int
    base: int
    cookie: int

    def row(self) -> tuple[int, ...]:
        """Return the lineage as a row of `mark`."""
        values = self.number, self.base, self.cookie, 0
        return LINEAGE, *values, seal_values(values)


def lineage_of(values: Sequence[object]) -> Lineage | None:
    """Return the lineage in the values of a row of `mark`, without the key.

    None if they are not a lineage, or damaged.
    """
    if len(values) != 5 or not all(isinstance(one, int) for one in values) or seal_values(values[:4]) != values[4]:
        return None
    number, base, cookie, *_ = values
    assert isinstance(number, int) and isinstance(base, int) and isinstance(cookie, int)
    return Lineage(number, base, cookie)


def head(path: str) -> bytes:
    """Return the first bytes of a `-wal`, or nothing if there is none.

    They change whenever SQLite begins the `-wal` anew. SQLite locks no byte of a `-wal`, so opening and closing it
    drops no lock.
    """
    try:
        with open(f"{path}-wal", "rb", buffering=0) as file:
            return file.read(_HEADER.size)
    except FileNotFoundError:
        return b""


def has_content(path: str) -> bool:
    """Return whether the file's `-wal` holds anything that SQLite might use."""
    try:
        with open(f"{path}-wal", "rb", buffering=0) as file:
            return _is_header(file.read(_HEADER.size)) and bool(file.read(1))
    except FileNotFoundError:
        return False


def is_foreign(path: str, *, is_wal: bool, number: int | None, cookie: int) -> bool:
    """Return whether the `-wal` beside the file cannot be its own.

    Args:
        path: of the file.
        is_wal: whether the file itself says that it is in WAL mode.
        number: of the file's lineage, its `-wal` left aside; None if it has none, or cannot be read.
        cookie: of its schema, likewise.
    """
    found: list[Lineage] = []
    cookies: set[int] = set()
    is_empty = True
    for page_no, page in _pages(path):
        is_empty = False
        if page_no == 1:
            cookies.add(int.from_bytes(page[40:44]))
        found += _lineages(page)
    if is_empty:
        return False
    if not is_wal:
        return True
    numbers = {one for lineage in found for one in (lineage.number, lineage.base)}
    if found and number is not None and number not in numbers:
        return True
    return bool(found) and cookie > max(cookies | {lineage.cookie for lineage in found})


def _pages(path: str) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of the pages in a `-wal` that may matter here.

    Pages from before the file was last begun anew are left out.
    """
    with open(f"{path}-wal", "rb") as file:
        header = file.read(_HEADER.size)
        if not _is_header(header):
            return
        _, _, size, _, *salts, _, _ = _HEADER.unpack(header)
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            page_no, _, *theirs, _, _ = _FRAME.unpack(frame)
            if theirs != salts:
                return
            begin = file.read(8)
            if len(begin) < 8:
                return
            if page_no == 1 or _is_small_leaf(begin):
                page = begin + file.read(size - 8)
                if len(page) < size:
                    return
                yield page_no, page
            else:
                file.seek(size - 8, os.SEEK_CUR)
                yield page_no, b""


def _is_header(header: bytes) -> bool:
    if len(header) < _HEADER.size:
        return False
    words = _HEADER.unpack(header)
    if words[0] & ~1 != _MAGIC:
        return False
    order = ">" if words[0] & 1 else "<"
    one = other = 0
    for first, second in struct.iter_unpack(f"{order}2I", header[:24]):
        one = (one + first + other) & 0xFFFFFFFF
        other = (other + second + one) & 0xFFFFFFFF
    return (one, other) == words[6:]


def _is_small_leaf(begin: bytes) -> bool:
    return begin[0] == _LEAF and 1 <= int.from_bytes(begin[3:5]) <= _MOST_CELLS


def _lineages(page: bytes) -> list[Lineage]:
    """Return the lineages on a leaf of a table, if it is one of few rows."""
    if not page or not _is_small_leaf(page):
        return []
    found = []
    for cell in range(int.from_bytes(page[3:5])):
        try:
            at = int.from_bytes(page[8 + 2 * cell : 10 + 2 * cell])
            _, at = _varint(page, at)
            key, at = _varint(page, at)
            lineage = lineage_of(_record(page, at)[1:]) if key == LINEAGE else None
        except (IndexError, ValueError):
            continue
        if lineage is not None:
            found.append(lineage)
    return found


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | page[place] & 0x7F
        if page[place] < 0x80:
            return value, place + 1
    return value << 8 | page[at + 8], at + 9


def _record(page: bytes, at: int) -> list[int | None]:
    """Return the values of a record, if they are all integers or null.

    Raises:
        ValueError: one is another.
    """
    begin = at
    length, at = _varint(page, at)
    kinds = []
    while at < begin + length:
        kind, at = _varint(page, at)
        kinds.append(kind)
    values: list[int | None] = []
    for kind in kinds:
        if kind in _WIDTHS:
            values.append(int.from_bytes(page[at : at + _WIDTHS[kind]], signed=True))
            at += _WIDTHS[kind]
        elif kind in (0, 8, 9):
            values.append(None if not kind else kind - 8)
        else:
            raise ValueError(f"a value of kind {kind}")
    return values
