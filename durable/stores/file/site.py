"""Find out about the place where a store stands: its file system, and what a sync costs there.

Separate because none of this reads the store, and all of it must work where a store cannot even be opened.
Leaves to `engine.doctor` the judging.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from statistics import median
from time import perf_counter

import attrs

_COMMITS, _WARM = 25, 3
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}
# By the names that Linux gives them. On these, locks and shared memory do not hold between machines, or not at all.
_OF_NETWORKS = frozenset(
    "nfs nfs3 nfs4 cifs smb3 smbfs 9p virtiofs afs ceph glusterfs lustre gpfs beegfs ocfs2 gfs2 davfs davfs2".split()
)
_OF_MEMORY = frozenset({"tmpfs", "ramfs"})


@attrs.frozen
class FileSystem:
    """A file system is told by the kind and the mount that the system names; both None if it names none."""

    kind: str | None
    mount: str | None

    @property
    def is_network(self) -> bool:
        """Whether its files are on another machine, as far as the kind tells that."""
        return self.kind is not None and (self.kind in _OF_NETWORKS or self.kind.startswith("fuse."))

    @property
    def is_memory(self) -> bool:
        """Whether it is gone with the machine's memory."""
        return self.kind in _OF_MEMORY


def file_system_of(folder: str) -> FileSystem:
    """Return the file system of a folder, a real path."""
    best = FileSystem(None, None)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            lines = mounts.read().splitlines()
    except OSError:  # not on Linux
        return best
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = before.split(" ")[4]
        for escape, spelled in _ESCAPES.items():
            mount = mount.replace(escape, spelled)
        is_above = folder == mount or folder.startswith(mount.rstrip("/") + "/")
        if is_above and len(mount) >= len(best.mount or ""):  # of two at one place the later hides the earlier
            best = FileSystem(after.split(" ")[0], mount)
    return best


def sync_cost(folder: str) -> float:
    """Return how many seconds a commit takes in a folder, as a store makes it: the median of some.

    They are made in a database of their own, in a folder that is deleted again.

    Raises:
        OSError, sqlite3.Error: nothing can be made or written there.
    """
    with tempfile.TemporaryDirectory(prefix=".durable-doctor-", dir=folder) as place:
        connection = sqlite3.connect(os.path.join(place, "x.db"), isolation_level=None)
        try:
            for setting in ("journal_mode = wal", "synchronous = 2", "fullfsync = 1"):
                connection.execute(f"PRAGMA {setting}").fetchall()
            connection.execute("CREATE TABLE rows (row TEXT)")
            return median([_commit(connection) for _ in range(_WARM + _COMMITS)][_WARM:])
        finally:
            connection.close()


def _commit(connection: sqlite3.Connection) -> float:
    began = perf_counter()
    connection.execute("INSERT INTO rows VALUES (?)", ("x" * 200,))
    return perf_counter() - began
