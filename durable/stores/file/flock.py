"""Lock a whole file for as long as its holder has it open.

Separate because systems name such locks differently, and two files beside a store are locked so.
Leaves to `lock` and `live` what a lock of theirs means.
"""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PLACE = 1 << 30  # far behind the text, which others must be able to read


def lock(file: int, *, is_shared: bool = False) -> None:
    """Lock a file by its descriptor, at once or not at all; the lock ends with the descriptor.

    Raises:
        BlockingIOError, PermissionError: another holder has it. Those that share it have it side by side.
        OSError: the file system has no such locks.
    """
    if sys.platform == "win32":
        os.lseek(file, _PLACE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
    else:
        fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
