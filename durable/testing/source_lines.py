"""Find the lines of a user's code that call steps or await something.

Separate because a test that fails must point at a line of the code under test, never into this library.
Leaves to `lab`, `torture` and `replaying` the messages about a line.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import sysconfig
from types import FrameType
from typing import Any

from durable.errors import HOME

# Places of code that is not the user's: the standard library, installed packages, this library.
_INSTALLED = map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))
FOREIGN = ("<frozen ", *(path + os.sep for path in _INSTALLED), HOME)

UNKNOWN = "an unknown line"
_LINE = re.compile(r'File "(.+)", line (\d+)')


def is_foreign(frame: FrameType) -> bool:
    """Return whether a frame is of this library, the standard library or a package."""
    return frame.f_code.co_filename.startswith(FOREIGN)


def calling_line(frame: FrameType | None) -> str:
    """Return the innermost user line that led to a frame, as "file:line"."""
    while frame is not None and is_foreign(frame):
        frame = frame.f_back
    return UNKNOWN if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def awaited_line(task: asyncio.Task[Any]) -> str:
    """Return the innermost line of a user's code that a task awaits, as "file:line"."""
    coroutine: Any = task.get_coro()
    lines: list[str] = []
    while inspect.iscoroutine(coroutine) and coroutine.cr_frame is not None:
        frame = coroutine.cr_frame
        if not lines or not is_foreign(frame):
            lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return lines[-1] if lines else UNKNOWN


def user_line(stack: str) -> str:
    """Return the innermost line of a user's code in a recorded stack, as "file:line"."""
    found = [(file, line) for file, line in _LINE.findall(stack) if not file.startswith(FOREIGN)]
    return ":".join(found[-1]) if found else UNKNOWN
