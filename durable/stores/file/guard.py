"""Lock a store's own file, even if the names in its folder change.

Separate because the lock's file can be deleted or replaced, and one file can have several names, as by a bind mount.
Leaves to `lock` the errors for other openers, to SQLite the bytes that it locks itself.

The guard is Linux's lock of an open file description, on a byte far behind all that SQLite locks. A second one, of this
process or another, is refused, and it ends with its holder. On systems without such locks, `lock` must do alone.

A process that closes any descriptor of a file drops all locks that SQLite has on that file for it. So the descriptor is
not closed while any connection of this process has a lock there, be it a user's own: it is kept aside, taken again when
this process opens the store anew, and closed when that is harmless. Where it cannot be told, it is kept, but for those
of files that were deleted, and the oldest of very many.
"""

from __future__ import annotations

import errno
import os
import struct
import sys

if sys.platform == "linux":
    import fcntl

MOST_KEPT = 64
_PLACE = 1 << 61  # SQLite's own begin at 1 << 30; no file is as long as this
_NONE = frozenset({errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})

Identity = tuple[int, int]
"""A file's device and inode."""

_kept: dict[Identity, int] = {}
_held: set[Identity] = set()


def identity(path: str) -> Identity | None:
    """Return the identity of the file at a path, or None if there is no file.

    A link is not followed.
    """
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def identity_of(file: int) -> Identity:
    """Return the identity of an open file."""
    found = os.fstat(file)
    return found.st_dev, found.st_ino


def seize(path: str) -> Identity | None:
    """Take the guard of the file at a real path; return the file's identity.

    None if there is no file.

    Raises:
        PermissionError: this process holds it already; the error's number is EDEADLK.
        BlockingIOError: another process holds it.
        OSError: the file cannot be opened to write.
    """
    which = identity(path)
    if which is None:
        return None
    if which in _held:
        raise PermissionError(errno.EDEADLK, "held by this process")
    if sys.platform != "win32":
        _sweep()
        file = _kept.get(which)
        if file is None:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            which = identity_of(file)
            _kept[which] = file
        if sys.platform == "linux":
            _lock(file, fcntl.F_WRLCK)
    _held.add(which)
    return which


def head(path: str, count: int) -> bytes:
    """Return the first bytes of a file whose guard this process holds."""
    which = identity(path)
    if which in _kept:
        return os.pread(_kept[which], count, 0)
    with open(path, "rb", buffering=0) as file:
        return file.read(count)


def release(which: Identity) -> None:
    """Release a guard; if it is not held, do nothing."""
    if which in _held:
        _held.discard(which)
        if sys.platform == "linux":
            _lock(_kept[which], fcntl.F_UNLCK)
        _sweep()


def _lock(file: int, kind: int) -> None:
    if sys.platform == "linux":
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", kind, os.SEEK_SET, _PLACE, 1, 0))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise BlockingIOError(errno.EAGAIN, "held by another process") from error
            if error.errno not in _NONE:  # this file system or kernel has no such locks
                raise


def _sweep() -> None:
    idle = [which for which in _kept if which not in _held]
    if not idle:
        return
    locked = _locked_here()
    for number, which in enumerate(idle):
        is_needed = locked is None or which[1] in locked
        if not is_needed or number < len(idle) - MOST_KEPT or not os.fstat(_kept[which]).st_nlink:
            os.close(_kept.pop(which))


def _locked_here() -> set[int] | None:
    """Return the inodes of files whose locks closing a descriptor would drop, if known.

    These are the files on which this process has such locks. None if the system does not list them.
    """
    try:
        with open("/proc/locks", "rb") as locks:
            fields = [line.split() for line in locks]
        mine = str(os.getpid()).encode()
        return {int(one[5].rpartition(b":")[2]) for one in fields if one[1] == b"POSIX" and one[4] == mine}
    except (OSError, ValueError, IndexError):
        return None


def forget() -> None:
    """Close a forked child's copies, which would keep the guard alive after the parent."""
    for file in _kept.values():
        os.close(file)
    _kept.clear()
    _held.clear()
