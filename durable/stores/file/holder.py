"""Say in a lock's file who holds it, and read there what its engine takes from the inbox.

Separate because a sender in another process must know that without a lock of its own, which could shut an engine out.
Leaves to `lock` the locking, to `messages` the messages of each format.

The file has a line each for the pid, the host and the beginning of the process (a pid alone does not name a process:
two containers have pids of their own), and for the newest format of messages that its release takes. Releases before
this one wrote fewer lines. A closed store's lock is empty. What a killed process has left stays there.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
import time
from datetime import UTC, datetime, timedelta

import attrs

from durable.errors import StoreError
from durable.stores.file.beside import READ
from durable.stores.file.inbox import MESSAGES
from durable.timers import on_a_line

SUFFIX = ".lock"
MOST_BYTES = 512
_BEGUN = time.time()  # about the beginning of this process, if the system does not tell it
_SAME = timedelta(seconds=3)  # the system tells a beginning in seconds since it was started itself
_TAKES = "takes messages "


@attrs.frozen
class Holder:
    """A holder is a process that has, or had when it died, a store open.

    `takes` is the newest format of messages that it takes. `host` and `began` are "" if it did not write them down.
    """

    pid: str
    host: str
    began: str
    takes: int

    def __str__(self) -> str:
        named = f"process {self.pid}" if self.pid.isascii() and self.pid.isdigit() else "another process"
        return f"{named} on host {self.host!r}, which began at {self.began}" if self.began else named

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended."""
        if self.host != socket.gethostname() or sys.platform == "win32" or not self.pid.isdigit():
            return False
        try:
            os.kill(int(self.pid), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except OSError:
            return False
        began = _beginning(int(self.pid))
        return began is not None and abs(began - _read_instant(self.began, began)) > _SAME  # the pid was given again


def signature() -> bytes:
    """Return what this process writes into the lock's file."""
    pid = os.getpid()
    began = _beginning(pid) or datetime.fromtimestamp(_BEGUN, UTC)
    return f"{pid}\n{socket.gethostname()}\n{began:%Y-%m-%dT%H:%M:%SZ}\n{_TAKES}{MESSAGES}\n".encode()


def holder_in(text: bytes) -> Holder:
    """Return the holder that a lock's file names, whatever stands there."""
    pid, *more = [on_a_line(line) for line in text.decode("utf-8", "replace").splitlines()] or [""]
    host, began = more[:2] if len(more) > 1 else ("", "")
    said = more[2].removeprefix(_TAKES) if len(more) > 2 else ""
    return Holder(pid, host, began, int(said) if said.isascii() and said.isdigit() else 1)


def holder_of(store: str) -> Holder | None:
    """Return who has the store at a real path open, or had when it died; None if it was closed."""
    text = _text(f"{store}{SUFFIX}")
    return holder_in(text) if text else None


def check_taken(store: str, format: int) -> None:
    """Check that the engine that has a store open, if one has, takes messages of a format.

    Raises:
        StoreError: it is of an earlier release, which would leave such a message where it is.
    """
    text = _text(f"{store}{SUFFIX}")
    holder = holder_in(text)
    if text and holder.takes < format and not holder.is_dead:
        raise StoreError(
            f"store {store!r} is open in {holder}, with an earlier release of durable: it takes messages of format "
            f"{holder.takes}, and this one has format {format}: restart that engine with this release, or ask it to do "
            "this itself"
        )


def _text(path: str) -> bytes:
    """Return what a lock's file says, b"" if it cannot be read."""
    try:
        file = os.open(path, READ)
    except OSError:
        return b""
    try:
        return os.read(file, MOST_BYTES) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(file)


def _beginning(pid: int) -> datetime | None:
    """Return when a process began, or None if the system does not tell it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as its, open("/proc/uptime", "rb") as up:
            ticks = int(its.read().rpartition(b")")[2].split()[19])
            began = time.time() - float(up.read().split()[0]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    return datetime.fromtimestamp(began, UTC)


def _read_instant(text: str, otherwise: datetime) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return otherwise
