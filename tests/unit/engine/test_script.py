"""`durable.run`: what it returns, what comes out of it, and what it says to the person who started the script."""

from __future__ import annotations

import asyncio
import inspect
import io
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.stores.stderr import say
from durable.testing import VirtualClock

calls: list[str] = []
broken: list[BaseException] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    broken.clear()


async def extract(day: str) -> str:
    calls.append("extract")
    return f"rows of {day}"


async def load(rows: str) -> int:
    calls.append("load")
    if broken:
        raise broken[0]
    return len(rows)


def load_blocking(rows: str) -> int:
    calls.append("load")
    if broken:
        raise broken[0]
    return len(rows)


@durable.function(retries=0)
async def etl(ctx: durable.Context) -> int:
    rows = await ctx.step.run("extract", extract, ctx.event.data["day"])
    return await ctx.step.run("load", load, rows)


@durable.function(retries=0)
async def etl_blocking(ctx: durable.Context) -> int:
    rows = await ctx.step.run("extract", extract, ctx.event.data["day"])
    return await ctx.step.run("load", load_blocking, rows)


@durable.function
async def patient(ctx: durable.Context) -> str:
    await ctx.step.run("extract", extract, "monday")
    await ctx.step.sleep("nap", "1h")
    return "rested"


@durable.function
async def parent(ctx: durable.Context) -> int:
    total: int = await ctx.step.invoke("child", function="etl", data={"day": "monday"})
    return total


MONDAY = {"day": "monday"}


def test_it_returns_what_the_function_returns_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert durable.run(etl, MONDAY) == len("rows of monday")
    assert capfd.readouterr() == ("", "")


def test_functions_are_those_that_it_invokes() -> None:
    assert durable.run(parent, functions=[etl]) == len("rows of monday")


def test_where_a_loop_runs_already_it_says_what_to_write_instead() -> None:
    async def cell() -> None:
        durable.run(etl, MONDAY)

    with pytest.raises(RuntimeError, match=r"engine = durable.Engine\(\[etl\], store=...\); await engine.open\(\)"):
        asyncio.run(cell())


def test_a_run_that_has_ended_answers_from_the_store(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """R1"""
    first = durable.run(etl, MONDAY, store=tmp_path / "x.db", id="monday")
    assert capfd.readouterr().err == ""
    assert durable.run(etl, MONDAY, store=tmp_path / "x.db", id="monday") == first
    assert calls == ["extract", "load"]
    assert capfd.readouterr().err == (
        f"durable: run 'monday' has ended already, its result is from {tmp_path / 'x.db'}\n"
    )


def test_a_failed_run_is_opened_again_with_its_finished_steps(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """R32"""
    broken.append(ValueError("no such table"))
    with pytest.raises(durable.RunFailed, match=r"run 'monday' failed: .*ValueError: no such table"):
        durable.run(etl, MONDAY, store=tmp_path / "x.db", id="monday")
    broken.clear()
    assert durable.run(etl, MONDAY, store=tmp_path / "x.db", id="monday") == len("rows of monday")
    assert calls == ["extract", "load", "load"]
    said = capfd.readouterr().err
    assert said.startswith("durable: run 'monday' had failed (StepError: step 'load': ValueError: no such table)")
    assert said.endswith(f"it is opened again, 1 finished step answers from {tmp_path / 'x.db'}\n")


def test_a_run_that_fails_again_can_be_opened_again(tmp_path: Path) -> None:
    """R32"""
    broken.append(ValueError("no such table"))
    for _ in range(3):
        with pytest.raises(durable.RunFailed):
            durable.run(etl, MONDAY, store=tmp_path / "x.db", id="monday")
    assert calls == ["extract", "load", "load", "load"]


def test_past_its_timeout_the_run_is_parked_and_goes_on_the_next_time(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """R25"""
    for _ in range(2):
        with pytest.raises(TimeoutError, match=r"run .nap. has not ended within 0\.2 s; it goes on"):
            durable.run(patient, store=tmp_path / "x.db", id="nap", timeout="200ms")
    assert calls == ["extract"]
    assert "durable: run 'nap' goes on: 1 finished step answers from" in capfd.readouterr().err


def test_the_id_of_another_function_is_refused(tmp_path: Path) -> None:
    """R32"""
    durable.run(etl, MONDAY, store=tmp_path / "x.db", id="monday")
    with pytest.raises(ValueError, match="run 'monday' belongs to function 'etl', not to 'patient'"):
        durable.run(patient, MONDAY, store=tmp_path / "x.db", id="monday")


def test_the_id_of_a_run_with_other_data_is_refused(tmp_path: Path) -> None:
    """R32"""
    durable.run(etl, MONDAY, store=tmp_path / "x.db", id="monday")
    with pytest.raises(ValueError, match="run 'monday' was started with other data"):
        durable.run(etl, {"day": "tuesday"}, store=tmp_path / "x.db", id="monday")


@pytest.mark.parametrize("function", [etl, etl_blocking])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_exit_from_a_handler_comes_out_and_is_not_recorded(
    function: durable.Function[int], error: BaseException, tmp_path: Path
) -> None:
    """R14"""
    broken.append(error)
    with pytest.raises(type(error)):
        durable.run(function, MONDAY, store=tmp_path / "x.db", id="monday")
    broken.clear()
    assert durable.run(function, MONDAY, store=tmp_path / "x.db", id="monday") == len("rows of monday")
    assert calls == ["extract", "load", "load"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_exit_from_a_function_comes_out_and_is_not_recorded(error: BaseException, tmp_path: Path) -> None:
    """R14"""

    @durable.function
    async def leaving(ctx: durable.Context) -> str:
        await ctx.step.run("extract", extract, "monday")
        if broken:
            raise broken[0]
        return "stayed"

    broken.append(error)
    with pytest.raises(type(error)):
        durable.run(leaving, store=tmp_path / "x.db", id="x")
    broken.clear()
    assert durable.run(leaving, store=tmp_path / "x.db", id="x") == "stayed"
    assert calls == ["extract"]


def _interrupted(**options: Any) -> None:
    broken.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        durable.run(etl, MONDAY, **options)
    broken.clear()


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _interrupted(store=tmp_path / "x.db", id="monday")
    assert capfd.readouterr().err == (
        f"durable: interrupted; run 'monday' is parked in {tmp_path / 'x.db'}: run the same again to go on\n"
    )


@pytest.mark.parametrize("is_named", [True, False])
def test_an_interrupted_run_without_an_id_names_the_one_it_got(
    is_named: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """S1: it goes on by that id, and without one."""
    path = tmp_path / "x.db"
    _interrupted(store=path)
    said = capfd.readouterr().err
    given = said.split("'")[1]
    assert said == f"durable: interrupted; run {given!r} is parked in {path}: run the same again to go on\n"
    assert durable.run(etl, MONDAY, store=path, id=given if is_named else None) == len("rows of monday")
    assert calls == ["extract", "load", "load"]
    why = "" if is_named else ", since its function and data are the same"
    assert capfd.readouterr().err == f"durable: run {given!r} goes on{why}: 1 finished step answers from {path}\n"


def test_an_interrupted_run_in_memory_says_that_nothing_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    _interrupted(id="monday")
    assert capfd.readouterr().err == (
        "durable: interrupted; nothing is kept: give store= and id= to be able to go on\n"
    )


def test_a_store_of_ones_own_keeps_what_was_done(capfd: pytest.CaptureFixture[str]) -> None:
    kept: dict[Any, Any] = {}
    _interrupted(store=durable.DictStore(kept), id="monday")
    assert capfd.readouterr().err == (
        "durable: interrupted; run 'monday' is parked in its store: run the same again to go on\n"
    )
    assert durable.run(etl, MONDAY, store=durable.DictStore(kept), id="monday") == len("rows of monday")
    assert capfd.readouterr().err == "durable: run 'monday' goes on: 1 finished step answers from its store\n"
    assert calls == ["extract", "load", "load"]


class _InterruptedThere(durable.DictStore):
    """A store in which Ctrl-C comes when it is opened, or when a run is looked up before it is started."""

    where = ""

    async def open(self) -> None:
        await super().open()
        if self.where == "opened":
            await self._interrupted()

    async def history(self, run: str) -> AsyncIterator[Any]:
        self.where = {"read": "looked up", "looked up": ""}.get(self.where, self.where)
        if not self.where:
            await self._interrupted()
        async for entry in super().history(run):
            yield entry

    async def _interrupted(self) -> None:
        self.where = "interrupted"
        signal.raise_signal(signal.SIGINT)
        for _ in range(9):
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("where", "state"),
    [
        ("opened", "has not begun here: run the same again"),
        ("read", "is not recorded yet in its store: run the same again to begin it"),
    ],
)
def test_a_run_that_is_not_recorded_yet_is_not_said_to_be_parked(
    where: str, state: str, capfd: pytest.CaptureFixture[str]
) -> None:
    store = _InterruptedThere()
    store.where = where
    with pytest.raises(KeyboardInterrupt):
        durable.run(etl, MONDAY, store=store, id="monday")
    assert store.where == "interrupted"
    assert capfd.readouterr().err == f"durable: interrupted; run 'monday' {state}\n"
    assert durable.run(etl, MONDAY, store=store, id="monday") == len("rows of monday")


@pytest.mark.parametrize("functions", [etl, 7, None], ids=["a function alone", "a number", "nothing"])
def test_the_other_functions_are_a_list(functions: Any, tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match=r"durable\.run takes a list of functions, not .*: write functions=\[function\]"
    ):
        durable.run(parent, store=tmp_path / "x.db", functions=functions)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [SystemExit(3), SystemExit()], ids=["with a code", "without"])
def test_an_exit_of_a_function_is_logged_with_its_code(error: SystemExit, caplog: pytest.LogCaptureFixture) -> None:
    @durable.function
    async def leaving(ctx: durable.Context) -> None:
        raise error

    with pytest.raises(SystemExit):
        durable.run(leaving, id="x")
    assert caplog.messages == [
        f"run 'x' called sys.exit({error.code}), which ends the process: it goes on when its store is opened next"
    ]


def test_a_cancelled_run_stays_cancelled(tmp_path: Path) -> None:
    """R27"""

    async def cancelled() -> None:
        async with durable.Engine([patient], store=tmp_path / "x.db") as engine:
            await (await engine.start(patient, id="nap")).cancel()

    asyncio.run(cancelled())
    with pytest.raises(durable.RunCancelled, match="by hand"):
        durable.run(patient, store=tmp_path / "x.db", id="nap")


def test_a_store_that_is_open_already_is_refused(tmp_path: Path) -> None:
    """R29"""

    async def holding(inner: Callable[[], object]) -> None:
        async with durable.Engine(store=tmp_path / "x.db"):
            await asyncio.to_thread(inner)

    with pytest.raises(durable.StoreLockedError, match="open in this process already"):
        asyncio.run(holding(lambda: durable.run(etl, MONDAY, store=tmp_path / "x.db")))


# What is said, and when.


class _SlowToRead(durable.DictStore):
    """A store whose every entry takes its time."""

    async def history(self, run: str) -> AsyncIterator[Any]:
        async for entry in super().history(run):
            for _ in range(50):
                await asyncio.sleep(0)
            yield entry


class _Heard(io.StringIO):
    """A stream whose lines stand among the calls of handlers."""

    def write(self, text: str) -> int:
        calls.append(text.strip())
        return len(text)


@pytest.mark.parametrize("ended", ["went on", "failed"])
def test_what_is_known_of_a_run_is_said_before_anything_begins(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R32: however slow the reading is, and whatever else goes on in the store."""
    store = _SlowToRead()
    with pytest.raises(TimeoutError):
        durable.run(patient, store=store, timeout=0.05)
    broken.append(KeyboardInterrupt() if ended == "went on" else ValueError("no such table"))
    with pytest.raises((KeyboardInterrupt, durable.RunFailed)):
        durable.run(etl, MONDAY, store=store, functions=[patient], id="monday")
    broken.clear()
    calls.clear()
    monkeypatch.setattr(sys, "stderr", _Heard())
    assert durable.run(etl, MONDAY, store=store, functions=[patient], id="monday") == len("rows of monday")
    said = "goes on: 1 finished step" if ended == "went on" else "had failed (StepError: step 'load'"
    assert said in calls[0] and calls[1:] == ["load"]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "waiting"])
@pytest.mark.parametrize("function_and_data", [(patient, MONDAY), (etl, {"day": "tuesday"}), (etl, {"day": object()})])
def test_where_the_id_or_the_data_are_refused_nothing_begins(
    function_and_data: tuple[durable.Function[Any], dict[str, Any]], status: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """R32"""
    store = durable.DictStore()

    @durable.function
    async def other(ctx: durable.Context) -> None:
        await ctx.step.run("note", lambda: calls.append("other"))
        await ctx.step.sleep("nap", "1h")

    async def opened() -> None:
        begun = etl if status in ("completed", "failed") else _waiting(etl)
        if status == "failed":
            broken.append(KeyError("no such table"))
        async with durable.Engine([begun, _waiting(other)], store=store) as engine:
            run = await engine.start(begun, MONDAY, id="monday")
            await engine.start(other.id, id="other")
            await engine.settled()
            if status == "cancelled":
                await run.cancel()
            assert (await run.info()).status == status

    asyncio.run(opened())
    broken.clear()
    calls.clear()
    function, data = function_and_data
    with pytest.raises((ValueError, durable.CodecError)):
        durable.run(function, data, store=store, id="monday", functions=[etl, patient, other])
    assert calls == []
    assert capfd.readouterr() == ("", "")


def _waiting(function: durable.Function[Any]) -> durable.Function[Any]:
    """A function of that id which only waits, so that its run is unfinished when the other takes over."""

    @durable.function(id=function.id)
    async def waiting(ctx: durable.Context) -> None:
        await ctx.step.wait_for_event("w", event="never", timeout="1d")

    return waiting


@pytest.mark.parametrize("by", [timedelta(days=-366), timedelta(seconds=-1), timedelta(0), timedelta(days=366)])
@pytest.mark.parametrize("status", ["failed", "completed", "waiting"])
def test_a_clock_that_was_set_changes_nothing_of_what_is_known(
    status: str, by: timedelta, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """R32: an old failure is opened again, whatever the time is said to be now."""
    start = datetime(2031, 1, 1, tzinfo=UTC)
    given: dict[str, Any] = {"store": tmp_path / "x.db", "id": "monday"}
    if status != "completed":
        broken.append(ValueError("no such table") if status == "failed" else KeyboardInterrupt())
        with pytest.raises((durable.RunFailed, KeyboardInterrupt)):
            durable.run(etl, MONDAY, **given, clock=VirtualClock(start))
    else:
        durable.run(etl, MONDAY, **given, clock=VirtualClock(start))
    broken.clear()
    capfd.readouterr()
    assert durable.run(etl, MONDAY, **given, clock=VirtualClock(start + by)) == len("rows of monday")
    said = {"failed": "had failed", "completed": "has ended already", "waiting": "goes on"}[status]
    assert said in capfd.readouterr().err
    assert calls == ["extract", "load"] + ["load"] * (status != "completed")


def test_a_cancelled_run_is_said_to_be(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """R32"""
    test_a_cancelled_run_stays_cancelled(tmp_path)
    said = "durable: run 'nap' was cancelled: give another id= to begin anew, or engine.retry opens it again\n"
    assert capfd.readouterr().err == said


def test_a_run_that_is_not_waited_for_is_said_to_be_parked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TimeoutError):
        durable.run(patient, store=tmp_path / "x.db", timeout=0.05)
    said = capfd.readouterr().err
    assert said.startswith("durable: not ended in time; run '") and "is parked in" in said


@pytest.mark.parametrize("wrong", ["soon", -1, True])
def test_a_timeout_that_is_none_is_refused_before_the_store_is_made(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError), match="timeout"):
        durable.run(etl, MONDAY, store=tmp_path / "x.db", timeout=wrong)
    assert list(tmp_path.iterdir()) == []


class _Broken(io.StringIO):
    def __init__(self, error: Exception, *, where: str) -> None:
        super().__init__()
        self._error, self._where = error, where

    def write(self, text: str) -> int:
        if self._where == "write":
            raise self._error
        return super().write(text)

    def flush(self) -> None:
        if self._where == "flush":
            raise self._error


_ERRORS = [BrokenPipeError(), OSError(28, "No space left"), ValueError("closed"), RuntimeError("lost sys.stderr")]


@pytest.mark.parametrize(
    "stream", [None, object(), *(_Broken(error, where=where) for where in ("write", "flush") for error in _ERRORS)]
)
def test_a_stream_that_takes_nothing_is_no_error_and_nothing_goes_elsewhere(
    stream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in range(2):
        assert durable.run(etl, MONDAY, store=tmp_path / "x.db", id="monday") == len("rows of monday")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("encoding", "text", "said"),
    [
        ("ascii", "tür \ud83d", "durable: t\\xfcr \\ud83d\n"),
        ("utf-8", "tür \ud83d\nx\x1b[2J", "durable: tür \\ud83d\\nx\\x1b[2J\n"),
        ("latin-1", "t€r", "durable: t\\u20acr\n"),
    ],
)
def test_a_line_is_spelled_as_its_stream_can(
    encoding: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(buffer, encoding=encoding))
    say(text)
    assert buffer.getvalue().decode(encoding) == said


# Everything that an engine takes.

OPTIONS = [name for name in inspect.signature(durable.Engine).parameters if name not in ("functions", "store")]
# What no engine takes, so that one sees that it was handed on.
WRONG: dict[str, Any] = {
    "clock": time.time,
    "limits": {},
    "max_crashes": 0,
    "resident": -1,
    "threads": 0,
    "if_open": "maybe",
    "grace": "soon",
    "hooks": 7,
    "retention": "soon",
    "logger": "durable",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_an_engine_is_one_of_run_and_handed_on(option: str) -> None:
    ours, theirs = (inspect.signature(one).parameters.get(option) for one in (durable.run, durable.Engine))
    assert ours == theirs, f"durable.run(..., {option}=): give it the same option as Engine, and hand it on"
    with pytest.raises((TypeError, ValueError)):
        durable.run(etl, MONDAY, **{option: WRONG[option]})
