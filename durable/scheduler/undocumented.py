"""Use what asyncio has, but does not promise.

Separate because these names may change with each release of Python: all that the library uses of them stands here.
Leaves to `eager` the use of another task in place, to `rounds` the counting, to `refusals` the tasks that never end.

What is done where a name is missing:

- `_get_running_loop`, `_set_running_loop`, `_enter_task`, `_leave_task`, `_unregister_task` are there on every Python
  from 3.11 to 3.14, for the sake of other loops: uvloop's has the same tasks as asyncio's own.
- `_swap_current_task` is new in Python 3.12. On 3.11 the dict `_current_tasks` says which task is current, which it no
  longer does from 3.14 on. Where both are missing, as with tasks of another make, one is left and the other entered.
- A thread has one current task from 3.14 on; before, each loop had one. While another loop runs, that task is left.
- `_ready` and `_scheduled` are what a loop has still to call. uvloop's shows nothing, and is taken to be busy.
- `_log_destroy_pending` belongs to a task of asyncio's. A task of a user's own class need not have it.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import tasks
from collections import deque
from collections.abc import Callable
from typing import Any

Loop = asyncio.AbstractEventLoop

_IS_ONE_TASK_A_THREAD = sys.version_info >= (3, 14)

running_loop = asyncio._get_running_loop
"""Return the loop that runs in this thread, or None."""


# The current task.


def _enter_and_leave(loop: Loop, task: asyncio.Task[Any] | None) -> None:
    before = asyncio.current_task(loop)
    if before is not None:
        tasks._leave_task(loop, before)
    if task is not None:
        tasks._enter_task(loop, task)


def _means(
    of: object,
) -> tuple[Callable[[Loop], asyncio.Task[Any] | None], Callable[[Loop, asyncio.Task[Any] | None], object]]:
    swap, current = getattr(of, "_swap_current_task", None), getattr(of, "_current_tasks", None)
    if swap is not None:
        return asyncio.current_task, swap
    if isinstance(current, dict):
        return current.get, current.__setitem__
    return asyncio.current_task, _enter_and_leave


current_task, make_current = _means(tasks)
"""Return a loop's current task; make another task the current one, until it is changed again."""


def without_loop(function: Callable[[], Any]) -> Any:
    """Call a blocking handler in the loop's thread, hiding the running loop and its task.

    The handler finds the same surroundings as in a worker thread, and may run a loop of its own.
    """
    loop = running_loop()
    task = current_task(loop) if loop is not None and _IS_ONE_TASK_A_THREAD else None
    if loop is not None and task is not None:
        make_current(loop, None)
    asyncio._set_running_loop(None)
    try:
        return function()
    except StopIteration as error:  # as in a coroutine, where a StopIteration would look like its end
        raise RuntimeError("the handler raised StopIteration") from error
    finally:
        asyncio._set_running_loop(loop)
        if loop is not None and task is not None:
            make_current(loop, task)


def leave_alone(task: asyncio.Task[Any]) -> None:
    """Take a task out of asyncio's own list, by which `asyncio.run` cancels and awaits the tasks that are left.

    That the task is destroyed while it is pending is not complained about.
    """
    if hasattr(task, "_log_destroy_pending"):
        task._log_destroy_pending = False
    asyncio._unregister_task(task)


# What a loop has still to call.


def ready(loop: Loop) -> deque[Any] | None:
    """Return the callbacks that a loop is about to call, or None if it does not show them.

    It is the loop's own queue, and shows later callbacks, too.
    """
    shown = getattr(loop, "_ready", None)
    return shown if isinstance(shown, deque) else None


def has_due_timer(loop: Loop) -> bool:
    """Return whether a timer of a loop is due already: `asyncio.wait(timeout=0)`, which polls, sets one."""
    timers: list[asyncio.TimerHandle] = getattr(loop, "_scheduled", [])  # anew: the loop replaces the list
    return bool(timers) and timers[0].when() <= loop.time()
