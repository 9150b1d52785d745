"""Find code that reads clocks, random numbers or files outside its steps.

Separate because it listens to the interpreter, which nothing else here does, and only during one life.
Leaves to `torture` the decision whether a sight is an error.

The interpreter reports every call of a function written in C to a profile function. Calls that read a clock, draw a
random number or touch a file or a socket are recognised. Then the frames are searched for the line of the user's code
that led there, through the few modules of the standard library that may stand between. What happens while garbage is
collected is the doing of no line: a collection begins wherever the interpreter finds it due, and calls the hooks of any
package and the finalizers of whatever it finds.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import os
import random
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs

from durable.functions import current_try
from durable.testing.source_lines import is_foreign

_CLOCK = "use ctx.now(), which is the same on replay"
_RANDOM = "use ctx.random, which gives the same numbers on replay, or draw it in a step"
_IO = "put it in a step: await ctx.step.run(...)"
_SLEEP = "use ctx.step.sleep"
_SETS = "its order is another in each process: walk a list"
# Calls that read from the file system, and calls that change it.
_LOOKS = frozenset("listdir scandir stat lstat".split())
_DEEDS = frozenset("mkdir rmdir rename replace remove unlink link symlink chmod truncate utime".split())
_BY_NAME: dict[tuple[str | None, str], str] = {
    **dict.fromkeys((("time", name) for name in ("time", "time_ns", "monotonic", "monotonic_ns")), _CLOCK),
    **dict.fromkeys((("time", name) for name in ("perf_counter", "perf_counter_ns", "localtime", "gmtime")), _CLOCK),
    **dict.fromkeys((("time", name) for name in ("ctime", "asctime", "strftime")), _CLOCK),
    **dict.fromkeys(((None, name) for name in ("datetime.now", "datetime.utcnow", "datetime.today")), _CLOCK),
    (None, "date.today"): _CLOCK,
    ("posix", "urandom"): _RANDOM,
    ("nt", "urandom"): _RANDOM,
    ("_uuid", "generate_time_safe"): _RANDOM,
    ("time", "sleep"): _SLEEP,
    **dict.fromkeys((("_io", "open"), ("io", "open"), ("posix", "open"), ("nt", "open")), _IO),
    **dict.fromkeys(((None, f"socket.{name}") for name in ("connect", "bind", "sendto", "sendall", "recv")), _IO),
    **dict.fromkeys((("_socket", name) for name in ("getaddrinfo", "gethostbyname")), _IO),
    **dict.fromkeys(((system, name) for system in ("posix", "nt") for name in _LOOKS | _DEEDS), _IO),
    ("_posixsubprocess", "fork_exec"): _IO,
    ("_sqlite3", "connect"): _IO,
    ("sqlite3", "connect"): _IO,
}
# Modules that may stand between a line of the user's and the call. Others (logging, linecache, importlib) read clocks
# and files for purposes of their own.
_BETWEEN = frozenset(
    "random secrets uuid datetime time pathlib shutil tempfile subprocess socket ssl http urllib sqlite3 os io".split()
)
# For I/O more modules count: those that do it for the user, and packages, unless they only look where something is.
_BETWEEN_IO = _BETWEEN | frozenset("asyncio genericpath posixpath ntpath glob ftplib smtplib zipfile tarfile".split())
_PACKAGES = tuple(sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib"))
_OWN_READING = frozenset("_pytest coverage certifi dateutil pytz tzlocal tzdata durable".split())
_NAMES_A_PLACE = frozenset(("realpath", "_joinrealpath"))


@attrs.frozen
class Sight:
    """A sight is a line of the user's code that looks outside its steps.

    `call` is what the line calls, `remedy` what to write instead.
    """

    line: str
    call: str
    remedy: str

    @property
    def does_harm(self) -> bool:
        """Whether the call is wrong even if it decides nothing.

        So are I/O and blocking sleeps, which every replay repeats.
        """
        return self.remedy in (_IO, _SLEEP)

    def __str__(self) -> str:
        return f"{self.line}: {self.call}: {self.remedy}"


class Witness:
    """A witness collects sights, each once, in order."""

    def __init__(self) -> None:
        self.namespaces: dict[int, dict[str, Any]] = {}  # of the modules that read a clock
        self._sights: dict[Sight, None] = {}
        self._own: asyncio.Task[Any] | None = None
        self._is_collecting = False

    @property
    def sights(self) -> list[Sight]:
        """The sights so far, in order."""
        return list(self._sights)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch every task but the current one, while in the context.

        If a profiler is active already, nothing is watched.
        """
        if sys.getprofile() is not None:
            yield
            return
        self._own = asyncio.current_task()
        gc.callbacks.insert(0, self._look_away)
        gc.callbacks.append(self._look_again)
        sys.setprofile(self._see)
        try:
            yield
        finally:
            sys.setprofile(None)
            gc.callbacks.remove(self._look_away)
            gc.callbacks.remove(self._look_again)

    def _look_away(self, phase: str, about: dict[str, int]) -> None:
        self._is_collecting = True
        if phase == "start":  # hooks that were added since then must stand between these two
            gc.callbacks.remove(self._look_again)
            gc.callbacks.append(self._look_again)

    def _look_again(self, phase: str, about: dict[str, int]) -> None:
        self._is_collecting = phase == "start"

    def _see(self, frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call" or self._is_collecting:
            return
        remedy = _remedy(called)
        if remedy is None or current_try() is not None or _task() in (None, self._own):
            return
        call, user = called.__qualname__, frame
        while is_foreign(user):
            module = user.f_globals.get("__name__", "")
            if user.f_back is None or not _leads_on(called.__name__, remedy, user, module.partition(".")[0]):
                return
            call, user = f"{module}.{user.f_code.co_name}", user.f_back
        if remedy == _CLOCK:
            self.namespaces[id(user.f_globals)] = user.f_globals
        module = getattr(called, "__module__", None)
        if call == called.__qualname__ and module in ("time", "sqlite3", *_SHOWN):
            call = f"{_SHOWN.get(module, module)}.{call}"
        self._sights[Sight(f"{user.f_code.co_filename}:{user.f_lineno}", f"{_shown(call)}()", remedy)] = None


def _leads_on(name: str, remedy: str, frame: FrameType, package: str) -> bool:
    """Return whether a foreign frame makes its call on behalf of its caller.

    Then the search goes on with the caller.
    """
    if remedy != _IO or package in _BETWEEN:
        return package in _BETWEEN and frame.f_code.co_name not in _NAMES_A_PLACE
    if frame.f_code.co_name in _NAMES_A_PLACE or package in _OWN_READING:
        return False
    return package in _BETWEEN_IO or (name not in _LOOKS and frame.f_code.co_filename.startswith(_PACKAGES))


_SHOWN = {"posix": "os", "nt": "os", "_sqlite3": "sqlite3", "_socket": "socket"}


def _shown(call: str) -> str:
    return call.replace("Random.", "random.", 1) if call.startswith("Random.") else call


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _remedy(called: Any) -> str | None:
    name = getattr(called, "__qualname__", None)
    if name is None:
        return None
    if getattr(called, "__self__", None) is random._inst:
        return _RANDOM
    return _BY_NAME.get((getattr(called, "__module__", None), name)) or _BY_NAME.get((None, name))


def sets_in(code: object) -> list[Sight]:
    """Return the lines of a function's source that make a set.

    The order in which a set is iterated depends on memory addresses.
    """
    try:
        lines, first = inspect.getsourcelines(code)  # type: ignore[arg-type]
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return []
    file = inspect.getsourcefile(code) or "an unknown file"  # type: ignore[arg-type]
    return [
        Sight(f"{file}:{first + node.lineno - 1}", text, _SETS)
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and (text := _set_text(node))
    ]


def _set_text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Set | ast.SetComp):
        return "a set"
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        return f"{called}()" if called in ("set", "frozenset", "asyncio.wait") else None
    return None
