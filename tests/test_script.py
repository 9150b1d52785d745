"""`durable.run`: what it returns, what comes out of it, and what it says to the person who started the script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import durable

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


def test_an_interrupted_run_without_an_id_names_the_one_it_got(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _interrupted(store=tmp_path / "x.db")
    said = capfd.readouterr().err
    given = said.split("'")[1]
    assert said.endswith(f"run it again with id={given!r} to go on\n")
    assert durable.run(etl, MONDAY, store=tmp_path / "x.db", id=given) == len("rows of monday")
    assert calls == ["extract", "load", "load"]


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
