"""Keep what only the process knows that has a store open, for other processes to read.

Separate because it is not recorded: it is worth nothing after its writer's end, and losing it loses nothing.
Leaves to `engine.beacon` when it is written, to `views.live` what the text says.

The file is `<path>.live`. Its writer holds a lock on it for as long as it has it open, so what a dead process has left
there counts for nothing, wherever it was copied to. A file that is found is emptied before it is locked: nobody may
take what another process has left for the new holder's. It is written in place, with its length and a checksum, since
no second name may be left behind by a process that dies in between. A reader that meets a half-written text reads
again. An orderly close removes the file.

Anything may have this name, another store too. What was not written here is neither emptied nor removed.
"""

from __future__ import annotations

import errno
import os
import threading
from time import sleep
from weakref import WeakSet
from zlib import crc32

from durable.errors import StoreError
from durable.stores.file import guard
from durable.stores.file.beside import READ, check_file, open_beside
from durable.stores.file.flock import lock

SUFFIX = ".live"
MOST_BYTES = 64 << 20
_OWN = b"durable live "
_MARK = _OWN + b"1"
_HEAD_BYTES = 64
_TRIES, _AGAIN = 20, 0.002  # seconds; a text is written in less
_HELD = (BlockingIOError, PermissionError)

_open: WeakSet[LiveFile] = WeakSet()
_turn = threading.Lock()


class LiveFile:
    """A live file stands beside a store and tells what its holder does.

    `store` is a real path. Only the process that holds the store's lock writes. Every method blocks.
    """

    def __init__(self, store: str) -> None:
        self.path = f"{store}{SUFFIX}"
        self._store = store
        self._file: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything has the file's name."""
        return os.path.lexists(self.path)

    @property
    def is_found(self) -> bool:
        """Whether readers find what was written last: the file still has its name."""
        return self._file is not None and guard.identity(self.path) == guard.identity_of(self._file)

    def write(self, text: str) -> None:
        """Put a text in the place of the last one; the first makes the file.

        Raises:
            StoreError: something else has the file's name.
            OSError: it cannot be made, locked or written to, as on a full disk. Readers then find no text.
        """
        try:
            self._write(text)
        except BaseException:
            self.close()
            raise

    def _write(self, text: str) -> None:
        if not self.is_found:
            self.close()  # it was taken away: readers would not find what is written to it
        file = self._made() if self._file is None else self._file
        body = text.encode("utf-8", "backslashreplace")
        data = b"%s %08x %d\n%s" % (_MARK, crc32(body), len(body), body)
        os.lseek(file, 0, os.SEEK_SET)
        if os.write(file, data) < len(data):
            raise OSError(errno.ENOSPC, "it was written in part", self.path)
        os.ftruncate(file, len(data))

    def _made(self) -> int:
        file = open_beside(self._store, SUFFIX, make=True)
        assert file is not None
        try:
            _empty(file, self.path)
            _insist(file)
        except BaseException:
            os.close(file)
            raise
        with _turn:
            self._file = file
            _open.add(self)
        return file

    def remove(self) -> None:
        """Take the file away, also one that a dead process has left.

        Raises:
            StoreError, OSError: it is something else, or cannot be removed.
        """
        try:
            file = open_beside(self._store, SUFFIX, make=False)
            if file is None:
                return
            try:
                _empty(file, self.path)
            finally:
                os.close(file)
        finally:
            self.close()
        os.unlink(self.path)

    def close(self) -> None:
        """Let go of the file, which counts for nothing from now on."""
        with _turn:
            file, self._file = self._file, None
            _open.discard(self)
        if file is not None:
            os.close(file)


def read_live(store: str) -> str | None:
    """Return what the process that has a store open has written last; `store` is a real path.

    None if no process has it open, or has anything to tell, or the file cannot be read. This blocks: for a moment, or,
    if the text is being written again and again, for 40 ms.
    """
    try:
        file = os.open(f"{store}{SUFFIX}", READ)
    except OSError:
        return None
    try:
        check_file(f"{store}{SUFFIX}", os.fstat(file), os.stat(store))
        # First this, then the text: else the text could be a dead process's, and the lock its successor's.
        return _text(file) if _is_held(file) else None
    except (OSError, StoreError):
        return None
    finally:
        os.close(file)


def _is_held(file: int) -> bool:
    try:
        lock(file, is_shared=True)  # for an instant, until this descriptor is closed: a writer tries again
    except _HELD:
        return True
    return False


def _text(file: int) -> str | None:
    for _ in range(_TRIES):
        os.lseek(file, 0, os.SEEK_SET)
        data = os.read(file, min(os.fstat(file).st_size, MOST_BYTES))
        head, _, body = data.partition(b"\n")
        mark, _, numbers = head[:_HEAD_BYTES].partition(_MARK + b" ")
        try:
            crc, length = int(numbers[:8], 16), int(numbers[9:])
        except ValueError:
            crc, length = 0, -1
        if not mark and len(body) >= length >= 0 and crc32(body[:length]) == crc:
            return body[:length].decode("utf-8", "replace")
        if not data or mark:
            return None
        sleep(_AGAIN)
    return None


def _empty(file: int, path: str) -> None:
    """Empty a file that a live file's writer has left, of whatever version, also one that died while writing.

    Raises:
        StoreError: it is something else.
    """
    os.lseek(file, 0, os.SEEK_SET)
    head = os.read(file, len(_OWN))
    # A loss of power may leave zeros in place of a text.
    is_cut = _OWN.startswith(head.rstrip(b"\0")) and not os.read(file, MOST_BYTES).strip(b"\0")
    if head != _OWN and not is_cut:
        raise StoreError(f"{path!r} is a file of something else and was left as it is: move it away")
    os.ftruncate(file, 0)


def _insist(file: int) -> None:
    """Lock a file that a reader may have locked for an instant."""
    for left in reversed(range(_TRIES)):
        try:
            lock(file)
        except _HELD:
            if not left:
                raise
            sleep(_AGAIN)
        else:
            return


def _close_in_child() -> None:
    """Close the descriptors in a forked child, which would keep the lock alive after its holder."""
    global _turn
    _turn = threading.Lock()  # the parent may have been inside it at the fork
    for live in list(_open):
        live.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
