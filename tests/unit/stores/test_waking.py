"""A waker has its loop call functions, by an eventfd where there is one, else by the loop's own way."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from durable.stores.file.waking import Waker


def _no_eventfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "eventfd")


def _no_more_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "eventfd", refuse)


def _no_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", refuse)


SYSTEMS: dict[str, Any] = {
    "an eventfd": None,
    "no eventfd": _no_eventfd,
    "no more files": _no_more_files,
    "a loop without readers": _no_readers,
}


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "no eventfd" or hasattr(os, "eventfd"):
        change = SYSTEMS[request.param]
        if change is not None and hasattr(os, "eventfd"):
            change(monkeypatch)
        yield request.param
    else:
        pytest.skip("this system has no eventfds")


def _call_in_thread(waker: Waker, *calls: tuple[Any, Any]) -> None:
    def call() -> None:
        for function, argument in calls:
            waker.call(function, argument)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


@pytest.mark.usefixtures("system")
def test_calls_from_a_thread_come_in_order_on_the_loop() -> None:
    async def main() -> None:
        waker, done = Waker(), asyncio.Event()

        def note(number: int) -> None:
            assert asyncio.get_running_loop() is loop
            called.append(number)

        loop = asyncio.get_running_loop()
        _call_in_thread(waker, *[(note, number) for number in range(100)], (lambda _: done.set(), None))
        assert called == []
        await done.wait()
        assert called == list(range(100))
        waker.close()

    called: list[int] = []
    asyncio.run(main())


@pytest.mark.usefixtures("system")
def test_a_call_that_raises_keeps_no_other_from_being_made() -> None:
    async def main() -> None:
        waker, done = Waker(), asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda _, told: raised.append(told["exception"]))
        _call_in_thread(waker, (int, "x"), (int, "y"), (lambda _: done.set(), None))
        await done.wait()
        assert [type(error) for error in raised] == [ValueError, ValueError]
        waker.close()

    raised: list[BaseException] = []
    asyncio.run(main())


@pytest.mark.usefixtures("system")
def test_what_was_called_before_the_close_is_made_and_what_comes_later_too() -> None:
    async def main() -> None:
        waker = Waker()
        _call_in_thread(waker, (called.append, "before"))
        waker.close()
        waker.close()
        _call_in_thread(waker, (called.append, "after"))
        while len(called) < 2:
            await asyncio.sleep(0)
        assert called == ["before", "after"]

    called: list[str] = []
    asyncio.run(main())


@pytest.mark.usefixtures("system")
def test_a_waker_whose_loop_has_ended_can_be_called_and_closed() -> None:
    async def main() -> Waker:
        return Waker()

    waker = asyncio.run(main())
    try:
        waker.call(called.append, "lost")
    except RuntimeError as error:
        assert "closed" in str(error)
    waker.close()
    with pytest.raises(RuntimeError, match="closed"):
        waker.call(called.append, "lost")
    assert called == []


called: list[str] = []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only Linux lists what a process has open")
@pytest.mark.usefixtures("system")
def test_a_closed_waker_leaves_no_file_open() -> None:
    async def main() -> None:
        before = set(os.listdir("/proc/self/fd"))
        Waker().close()
        assert set(os.listdir("/proc/self/fd")) == before

    asyncio.run(main())
