"""What asyncio does not promise: each way of doing without a name that is missing does the same."""

from __future__ import annotations

import asyncio
import sys
from asyncio import tasks
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from durable.scheduler import undocumented
from durable.scheduler.undocumented import has_due_timer, leave_alone, ready, running_loop, without_loop

LOOPS = ["asyncio", "debug", "uvloop"]
# The names that asyncio is taken to have: the first way that these allow is used.
HAVING = ["_swap_current_task", "_current_tasks", ""]


def play(story: Callable[[], Coroutine[Any, Any, None]], loop: str) -> None:
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory, debug=loop == "debug") as runner:
        runner.run(story())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", HAVING)
def test_another_task_is_the_current_one_until_it_is_changed_back(name: str, loop: str) -> None:
    if name and not hasattr(tasks, name):
        pytest.skip("this Python lacks it")
    if name == "_current_tasks" and sys.version_info >= (3, 14):
        pytest.skip("the dict no longer says which task is current")
    current_task, make_current = undocumented._means(SimpleNamespace(**{name: getattr(tasks, name, None)}))

    async def story() -> None:
        running, mine = asyncio.get_running_loop(), asyncio.current_task()
        assert mine is not None
        other = asyncio.ensure_future(asyncio.sleep(0))
        make_current(running, other)
        try:
            assert current_task(running) is other is asyncio.current_task()
        finally:
            make_current(running, mine)
        assert current_task(running) is mine is asyncio.current_task()
        await other
        async with asyncio.timeout(1):  # it takes the current task
            await asyncio.sleep(0)

    play(story, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_blocking_call_sees_no_running_loop(loop: str) -> None:
    async def story() -> None:
        outside = asyncio.get_running_loop()
        assert without_loop(running_loop) is None
        assert running_loop() is outside
        with pytest.raises(RuntimeError, match="StopIteration"):
            without_loop(iter(()).__next__)
        assert running_loop() is outside

    play(story, loop)
    assert running_loop() is None


@pytest.mark.parametrize("loop", LOOPS)
def test_what_a_loop_has_still_to_call_is_seen_where_it_is_shown(loop: str) -> None:
    async def story() -> None:
        running = asyncio.get_running_loop()
        queue = ready(running)
        assert (queue is None) == (loop == "uvloop")
        assert not has_due_timer(running)
        running.call_soon(int)
        running.call_later(-1, int)
        if queue is not None:
            assert len(queue) == 1 and has_due_timer(running)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(queue) == 0 and not has_due_timer(running)

    play(story, loop)


@pytest.mark.parametrize("own", [False, True])
def test_a_task_that_is_left_alone_is_in_no_list(own: bool) -> None:
    class Bare:
        """A task of a user's own loop, as far as asyncio knows it."""

        def __hash__(self) -> int:
            return 1

    async def story() -> None:
        task: Any = Bare() if own else asyncio.ensure_future(asyncio.sleep(9))
        leave_alone(task)
        assert task not in asyncio.all_tasks()
        if not own:
            task.cancel()
            await asyncio.wait([task])

    play(story, "asyncio")
