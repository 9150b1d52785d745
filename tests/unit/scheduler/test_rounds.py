"""Rounds: counted while the loop has something to call, skipped when it has not."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

from durable.scheduler.rounds import Rounds


class Counting(asyncio.SelectorEventLoop):
    """A loop that counts how often it goes round."""

    turned = 0

    def _run_once(self) -> None:
        self.turned += 1
        super()._run_once()  # type: ignore[misc]


class Queue:
    """A queue that is not asyncio's own."""

    def __init__(self) -> None:
        kept: deque[Any] = deque()
        self.append, self.popleft, self.remove = kept.append, kept.popleft, kept.remove
        self.clear, self._kept = kept.clear, kept

    def __len__(self) -> int:
        return len(self._kept)


class Silent(Counting):
    """A loop that does not show what it has still to call, as uvloop's."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = Queue()


def play(story: Coroutine[Any, Any, None], loop: type[Counting] = Counting) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story)


def turned() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Counting)
    return loop.turned


def test_rounds_in_which_nothing_can_happen_are_not_waited_for() -> None:
    async def story() -> None:
        rounds = Rounds()
        before = turned()
        await rounds.passed(1_000)
        assert rounds.now == 1_000
        assert turned() - before < 5

    play(story())


def test_rounds_are_counted_one_by_one_while_the_loop_has_something_to_call() -> None:
    """R5: a completion on its way through forty tasks is waited for."""

    async def story() -> None:
        rounds = Rounds()
        seen: list[str] = []

        async def on_its_way(below: int) -> None:
            if below:
                await asyncio.create_task(on_its_way(below - 1))
            else:
                seen.append("arrived")

        task = asyncio.create_task(on_its_way(40))
        rounds.call_at(39, lambda: seen.append("39"))
        rounds.call_at(60, lambda: seen.append("60"))
        await task
        await rounds.passed(100)
        assert seen == ["39", "arrived", "60"]

    play(story())


def test_callbacks_come_in_the_order_of_their_rounds_also_when_those_are_skipped() -> None:
    async def story() -> None:
        rounds = Rounds()
        seen: list[int] = []
        for number in (7, 3, 5, 3):
            rounds.call_at(number, lambda number=number: seen.append(rounds.now * 10 + number))  # type: ignore[misc]
        await rounds.passed(8)
        assert seen == [33, 33, 55, 77]

    play(story())


def test_what_a_callback_sets_off_is_waited_for_before_the_next_one_comes() -> None:
    """R5: a turn delivered to one run is no idle time for another."""

    async def story() -> None:
        rounds = Rounds()
        seen: list[str] = []

        async def follow() -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            seen.append("followed")

        tasks: list[asyncio.Task[None]] = []
        rounds.call_at(5, lambda: tasks.append(asyncio.create_task(follow())))
        rounds.call_at(96, lambda: seen.append("96"))
        await rounds.passed(100)
        assert seen == ["followed", "96"]

    play(story())


def test_a_loop_that_does_not_show_what_it_has_to_call_goes_through_every_round() -> None:
    async def story() -> None:
        before = turned()
        await Rounds().passed(50)
        assert turned() - before >= 50

    play(story(), Silent)
