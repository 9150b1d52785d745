"""durable.Reader: the runs of a file store, read from anywhere, beside an engine or without one (R29)."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Backoff, Context, Engine, Reader, RunCancelled, RunFailed, StoreError
from durable.engine import reader as reading
from durable.stores import FileReader

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def double(number: int) -> int:
    if number < 0:
        raise ValueError(f"no {number}")
    return 2 * number


@durable.function("go", retries=0)
async def works(ctx: Context) -> Any:
    found = await ctx.step.run(durable.StepOptions("double", retries=0), double, ctx.event.data["n"])
    if ctx.event.data.get("waits"):
        await ctx.step.wait_for_event("answer", event="answer", timeout="1d", ask="is it right?")
    return found


@durable.function(retries=1, backoff=Backoff("1h", jitter=0))
async def again(ctx: Context) -> None:
    await ctx.step.sleep("pause", 0)
    raise ValueError("not yet")


@durable.function
async def parent(ctx: Context) -> Any:
    return await ctx.step.invoke("child", function=works, data={"n": 4})


FUNCTIONS = [works, again, parent]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
async def engine(path: Path) -> AsyncIterator[Engine]:
    async with Engine(FUNCTIONS, store=path) as engine:
        yield engine


@pytest.fixture(params=["each call opens the file", "the file stays open"])
async def reader(request: pytest.FixtureRequest, path: Path, engine: Engine) -> AsyncIterator[Reader]:
    reader = Reader(path)
    if request.param.startswith("each"):
        yield reader
        return
    async with reader:
        yield reader


async def test_what_the_engine_tells_of_ended_runs_the_reader_tells_too(engine: Engine, reader: Reader) -> None:
    await engine.invoke(works, {"n": 2}, id="well")
    with pytest.raises(RunFailed):
        await engine.invoke(works, {"n": -2}, id="ill")
    await engine.start(works, {"n": 2, "waits": True}, id="stopped")
    await engine.settled()
    await engine.cancel("stopped", "enough")
    await engine.invoke(parent, id="above")
    assert await reader.runs() == await engine.runs()
    assert await reader.runs(function=works, limit=2) == (await engine.runs(function="works"))[:2]
    assert [run.id for run in await reader.runs(status="failed")] == ["ill"]
    assert await reader.runs(event="go") == []
    for run in await engine.runs():
        told = await reader.info(run.id)
        assert told == run and told.record == run.record == await reader.record(run.id)


async def test_a_run_that_waits_is_told_with_its_true_status(engine: Engine, reader: Reader) -> None:
    waiting = await engine.start(works, {"n": 1, "waits": True}, id="waits")
    await engine.start(again, id="again")
    await engine.settled()
    assert await reader.info("waits") == await waiting.info()
    for id in ("waits", "again"):
        assert await reader.why(id) == await engine.why(id)
    assert (await reader.info("again")).status == (await engine.info("again")).status == "waiting"
    assert [run.id for run in await reader.runs(status="waiting")] == ["again", "waits"]
    assert await reader.runs(status="queued") == await reader.runs(status="running") == []


async def test_a_run_whose_first_step_runs_is_running_within_a_second(path: Path, engine: Engine) -> None:
    """Nothing is recorded of a first try before it ends: the engine tells of it beside the store."""
    gate = asyncio.Event()

    @durable.function
    async def slow(ctx: Context) -> None:
        await ctx.step.run("first", gate.wait)

    async with Reader(path) as reader:
        run = await engine.start(slow)
        while (info := await reader.info(run.id)).status != "running":
            assert info.status == "queued"
            await asyncio.sleep(0.01)
        assert info.steps["first"].status == "running" and info.steps["first"].began_at is not None
        assert [one.id for one in await reader.runs(status="running")] == [run.id]
        gate.set()
        await run.result()
        assert (await reader.info(run.id)).status == "completed"


async def test_a_store_that_nobody_has_open_can_be_read(path: Path) -> None:
    async with Engine(FUNCTIONS, store=path) as engine:
        await engine.start(works, {"n": 1, "waits": True}, id="waits")
        await engine.settled()
    before = _content(path)
    assert (await Reader(path).info("waits")).waiting_for.keys() == {"answer"}
    assert _content(path) == before


def _content(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_result_is_waited_for(engine: Engine, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LOOKS_EVERY", 0.01)
    await engine.start(works, {"n": 3, "waits": True}, id="waits")
    waiting = asyncio.create_task(reader.result("waits", timeout=5))
    await engine.settled()
    await engine.send("answer")
    assert await waiting == 6
    assert await reader.result("waits") == 6


async def test_a_result_is_the_error_of_a_run_that_ended_otherwise(engine: Engine, reader: Reader) -> None:
    with pytest.raises(RunFailed):
        await engine.invoke(works, {"n": -2}, id="ill")
    await engine.start(works, {"n": 2, "waits": True}, id="stopped")
    await engine.cancel("stopped", "enough")
    with pytest.raises(RunFailed, match="ValueError: no -2") as failed:
        await reader.result("ill")
    assert "raise ValueError" in failed.value.error.stack
    with pytest.raises(RunCancelled, match="enough"):
        await reader.result("stopped")


async def test_a_result_that_does_not_come_in_time_says_what_the_run_waits_for(engine: Engine, reader: Reader) -> None:
    await engine.start(works, {"n": 2, "waits": True}, id="r")
    await engine.settled()
    with pytest.raises(TimeoutError, match=r"'r' has not ended within 0\.01 s.*'answer' waits for event 'answer'"):
        await reader.result("r", timeout=0.01)


@pytest.mark.parametrize("of", ["engine", "reader"])
async def test_no_time_is_too_short_to_say_how_a_run_has_ended(of: str, engine: Engine, reader: Reader) -> None:
    """So who asks whether it has ended, with 0, is not told that it goes on."""
    await engine.invoke(works, {"n": 2}, id="well")
    with pytest.raises(RunFailed):
        await engine.invoke(works, {"n": -2}, id="ill")
    await engine.start(works, {"n": 2, "waits": True}, id="open")
    await engine.settled()
    result = engine.result if of == "engine" else reader.result
    for timeout in (0, "1ms"):
        assert await result("well", timeout) == 4
        with pytest.raises(RunFailed, match="no -2"):
            await result("ill", timeout)
        with pytest.raises(TimeoutError, match="'open' has not ended"):
            await result("open", timeout)
        with pytest.raises(KeyError, match="there is no run 'nowhere'"):
            await result("nowhere", timeout)


async def test_a_run_that_is_not_there_is_a_key_error_at_each_call(engine: Engine, reader: Reader) -> None:
    sent = (await engine.send("go", {"n": 1}))[0]
    for ask in (reader.info, reader.result, reader.record, reader.why):
        for id in ("nowhere", "\ud800", "durable/event/x"):
            with pytest.raises(KeyError, match="there is no run"):
                await ask(id)
        with pytest.raises(KeyError, match="what was sent opens it once an engine has taken that"):
            await ask("nowhere")
        with pytest.raises(KeyError, match="if it is the id of an event"):
            await ask(sent)
        with pytest.raises(TypeError, match="the id of a run must be a string"):
            await ask(7)  # type: ignore[arg-type]


async def test_wrong_arguments_are_refused_before_the_file_is_opened(tmp_path: Path) -> None:
    nowhere = Reader(tmp_path / "none.db")
    for wrong in ({"status": "open"}, {"status": 7}, {"limit": -1}, {"limit": True}, {"function": 7}, {"event": b"e"}):
        with pytest.raises((TypeError, ValueError)):
            await nowhere.runs(**wrong)  # type: ignore[arg-type]
    for timeout in (-1, "soon", True, ""):
        with pytest.raises((TypeError, ValueError)):
            await nowhere.result("r", timeout=timeout)
    for path in (":memory:", "", 7, None):
        with pytest.raises((TypeError, ValueError)):
            Reader(path)  # type: ignore[arg-type]


async def test_a_store_that_is_not_there_is_a_store_error_and_is_not_made(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "none.db")
    for ask in (reader.runs(), reader.info("r"), reader.result("r"), reader.record("r"), reader.open()):
        with pytest.raises(StoreError, match="there is no store at"):
            await ask
    assert os.listdir(tmp_path) == []


async def test_a_reader_whose_opening_failed_opens_once_there_is_a_store(path: Path) -> None:
    reader = Reader(path)
    with pytest.raises(StoreError, match="there is no store at"):
        await reader.open()
    async with Engine([parent], store=path):
        async with reader:
            assert await reader.runs() == []


async def test_a_reader_is_opened_once_and_closed_as_often_as_one_likes(path: Path, engine: Engine) -> None:
    reader = Reader(path)
    await reader.close()
    await reader.open()
    with pytest.raises(RuntimeError, match="the reader is open already"):
        await reader.open()
    await reader.close()
    await reader.close()
    assert await reader.runs() == []
    with pytest.raises(TypeError, match="async with Reader"), reader:
        pass


async def test_a_call_gives_back_what_it_opened(path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, closed = list[object](), list[object]()
    begin, end = FileReader.open, FileReader.close

    async def opening(self: FileReader) -> None:
        opened.append(self)
        await begin(self)

    async def closing(self: FileReader) -> None:
        closed.append(self)
        await end(self)

    monkeypatch.setattr(FileReader, "open", opening)
    monkeypatch.setattr(FileReader, "close", closing)
    reader = Reader(path)
    await reader.runs()
    with pytest.raises(KeyError):
        await reader.info("nowhere")
    assert len(opened) == 2 and opened == closed
    async with reader:
        await reader.runs()
        await reader.runs()
    assert len(opened) == 3 and opened == closed


async def test_the_file_is_read_in_a_thread_of_its_own(path: Path, engine: Engine) -> None:
    here, threads = threading.get_ident(), set[int]()
    history = FileReader.history

    async with Reader(path) as reader:
        kept = reader._kept
        assert kept is not None
        read = kept._reader.find

        def find(query: Any) -> Any:
            threads.add(threading.get_ident())
            return read(query)

        kept._reader.find = find  # type: ignore[method-assign]
        await reader.runs()
    assert threads and here not in threads and FileReader.history is history


async def test_what_to_dict_gives_is_json_with_the_attributes_as_keys(engine: Engine, reader: Reader) -> None:
    await engine.invoke(parent, id="above")
    await engine.start(works, {"n": 2, "waits": True}, id="r")
    await engine.settled()
    child = await reader.info("above/child")
    assert (child.parent, child.forked_from, (await reader.info("above")).parent) == ("above", None, None)
    told = json.loads(json.dumps((await reader.info("r")).to_dict(), allow_nan=False))
    info = await reader.info("r")
    assert told.keys() == {one for one in dir(info) if one[0] != "_"} - {"record", "to_dict", "export"}
    assert told["opened_at"] == info.opened_at.isoformat() and told["ended_at"] is None
    assert told["steps"]["double"] == info.steps["double"].to_dict() and told["steps"]["double"]["output"] == 4
    assert told["events"] == [told["event"]] and told["event"]["data"] == {"n": 2, "waits": True}
    assert told["waiting_for"] == info.waiting_for and "is it right?" in told["waiting_for"]["answer"]
