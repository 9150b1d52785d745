"""Measure the room that a store takes on its disk, and what is left beside it.

Separate because it asks the file system alone, and opens nothing.
Leaves to its users what is too little.
"""

from __future__ import annotations

import os
import shutil

import attrs

from durable.stores.file.recognition import size


@attrs.frozen
class Room:
    """The room of a store, in bytes.

    Attributes:
        size: of the file and its `-wal`.
        wal: of the `-wal` alone.
        free: what is left on the disk for this user.
    """

    size: int
    wal: int
    free: int


def room_of(path: str) -> Room:
    """Return the room of the store at a path, which need not exist.

    Raises:
        OSError: its folder cannot be asked.
    """
    wal = size(f"{path}-wal")
    return Room(size(path) + wal, wal, shutil.disk_usage(os.path.dirname(path)).free)
