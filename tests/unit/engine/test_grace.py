"""A deploy fails nothing: handlers that are given time to end, and what they make of being asked to (R11a, R14)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import (
    Backoff,
    Context,
    DictStore,
    Engine,
    NonRetriableError,
    RetryAfterError,
    StepOptions,
    Store,
    Timeouts,
)
from durable.engine.opened import inside
from durable.journal.records import RunClosed, RunRetried, StepClosed, StepRetried
from durable.stores.file.store import FileStore
from tests.support.lives import records, rounds

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class Scene:
    """A run whose one step calls a handler that waits: `begun` counts its calls, `go` lets it end."""

    def __init__(
        self, store: Store, *, blocking: bool = False, then: Callable[[int], Any] = int, **options: Any
    ) -> None:
        self.store = store
        self.begun = 0
        self.go: Any = threading.Event() if blocking else asyncio.Event()
        self.then = then

        async def waits() -> Any:
            self.begun += 1
            await self.go.wait()
            return self.then(self.begun)

        def blocks() -> Any:
            self.begun += 1
            self.go.wait(20)
            return self.then(self.begun)

        @durable.function("go", retries=0)
        async def works(ctx: Context) -> Any:
            given = StepOptions("a", retries=1, backoff=Backoff(first=0))
            value = await ctx.step.run(given, blocks if blocking else waits)
            return [value, await ctx.step.run("b", lambda: "b")]

        self.function = works
        self.options = options

    def engine(self) -> Engine:
        return Engine([self.function], store=self.store, **self.options)

    async def begin(self) -> Engine:
        """Open an engine and come to where the handler runs."""
        engine = self.engine()
        await engine.open()
        await engine.start(self.function, id="r")
        while not self.begun:
            await asyncio.sleep(0)
        return engine

    async def again(self) -> Any:
        """Open another engine, and return what comes of the run."""
        self.go.set()
        async with self.engine() as engine:
            return await engine.result("r")

    @property
    def kinds(self) -> list[str]:
        assert isinstance(self.store, DictStore)
        return [type(record).__name__ for record in records(self.store.mapping)]


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
@pytest.mark.parametrize("by", ["close", "engine", "replaced"])
async def test_a_handler_that_ends_within_the_grace_is_recorded_and_not_called_again(
    by: str, blocking: bool, tmp_path: Path
) -> None:
    """H5: a deploy repeats no call."""
    store = FileStore(tmp_path / "x.db") if by == "replaced" else DictStore()
    scene = Scene(store, blocking=blocking, grace="0s" if by == "close" else "60s")
    engine = await scene.begin()
    if by == "replaced":
        other = Engine([scene.function], store=tmp_path / "x.db", if_open="replace")
        closing = asyncio.create_task(other.open())
    else:
        closing = asyncio.create_task(
            engine.close(grace="60s") if by == "close" else engine.__aexit__(None, None, None)
        )
    await rounds()
    assert not closing.done()
    scene.go.set()
    await closing
    if by == "replaced":
        assert await other.result("r") == [1, "b"]
        await other.close()
    else:
        assert scene.kinds[-2:] == ["StepClosed", "EngineClosed"]  # and not the next step
        assert await scene.again() == [1, "b"]
    assert scene.begun == 1


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
async def test_in_the_grace_no_new_try_begins(blocking: bool) -> None:
    """What fails within it has failed, and is tried again when the store is opened next."""

    def then(call: int) -> int:
        if call == 1:
            raise ValueError("of its own")
        return call

    scene = Scene(DictStore(), blocking=blocking, then=then)
    engine = await scene.begin()
    closing = asyncio.create_task(engine.close(grace="60s"))
    await rounds()
    scene.go.set()
    await closing
    assert scene.begun == 1 and scene.kinds[-2:] == ["StepRetried", "EngineClosed"]
    assert await scene.again() == [2, "b"] and scene.begun == 2


async def test_in_the_grace_no_handler_begins_that_waits_for_a_thread() -> None:
    go, called = threading.Event(), list[int]()

    def blocks(number: int) -> int:
        called.append(number)
        go.wait(20)
        return number

    @durable.function
    async def works(ctx: Context) -> list[int]:
        return list(await asyncio.gather(*[ctx.step.run(f"s{n}", blocks, n) for n in range(5)]))

    store = DictStore()
    engine = Engine([works], store=store, threads=2)
    await engine.open()
    await engine.start(works, id="r")
    while len(called) < 2:
        await asyncio.sleep(0)
    closing = asyncio.create_task(engine.close(grace="60s"))
    await rounds()
    go.set()
    await closing
    assert sorted(called) == [0, 1]
    async with Engine([works], store=store, threads=2) as engine:
        assert await engine.result("r") == [0, 1, 2, 3, 4]
    assert sorted(called) == [0, 1, 2, 3, 4]


class Slow(DictStore):
    """A DictStore whose appends take until `let` is set."""

    immediate = False

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()
        self.let.set()

    async def append(self, entries: Any) -> None:
        await self.let.wait()
        await super().append(entries)


async def test_a_try_that_is_due_and_waits_for_the_record_of_the_last_one_does_not_begin_any_more() -> None:
    calls = 0

    async def fails_once() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            store.let.clear()
            raise ValueError("once")
        return calls

    @durable.function
    async def works(ctx: Context) -> list[int]:
        tried = ctx.step.run(StepOptions("a", backoff=Backoff(first=0)), fails_once)
        return list(await asyncio.gather(tried, ctx.step.run("long", beside)))

    go = asyncio.Event()

    async def beside() -> int:
        await go.wait()
        return 0

    store = Slow()
    engine = Engine([works], store=store)
    await engine.open()
    await engine.start(works, id="r")
    runtime = inside(engine, "test")
    while not calls or ("r", "a") in runtime.timers or runtime.journal.posted == runtime.journal.durable:
        await asyncio.sleep(0)
    closing = asyncio.create_task(engine.close(grace="60s"))
    await rounds()
    store.let.set()
    await rounds()
    go.set()
    await closing
    assert calls == 1
    async with Engine([works], store=store) as engine:
        assert await engine.result("r") == [2, 0]


async def test_a_try_that_waits_for_the_thread_of_the_last_one_does_not_begin_any_more() -> None:
    """R11a: a thread cannot be stopped, so the next try waits until it has ended, here within the grace."""
    go, calls = threading.Event(), 0

    def blocks() -> int:
        nonlocal calls
        calls += 1
        go.wait(20)
        return calls

    @durable.function
    async def works(ctx: Context) -> int:
        return await ctx.step.run(StepOptions("a", timeout="10ms", backoff=Backoff(first=0)), blocks)

    store = DictStore()
    engine = Engine([works], store=store)
    await engine.open()
    await engine.start(works, id="r")
    while "StepRetried" not in [type(record).__name__ for record in records(store.mapping)]:
        await asyncio.sleep(0.001)
    await rounds()
    closing = asyncio.create_task(engine.close(grace="60s"))
    await rounds()
    go.set()
    await closing
    assert calls == 1
    async with Engine([works], store=store) as engine:
        assert await engine.result("r") == 2


async def test_a_handler_may_send_within_the_grace_and_what_it_opens_begins_next_time() -> None:
    opened: list[str] = []

    @durable.function("child")
    async def child(ctx: Context) -> None:
        opened.append(ctx.run_id)

    async def then() -> list[str]:
        return await engine.send("child")

    scene = Scene(DictStore(), then=lambda call: then())
    scene.function = durable.function(id="works")(_sends(scene))
    engine = Engine([scene.function, child], store=scene.store)
    await engine.open()
    await engine.start(scene.function, id="r")
    while not scene.begun:
        await asyncio.sleep(0)
    closing = asyncio.create_task(engine.close(grace="60s"))
    await rounds()
    scene.go.set()
    await closing
    assert opened == []
    async with Engine([scene.function, child], store=scene.store) as engine:
        [id] = await engine.result("r")
        await engine.settled()
    assert [run.partition("/")[0] for run in opened] == [id]


def _sends(scene: Scene) -> Callable[[Context], Coroutine[Any, Any, Any]]:
    async def sends() -> Any:
        scene.begun += 1
        await scene.go.wait()
        return await scene.then(1)

    async def works(ctx: Context) -> Any:
        return await ctx.step.run("a", sends)

    return works


async def test_when_the_grace_is_over_handlers_are_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(DictStore())
    engine = await scene.begin()
    await asyncio.wait_for(engine.close(grace="20ms"), 10)
    assert "StepClosed" not in scene.kinds and not [one for one in caplog.records if one.levelno > logging.INFO]
    assert await scene.again() == [2, "b"]


async def test_closed_again_for_a_shorter_time_the_shorter_one_counts() -> None:
    scene = Scene(DictStore())
    engine = await scene.begin()
    long = asyncio.create_task(engine.close(grace="1h"))
    await rounds()
    longer = asyncio.create_task(engine.close(grace="2h"))
    await rounds()
    assert not long.done() and not longer.done()
    await asyncio.wait_for(engine.close(grace="10ms"), 10)
    await asyncio.gather(long, longer)
    assert await scene.again() == [2, "b"]


async def test_a_closing_that_is_cut_short_still_gives_its_grace() -> None:
    scene = Scene(DictStore())
    engine = await scene.begin()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.close(grace="60s"), 0.01)
    scene.go.set()
    await engine.open()
    assert await engine.result("r") == [1, "b"] and scene.begun == 1
    await engine.close()


@pytest.mark.parametrize("grace", ["0s", "60ms"])
async def test_a_thread_that_does_not_end_is_named_once(
    grace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R11a: after 5 s, shortened here, or the longer time given; one line for one cause, in the user's words."""
    monkeypatch.setattr("durable.scheduler.stopping.GRACE", 0.05)
    scene = Scene(DictStore(), blocking=True)
    engine = await scene.begin()
    await engine.close(grace=grace)
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "step 'a' of run 'r' does not end: its thread is left behind" in line
    scene.go.set()


class Leaving(Scene):
    """A run that leaves the running handler of its step behind: `how` says in which way."""

    def __init__(self, how: str, *, blocking: bool) -> None:
        super().__init__(DictStore(), blocking=blocking)
        self.how = how
        self.steps: list[asyncio.Task[Any]] = []
        release = self.go = threading.Event()

        async def swallows() -> None:
            self.begun += 1
            while not release.is_set():
                try:
                    await asyncio.sleep(0.001)
                except asyncio.CancelledError:
                    pass

        def blocks() -> None:
            self.begun += 1
            release.wait(20)

        @durable.function(retries=0, timeouts=Timeouts(finish="10ms") if how == "timed out" else None)
        async def works(ctx: Context) -> None:
            step = asyncio.ensure_future(ctx.step.run("a", blocks if blocking else swallows))
            self.steps.append(step)
            if how in ("cancelled", "timed out"):
                await step
            while not self.begun:
                await asyncio.sleep(0)
            if how == "failed":
                raise NonRetriableError("on purpose")
            await asyncio.wait([step, asyncio.ensure_future(ctx.step.run("b", int))], return_when="FIRST_COMPLETED")

        self.function = works

    async def left(self) -> Engine:
        """Come to where the handler has been left, and still runs."""
        engine = await self.begin()
        if self.how == "cancelled":
            assert await engine.cancel("r")
        while not self.steps[0].done():
            await asyncio.sleep(0)
        await rounds()
        return engine


@pytest.mark.parametrize("grace", ["0s", "60ms"])
@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
@pytest.mark.parametrize("how", ["cancelled", "timed out", "failed", "lost a race"])
async def test_a_handler_that_was_left_before_the_closing_is_waited_for_and_named_like_any_other(
    how: str, blocking: bool, grace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R11a: for the time given and then 5 s, shortened here, and not until the closing gives up everything."""
    monkeypatch.setattr("durable.scheduler.stopping.GRACE", 0.05)
    monkeypatch.setattr("durable.scheduler.stopping.ClosingTime.left_after_all", lambda time: 3600.0)
    scene = Leaving(how, blocking=blocking)
    engine = await scene.left()
    caplog.clear()  # that the function ended while a task of its own still waited
    try:
        await asyncio.wait_for(engine.close(grace=grace), 10)
    finally:
        scene.go.set()
    [line] = errors(caplog)
    thread = "its thread is left behind; it will run again unless its run has ended"
    ends = thread if blocking else "although it was cancelled; it is left behind"
    assert line.startswith("step 'a' of run 'r' does not end") and ends in line


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
@pytest.mark.parametrize("how", ["cancelled", "timed out", "failed", "lost a race"])
async def test_a_handler_that_was_left_before_the_closing_may_end_within_the_grace(
    how: str, blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Leaving(how, blocking=blocking)
    engine = await scene.left()
    caplog.clear()
    closing = asyncio.create_task(engine.close(grace="60s"))
    await rounds()
    assert not closing.done()
    scene.go.set()
    await asyncio.wait_for(closing, 10)
    assert errors(caplog) == []


# What handlers make of being asked to end.


@asynccontextmanager
async def transaction() -> Any:
    try:
        yield
    except asyncio.CancelledError as error:
        raise ConnectionError("rolled back") from error


async def _own_error(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    try:
        await wait()
    except asyncio.CancelledError as error:
        raise ValueError("I was stopped") from error


async def _another_one(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    try:
        await wait()
    except asyncio.CancelledError:
        raise LookupError("without a cause") from None


async def _in_finally(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    try:
        await wait()
    finally:
        raise OSError("while cleaning up")


async def _group(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_own_error(wait))
        group.create_task(wait())


async def _timeout(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    try:
        await wait()
    except asyncio.CancelledError:
        raise TimeoutError from None


async def _retry_after(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    try:
        await wait()
    except asyncio.CancelledError:
        raise RetryAfterError("later", "1h") from None


async def _final(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    try:
        await wait()
    except asyncio.CancelledError:
        raise NonRetriableError("never again") from None


async def _with_a_manager(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    async with transaction():
        await wait()


async def _exits(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    try:
        await wait()
    except asyncio.CancelledError:
        raise asyncio.InvalidStateError("a future was not ready") from None


async def _plain(wait: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    await wait()


FORMS = [
    _own_error,
    _another_one,
    _in_finally,
    _group,
    _timeout,
    _retry_after,
    _final,
    _with_a_manager,
    _exits,
    _plain,
]


@pytest.mark.parametrize("grace", ["0s", "10ms"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
async def test_what_an_async_handler_raises_because_the_engine_closes_is_not_its_failure(form: Any, grace: str) -> None:
    """R14: who asked for an end decides what it was. The step is tried again as if it had never begun."""
    calls = 0

    async def handler() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            await form(asyncio.Event().wait)
        return calls

    @durable.function(retries=0)
    async def works(ctx: Context) -> int:
        return await ctx.step.run(StepOptions("a", retries=0, timeout="1h"), handler)

    store = DictStore()
    engine = Engine([works], store=store)
    await engine.open()
    await engine.start(works, id="r")
    while not calls:
        await asyncio.sleep(0)
    await engine.close(grace=grace)
    recorded = records(store.mapping)
    assert not [record for record in recorded if isinstance(record, StepRetried | StepClosed | RunRetried | RunClosed)]
    async with Engine([works], store=store) as engine:
        assert await engine.result("r") == 2


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
async def test_what_a_function_raises_because_the_engine_closes_is_not_its_failure(form: Any) -> None:
    lives = 0

    @durable.function(retries=0)
    async def works(ctx: Context) -> int:
        nonlocal lives
        lives += 1
        if lives == 1:
            await form(lambda: ctx.step.sleep("a", "1d"))
        return lives

    store = DictStore()
    async with Engine([works], store=store) as engine:
        await engine.start(works, id="r")
        while not lives:
            await asyncio.sleep(0)
    async with Engine([works], store=store) as engine:
        assert await engine.result("r") == 2


@pytest.mark.parametrize("where", ["handler", "function"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_what_is_raised_when_an_exit_leaves_the_loop_is_nobodys_failure(form: Any, where: str) -> None:
    """R14: `asyncio.run` cancels every task then, not the engine; a handler's and a function's are among them."""
    store, calls = DictStore(), 0

    async def handler() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            asyncio.get_running_loop().call_soon(_interrupt)
            await form(asyncio.Event().wait)
        return calls

    @durable.function(retries=0)
    async def works(ctx: Context) -> int:
        return await (handler() if where == "function" else ctx.step.run(StepOptions("a", retries=0), handler))

    async def life() -> Any:
        async with Engine([works], store=store) as engine:
            run = await engine.start(works, id="r")
            return await run.result()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(life())
    assert asyncio.run(life()) == 2


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("error", [ValueError, TimeoutError, NonRetriableError])
async def test_what_a_blocking_handler_raises_because_the_engine_closes_is_not_its_failure(error: Any) -> None:
    """R11a: it may have heard of it, from a signal handler of its own; nobody can tell that from another reason."""

    def then(call: int) -> int:
        if call == 1:
            raise error("the server is going down")
        return call

    scene = Scene(DictStore(), blocking=True, then=then)
    engine = await scene.begin()
    closing = asyncio.create_task(engine.close())
    await rounds()
    scene.go.set()
    await closing
    assert "StepClosed" not in scene.kinds and "StepRetried" not in scene.kinds
    assert await scene.again() == [2, "b"]


async def test_what_a_stopped_handler_returns_is_recorded() -> None:
    """R8: it has done what it was called for."""
    calls = 0

    async def handler() -> int:
        nonlocal calls
        calls += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return calls

    @durable.function
    async def works(ctx: Context) -> int:
        return await ctx.step.run("a", handler)

    store = DictStore()
    async with Engine([works], store=store) as engine:
        await engine.start(works, id="r")
        while not calls:
            await asyncio.sleep(0)
    async with Engine([works], store=store) as engine:
        assert await engine.result("r") == 1 and calls == 1
