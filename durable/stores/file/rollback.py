"""Find out what SQLite would roll back because of a `-journal` beside a store.

This must be known before SQLite opens the file.

Separate because the question is that of `wal` in another format, and such a file is right only while a store is made.
Leaves to `recognition` the consequences.

SQLite writes the former content of pages into a `-journal`, and puts it back if it finds the file at an opening. A
store is made by two transactions in this mode, and a third brings it into WAL mode. From then on it has no `-journal`:
one that is there belongs to another file, or to another program that had the store in rollback mode. Source: SQLite's
file format, section 3.
"""

from __future__ import annotations

import os

import attrs

from durable.stores.file.schema import APPLICATION_ID

_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_HEADER_BYTES = 28
_MOST_BYTES = 1 << 16  # the largest size of a page, and of a sector
_BY_SIZE = 0xFFFFFFFF
_NO_ROWS = b"\x0d\x00\x00\x00\x00"  # the beginning of a leaf without rows, after the head of the first page


@attrs.frozen
class Journal:
    """A journal is the content of a `-journal` file.

    Attributes:
        pages: how many pages the file had before.
        page_size: of these pages.
        records: how many pages the journal has.
        first: the former content of the file's first page; None if the journal does not begin with it.
    """

    pages: int
    page_size: int
    records: int
    first: bytes | None

    @property
    def is_of_nothing(self) -> bool:
        """Whether the file was empty, or a blank database of one page, before."""
        if self.pages != 1 or self.first is None:
            return not self.pages
        return not any(self.first[60:64] + self.first[68:72]) and self.first[100:105] == _NO_ROWS

    def is_harmless_to(self, size: int) -> bool:
        """Return whether it only undoes the switch of a store of that size to WAL mode."""
        is_ours = self.first is not None and int.from_bytes(self.first[68:72]) == APPLICATION_ID
        return is_ours and self.records == 1 and self.pages > 1 and self.pages * self.page_size == size


def journal_of(path: str) -> Journal | None:
    """Return the journal that SQLite would roll back in the file, or None.

    None if there is no journal, or one without its beginning: this is written last, when all the rest is on the disk.
    """
    try:
        with open(f"{path}-journal", "rb") as file:
            header = file.read(_HEADER_BYTES)
            records, pages, sector, page_size = (int.from_bytes(header[at : at + 4]) for at in (8, 16, 20, 24))
            if header[:8] != _MAGIC or len(header) < _HEADER_BYTES or max(sector, page_size) > _MOST_BYTES:
                return None
            file.seek(sector)
            number, page = int.from_bytes(file.read(4)), file.read(page_size)
            if records == _BY_SIZE:
                records = (os.fstat(file.fileno()).st_size - sector) // (page_size + 8)
    except FileNotFoundError:
        return None
    is_first = number == 1 and len(page) == page_size >= 512
    return Journal(pages, page_size, records, page if is_first else None)
