"""Read single runs of a store's file in the caller's own thread.

Separate because a sender looks at a run now and then, in the thread that writes its messages.
Leaves to `reader` the reading, to `store` whoever reads from an event loop.
"""

from __future__ import annotations

from durable.events import can_be_kept
from durable.stores.file.reader import Reader
from durable.stores.file.reading import ReadConnection
from durable.stores.store import Entry


class Glance:
    """A glance reads the store at a path, which it opens when it is first asked. Every method blocks."""

    def __init__(self, path: str) -> None:
        self._connection = ReadConnection(path)
        self._reader: Reader | None = None

    def history(self, run: str) -> list[Entry]:
        """Return every entry of a run in append order.

        Raises:
            StoreCorruptError: the file is damaged, or a row of the run is.
            StoreError: there is no store, it cannot be read, or the file belongs to another program.
        """
        return self._opened().history(run) if can_be_kept(run) else []

    def open(self, prefix: str) -> list[str]:
        """Return the ids of the runs that have not ended and begin so, which is plain ASCII.

        Raises:
            StoreCorruptError, StoreError: see `history`.
        """
        return self._opened().open_runs(prefix)

    def _opened(self) -> Reader:
        if self._reader is None:
            self._connection.open()
            self._reader = Reader(self._connection)
        return self._reader

    def close(self) -> None:
        """Close the file; if it is not open, do nothing."""
        self._connection.close()
        self._reader = None
