"""Worker threads. Functions that block do so on a threading.Event that the test sets; nothing sleeps."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from durable.scheduler import threads as workers_module
from durable.scheduler.threads import Call, HandlerThreads
from tests.support.places import ROOT

Scene = Callable[[HandlerThreads], Awaitable[None]]
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(params=["asyncio", "debug", "uvloop"])
def play(request: pytest.FixtureRequest) -> Callable[..., None]:
    factory = pytest.importorskip("uvloop").new_event_loop if request.param == "uvloop" else None

    def run(scene: Scene, limit: int = 40) -> None:
        async def whole() -> None:
            complaints: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
            workers = HandlerThreads(limit)
            await scene(workers)
            assert await workers.close(5) == []
            assert complaints == []

        with asyncio.Runner(debug=request.param == "debug", loop_factory=factory) as runner:
            runner.run(whole())

    return run


def submitted(workers: HandlerThreads, function: Callable[[], Any], label: str = "f") -> Call[Any]:
    return workers.submit(function, contextvars.copy_context(), label)


class Gate:
    """A function that says when it has begun and ends when it is told to."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def __call__(self) -> str:
        self.loop.call_soon_threadsafe(self.begun.set)
        assert self.opened.wait(30)
        return "through"


def test_a_function_runs_in_a_daemon_thread_in_its_context_without_a_loop(play: Any) -> None:
    """R10a: a sync handler sees no running loop; R11a: its thread never keeps the interpreter."""

    def look() -> tuple[bool, bool, str, int]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        here = threading.current_thread()
        return here is threading.main_thread(), here.daemon, variable.get(), asyncio.run(asyncio.sleep(0, 7))

    async def scene(workers: HandlerThreads) -> None:
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        assert await workers.submit(look, context, "look").result == (False, True, "given", 7)

    play(scene)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_whatever_a_function_raises_is_the_exception_of_the_result(play: Any, kind: type[BaseException]) -> None:
    def fail() -> None:
        raise kind("why")

    async def scene(workers: HandlerThreads) -> None:
        call = submitted(workers, fail)
        await asyncio.wait([call.result])
        error = call.result.exception()
        assert type(error) is kind and str(error) == "why"
        assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["fail"]

    play(scene)


def test_a_stop_iteration_comes_out_as_the_cause_of_a_runtime_error(play: Any) -> None:
    async def scene(workers: HandlerThreads) -> None:
        with pytest.raises(RuntimeError) as caught:
            await submitted(workers, lambda: next(iter([]))).result
        assert isinstance(caught.value.__cause__, StopIteration)

    play(scene)


def test_cancelling_the_result_leaves_the_thread_running_until_it_ends(play: Any) -> None:
    """R11a: a sync handler cannot be stopped; whoever wants to try again waits for `ended`."""

    async def scene(workers: HandlerThreads) -> None:
        gate = Gate()
        call = submitted(workers, gate)
        await gate.begun.wait()
        call.result.cancel()
        await asyncio.sleep(0)
        assert call.running and not call.ended.is_set()
        gate.opened.set()
        await call.ended.wait()
        assert not call.running and call.result.cancelled()

    play(scene)


def test_a_call_that_had_to_queue_has_ended_only_when_its_thread_has(play: Any) -> None:
    async def scene(workers: HandlerThreads) -> None:
        first, second = Gate(), Gate()
        submitted(workers, first)
        call = submitted(workers, second)
        first.opened.set()
        await second.begun.wait()
        call.result.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert call.running and not call.ended.is_set()
        second.opened.set()
        await call.ended.wait()

    play(scene, limit=1)


def test_no_more_than_the_limit_run_and_the_others_begin_in_order(play: Any) -> None:
    async def scene(workers: HandlerThreads) -> None:
        order: list[int] = []
        gates = [Gate(), Gate()]
        blocked = [submitted(workers, gate) for gate in gates]
        queued = [submitted(workers, lambda n=n: order.append(n)) for n in range(5)]
        await asyncio.gather(*(gate.begun.wait() for gate in gates))
        assert [call.running for call in queued] == [False] * 5 and order == []
        gates[0].opened.set()
        await asyncio.gather(*(call.result for call in queued))
        assert order == [0, 1, 2, 3, 4] and blocked[1].running
        gates[1].opened.set()

    play(scene, limit=2)


def test_a_call_cancelled_before_it_began_never_runs_and_has_ended(play: Any) -> None:
    async def scene(workers: HandlerThreads) -> None:
        order: list[str] = []
        gate = Gate()
        submitted(workers, gate)
        withdrawn = submitted(workers, lambda: order.append("withdrawn"))
        kept = submitted(workers, lambda: order.append("kept"))
        withdrawn.result.cancel()
        await withdrawn.ended.wait()
        gate.opened.set()
        await kept.result
        assert order == ["kept"] and not withdrawn.running

    play(scene, limit=1)


def test_an_idle_thread_is_used_again(play: Any) -> None:
    async def scene(workers: HandlerThreads) -> None:
        threads = {await submitted(workers, threading.get_ident).result for _ in range(20)}
        assert len(threads) == 1

    play(scene)


def test_a_thread_that_stays_idle_ends(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "_IDLE_SECONDS", 0.01)

    async def scene(workers: HandlerThreads) -> None:
        thread = await submitted(workers, threading.current_thread).result
        assert await asyncio.to_thread(lambda: thread.join(30) or thread.is_alive()) is False
        assert await submitted(workers, threading.current_thread).result is not thread

    play(scene)


def test_an_idle_thread_keeps_nothing_of_its_last_call(play: Any) -> None:
    class Large:
        pass

    async def scene(workers: HandlerThreads) -> None:
        large, gone = Large(), threading.Event()
        weakref.finalize(large, gone.set)
        await submitted(workers, lambda kept=large: None).result
        del large
        assert await asyncio.to_thread(gone.wait, 5)

    play(scene)


def test_closing_waits_names_what_still_runs_and_cancels_what_never_began(play: Any) -> None:
    """R11a: closing gives sync handlers their time, then names those that still run."""

    async def scene(workers: HandlerThreads) -> None:
        gates = {"short": Gate(), "hangs": Gate()}
        calls = {label: submitted(workers, gate, label) for label, gate in gates.items()}
        queued = submitted(workers, int, "queued")
        gates["short"].opened.set()
        await calls["short"].ended.wait()
        last = submitted(workers, int, "last")
        assert await queued.result == 0 and await last.result == 0
        waiting = submitted(workers, gates["hangs"], "hangs too")
        never = submitted(workers, int, "never")
        assert await workers.close(0.01) == ["hangs", "hangs too"]
        assert never.result.cancelled() and never.ended.is_set()
        with pytest.raises(RuntimeError, match="late cannot run"):
            submitted(workers, int, "late")
        gates["hangs"].opened.set()
        assert await workers.close(30) == []
        assert waiting.result.result() == "through"

    play(scene, limit=2)


def test_an_outcome_that_comes_after_the_loop_closed_is_dropped() -> None:
    """Warnings are errors here: an exception in the thread would fail the test."""
    gates: list[tuple[Gate, threading.Thread]] = []

    async def scene() -> None:
        before = set(threading.enumerate())
        gate = Gate()
        submitted(HandlerThreads(), gate)
        await gate.begun.wait()
        gates.append((gate, (set(threading.enumerate()) - before).pop()))

    asyncio.run(scene())
    gate, thread = gates[0]
    gate.opened.set()
    thread.join(30)
    assert not thread.is_alive()


HANGS = """
import asyncio, contextvars, threading
from durable.scheduler.threads import HandlerThreads

async def main():
    workers = HandlerThreads()
    workers.submit(threading.Event().wait, contextvars.copy_context(), "hangs")
    print(await workers.close(0), flush=True)

asyncio.run(main())
"""


def test_a_function_that_hangs_does_not_keep_the_interpreter_from_ending() -> None:
    """R11a: one that hangs never keeps Ctrl-C from ending a script."""
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30, cwd=ROOT)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("['hangs']\n", "", 0)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        HandlerThreads(0)
