"""Opening and closing: cut short at each await, done twice at once, and by two engines of one process."""

from __future__ import annotations

import asyncio
import builtins
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import (
    Context,
    DictStore,
    Engine,
    FileStore,
    Store,
    StoreError,
    StoreLockedError,
)
from durable.stores.store import Entry
from tests.support.lives import rounds

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@durable.function("go")
async def work(ctx: Context) -> int:
    first = await ctx.step.run("a", lambda: 1)
    await ctx.step.wait_for_event("w", event="never", timeout="10d")
    return first


class Cut:
    """Awaits a coroutine and cancels the task that does, where it suspends for the `at`-th time, counted from 0."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int) -> None:
        self.coroutine = coroutine
        self.at = at
        self.was_cut = False

    def __await__(self) -> Generator[Any, Any, Any]:
        step, number, value, error = self.coroutine.__await__(), 0, None, None
        while True:
            try:
                awaited = step.send(value) if error is None else step.throw(error)
            except StopIteration as stop:
                return stop.value
            if number == self.at:
                self.was_cut = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            number, error = number + 1, None
            try:
                value = yield awaited
            except BaseException as thrown:
                error = thrown


async def cut(coroutine: Coroutine[Any, Any, Any], at: int) -> bool:
    """Run a coroutine in a task of its own that is cancelled at one of its awaits; return whether it came so far."""
    cutting = Cut(coroutine, at)

    async def run() -> None:
        await cutting

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    assert task.cancelled() == cutting.was_cut
    if not task.cancelled():
        task.result()
    return cutting.was_cut


class Slow(DictStore):
    """A DictStore that takes a few turns of the loop for everything, as one on a disk does."""

    immediate = False

    async def open(self) -> None:
        await rounds(3)
        await super().open()

    async def append(self, entries: Any) -> None:
        await rounds(3)
        await super().append(entries)

    async def unfinished(self, now: Any) -> AsyncIterator[Entry]:
        async for entry in super().unfinished(now):
            await asyncio.sleep(0)
            yield entry

    async def close(self) -> None:
        await rounds(3)
        await super().close()


def stores(kind: str, tmp_path: Path) -> Callable[[], Store]:
    mapping: dict[str, Any] = {}
    if kind == "file":
        return lambda: FileStore(tmp_path / "x.db")
    return lambda: (Slow if kind == "slow" else DictStore)(mapping)


@pytest.fixture(params=["dict", "slow", "file"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    return stores(request.param, tmp_path)


# Cut short.


async def test_an_opening_cancelled_at_any_await_leaves_nothing_behind(
    make_store: Callable[[], Store], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever opens next, this engine or another one, finds the store free, and every run goes on."""
    before = asyncio.all_tasks()
    async with Engine([work], store=make_store()) as engine:
        run = await engine.start(work, id="r")
        await engine.settled()
    for at in range(100):
        engine = Engine([work], store=make_store())
        was_cut = await cut(engine.open(), at)
        if was_cut and at % 2:
            await engine.close()  # waits for what is still on its way
            with pytest.raises(RuntimeError, match="not open"):
                await engine.runs()
        if was_cut:
            await engine.open()
        await engine.settled()
        assert (await engine.info(run.id)).status == "waiting"
        await engine.close()
        if not was_cut:
            break
    else:
        raise AssertionError("the opening has no end")
    assert asyncio.all_tasks() == before and not [one for one in caplog.records if one.levelno > logging.INFO]


async def test_a_closing_cancelled_at_any_await_goes_on_and_is_waited_for(
    make_store: Callable[[], Store], caplog: pytest.LogCaptureFixture
) -> None:
    """By a second `close`, by `open`, and by another engine of this process: `wait_for(engine.close(), t)` and on."""
    before = asyncio.all_tasks()
    for at in range(100):
        engine = Engine([work], store=make_store())
        await engine.open()
        run = await engine.start(work, id="r")
        was_cut = await cut(engine.close(), at)
        match at % 3 if was_cut else None:
            case 0:
                await engine.close()
            case 1:
                other = Engine([work], store=make_store())
                await other.open()
                assert (await other.info(run.id)).status != "failed"
                await other.close()
            case 2:
                await engine.open()
                assert (await engine.info(run.id)).status != "failed"
                await engine.close()
            case _:
                break
        await engine.close()
    else:
        raise AssertionError("the closing has no end")
    await rounds()
    assert asyncio.all_tasks() == before and not [one for one in caplog.records if one.levelno > logging.INFO]


class Counting(asyncio.SelectorEventLoop):
    """A loop that cancels the engine's own task in one of its turns."""

    left = -1

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        self.left -= 1
        if self.left == 0:
            for task in asyncio.all_tasks(self):
                if task.get_name() == "durable engine":
                    task.cancel()


@pytest.mark.parametrize("kind", ["slow", "file"])
def test_an_engine_whose_own_task_is_cancelled_at_any_turn_gives_everything_back(kind: str, tmp_path: Path) -> None:
    """As `asyncio.run` does with every task when a script is interrupted: the store is free, and nobody waits on."""
    make_store = stores(kind, tmp_path)
    turns = 0

    async def story(at: int) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Counting)
        engine = Engine([work], store=make_store())
        loop.left = at
        try:
            await engine.open()
            await engine.start(work, id="r")
            for _ in range(40):
                await asyncio.sleep(0)
            await engine.close()
        except (RuntimeError, StoreError):
            await engine.close()
        loop.left = -1
        async with Engine([work], store=make_store()) as engine:
            await engine.settled()

    for turns in range(1, 120 if kind == "slow" else 60):
        with asyncio.Runner(loop_factory=Counting) as runner:
            runner.run(asyncio.wait_for(story(turns), 20))


async def test_two_who_close_at_once_both_wait(make_store: Callable[[], Store]) -> None:
    engine = Engine([work], store=make_store())
    await engine.open()
    await engine.start(work)
    ended: list[int] = []

    async def close(number: int) -> None:
        await engine.close()
        ended.append(number)
        with pytest.raises(RuntimeError, match="not open"):
            await engine.runs()

    await asyncio.gather(close(1), close(2), close(3))
    assert sorted(ended) == [1, 2, 3]
    await engine.close()


async def test_an_engine_that_is_closed_while_it_opens_says_so(make_store: Callable[[], Store]) -> None:
    engine = Engine([work], store=make_store())
    opening = asyncio.create_task(engine.open())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="open already"):
        await engine.open()
    await engine.close()
    with pytest.raises(RuntimeError, match="closed while it was being opened"):
        await opening
    async with engine:
        await engine.start(work)


async def test_what_fails_when_nobody_waits_any_more_is_said_by_us_and_not_by_asyncio(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A late error is in the log, once, in words."""

    class Stubborn(Slow):
        async def close(self) -> None:
            await super().close()
            raise StoreError("the disk went away")

    engine = Engine([work], store=Stubborn())
    await engine.open()
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await rounds(100)
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "the disk went away" in line
    engine = Engine([work], store=Stubborn())
    await engine.open()
    with pytest.raises(StoreError, match="went away"):  # whoever waits is told
        await engine.close()


async def test_nothing_is_taken_that_could_not_be_recorded_any_more(make_store: Callable[[], Store]) -> None:
    """Asked while the engine closes: recorded, or refused; nobody waits for ever."""
    engine = Engine([work], store=make_store())
    await engine.open()
    closing = asyncio.create_task(engine.close())
    kept = 0
    while not closing.done():
        try:
            await asyncio.wait_for(engine.start(work), 5)
            kept += 1
        except (RuntimeError, StoreError) as error:
            assert "not open" in str(error) or "closing" in str(error) or "closed" in str(error), error
        await asyncio.sleep(0)
    await closing
    async with Engine([work], store=make_store()) as engine:
        assert len(await engine.runs()) == kept


# Engines beside each other.


async def test_a_second_engine_on_the_same_file_is_refused_in_words_that_say_what_to_write(tmp_path: Path) -> None:
    async with Engine([work], store=tmp_path / "x.db") as engine:
        (tmp_path / "link.db").symlink_to(tmp_path / "x.db")
        for name in ("x.db", "link.db"):
            with pytest.raises(StoreLockedError, match=r'if_open="replace".*closes it') as caught:
                await Engine([work], store=tmp_path / name).open()
            assert "await engine.close()" in str(caught.value)
        await engine.start(work)


@pytest.mark.parametrize("told", ["argument", "builtins", "module"])
async def test_a_notebook_is_run_twice(told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """H3: the cell that opens an engine is run again, and nobody has closed the one that it made before."""
    options: dict[str, Any] = {}
    match told:
        case "argument":
            options = {"if_open": "replace"}
        case "builtins":
            monkeypatch.setattr(builtins, "get_ipython", object, raising=False)
        case "module":
            module = type(asyncio)("IPython")
            module.get_ipython = object  # type: ignore[attr-defined]
            monkeypatch.setitem(__import__("sys").modules, "IPython", module)
    engines: list[Engine] = []
    for again in range(3):  # "Run all"

        @durable.function(id="cell")
        async def cell(ctx: Context, again: int = again) -> list[Any]:
            return [
                again,
                await ctx.step.run("a", lambda: again),
                await ctx.step.wait_for_signal("s", signal="s", timeout="1d"),
            ]

        engine = Engine([cell], store=tmp_path / "x.db", **options)
        await asyncio.create_task(engine.open())
        engines.append(engine)
        run = await asyncio.create_task(engine.start(cell, id="r"))
        await engine.settled()
    for old in engines[:-1]:
        with pytest.raises(RuntimeError, match="not open"):
            await old.runs()
    assert await engine.send_signal("s") == "r"
    [code, value, signal] = await run.result()
    assert (code, value, signal) == (2, 0, durable.Signal("s"))  # the newest code, over what the first one has recorded
    await engine.close()


async def test_outside_a_notebook_ipython_that_is_only_installed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(asyncio)("IPython")
    module.get_ipython = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "IPython", module)
    async with Engine([work], store=tmp_path / "x.db"):
        with pytest.raises(StoreLockedError, match="if_open"):
            await Engine([work], store=tmp_path / "x.db").open()


async def test_newcomers_that_replace_each_other_at_once_leave_one_open(tmp_path: Path) -> None:
    engines = [Engine([work], store=tmp_path / "x.db", if_open="replace") for _ in range(5)]
    outcomes = await asyncio.gather(*[engine.open() for engine in engines], return_exceptions=True)
    assert all(outcome is None or "closed while" in str(outcome) for outcome in outcomes), outcomes
    lasting = 0
    for engine in engines:
        try:
            await engine.runs()
            lasting += 1
        except RuntimeError:
            continue
    assert lasting == 1
    for engine in engines:
        await engine.close()


def test_an_engine_of_another_loop_cannot_be_replaced(tmp_path: Path) -> None:
    async def leave_open() -> Engine:
        engine = Engine([work], store=tmp_path / "x.db")
        await engine.open()
        return engine

    async def come() -> None:
        with pytest.raises(StoreLockedError):
            await Engine([work], store=tmp_path / "x.db", if_open="replace").open()

    with asyncio.Runner() as first:
        engine = first.run(leave_open())
        thread = threading.Thread(target=lambda: asyncio.run(come()))
        thread.start()
        thread.join()
        first.run(engine.close())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"if_open": "ask"}, 'if_open must be "error" or "replace"'),
        ({"threads": 0}, "threads"),
        ({"threads": True}, "threads"),
        ({"grace": "-1s"}, "grace"),
        ({"grace": "soon"}, "grace"),
        ({"grace": None}, "grace"),
    ],
)
def test_options_that_are_none_are_refused_at_the_call(options: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        Engine(**options)


async def test_close_refuses_a_grace_that_is_none() -> None:
    async with Engine() as engine:
        with pytest.raises(ValueError, match="grace"):
            await engine.close(grace="-1s")
        assert await engine.runs() == []


ASKED: dict[str, Callable[[Engine], Coroutine[Any, Any, Any]]] = {
    "send": lambda engine: engine.send("go"),
    "send_signal": lambda engine: engine.send_signal("s"),
    "start": lambda engine: engine.start(work),
    "start by id": lambda engine: engine.start(work, id="mine"),
    "invoke": lambda engine: engine.invoke(work),
    "runs": lambda engine: engine.runs(),
    "run": lambda engine: engine.run("old"),
    "cancel": lambda engine: engine.cancel("old", "why"),
    "retry": lambda engine: engine.retry("old"),
}


@pytest.mark.parametrize("what", ASKED)
async def test_what_is_asked_of_an_engine_that_opens_is_done_or_refused(
    what: str, make_store: Callable[[], Store]
) -> None:
    """R18: before all that is recorded is known, nothing can be decided; whatever returns is recorded."""
    store = make_store()
    async with Engine([work], store=store) as engine:
        await engine.start(work, id="old")
        await engine.settled()
    for turns in range(60):
        engine = Engine([work], store=store)
        opening = asyncio.ensure_future(engine.open())
        await rounds(turns)
        try:
            await asyncio.wait_for(ASKED[what](engine) if what != "invoke" else engine.start(work), 10)
            was_done = True
        except RuntimeError as error:
            was_done = False
            assert "the engine is not open" in str(error) and "wait for it" in str(error)
        except StoreError as error:  # it is not failed or cancelled
            was_done = False
            assert "old" in str(error)
        except (ValueError, KeyError):
            was_done = True
        await opening
        if was_done and what in ("send", "start", "invoke"):
            assert len(await engine.runs(limit=1_000)) > 1
        await engine.close()


@pytest.mark.parametrize("what", ["send", "start"])
async def test_what_is_asked_while_an_opening_is_given_up_never_hangs(
    what: str, make_store: Callable[[], Store]
) -> None:
    """Who asks is told, whenever the opening is cut short."""
    for turns in range(40):
        engine = Engine([work], store=make_store())
        opening = asyncio.ensure_future(engine.open())
        await rounds(turns)
        asked = asyncio.ensure_future(ASKED[what](engine))
        opening.cancel()
        await asyncio.wait([asked, opening], timeout=10)
        await engine.close()
        assert asked.done() and (asked.exception() is None or isinstance(asked.exception(), RuntimeError | StoreError))


async def test_a_refused_opening_in_another_loop_does_not_hide_who_has_the_store(tmp_path: Path) -> None:
    """The engine of this loop can still be replaced."""
    path = tmp_path / "x.db"
    first = Engine([work], store=path)
    await first.open()
    with pytest.raises(StoreLockedError):
        await asyncio.to_thread(lambda: asyncio.run(Engine([work], store=path).open()))
    async with Engine([work], store=path, if_open="replace") as second:
        assert await second.send("go")
    with pytest.raises(RuntimeError, match="not open"):
        await first.send("go")


async def test_an_opening_that_is_refused_is_not_its_own_cause(tmp_path: Path) -> None:
    """Else a traceback tells the same thing again and again, and who follows causes never comes to an end."""
    (tmp_path / "odd.db").write_bytes(b"no store at all" * 100)
    async with Engine([work], store=tmp_path / "held.db"):
        for path in (tmp_path, tmp_path / "odd.db", tmp_path / "held.db"):
            with pytest.raises(StoreError) as caught:
                await FileStore(path).open()
            error: BaseException | None = caught.value
            seen = []
            while error is not None:
                assert error not in seen
                seen.append(error)
                error = error.__cause__
