"""S1: a script with a store and no id goes on with its unfinished run, and names those that go on beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import durable

calls: list[str] = []
stops: list[BaseException] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    stops.clear()


async def work(what: str) -> str:
    calls.append(what)
    return what


async def stop(what: str) -> str:
    if stops:
        raise stops[0]
    return await work(what)


@durable.function("day/came", retries=0)
async def etl(ctx: durable.Context) -> str:
    await ctx.step.run("extract", work, "extract")
    return await ctx.step.run("load", stop, "load")


@durable.function
async def parent(ctx: durable.Context) -> str:
    return str(await ctx.step.invoke("child", function="etl", data={"day": 1}))


@durable.function
async def patient(ctx: durable.Context) -> None:
    await ctx.step.sleep("nap", "1h")


def _interrupted(function: durable.Function[Any], data: Mapping[str, Any], **options: Any) -> None:
    stops.append(KeyboardInterrupt())
    with pytest.raises(durable.Interrupted):
        durable.run(function, data, **options)
    stops.clear()
    calls.clear()


@pytest.mark.parametrize(
    ("data", "other", "goes_on"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ({}, None, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": (1,)}, {"a": [1]}, False),
        ({"a": 1}, {"a": 1, "b": None}, False),
    ],
)
def test_equal_data_go_on_and_others_begin_anew(
    data: dict[str, Any], other: dict[str, Any] | None, goes_on: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.db"
    _interrupted(etl, data, store=path)
    [run] = [text for text in capfd.readouterr().err.split("'") if "/" not in text and " " not in text]
    assert durable.run(etl, other, store=path) == "load"
    assert calls == (["load"] if goes_on else ["extract", "load", "load"])
    said = capfd.readouterr().err
    if goes_on:
        assert said == (
            f"durable: run {run!r} goes on, since its function and data are the same: 1 finished step answers from "
            f"{path}\n"
        )
    else:
        assert said == f"durable: another unfinished run goes on beside it, as long as it takes: {run!r}\n"


def test_a_run_that_has_ended_is_not_taken_up(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert durable.run(etl, {"day": 1}, store=tmp_path / "x.db") == "load"
    stops.append(ValueError("no such table"))
    for _ in range(2):
        with pytest.raises(durable.RunFailed):
            durable.run(etl, {"day": 1}, store=tmp_path / "x.db")
    assert calls == ["extract", "load", "extract", "load", "extract", "extract"]
    assert "goes on" not in capfd.readouterr().err


def test_a_run_that_somebody_else_opened_is_not_taken_up(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the child of a run, which has the same event but for its id, nor the run of an event."""
    path = tmp_path / "x.db"

    @durable.function("day/came", id="etl")
    async def waits(ctx: durable.Context) -> None:
        await ctx.step.sleep("nap", "1h")

    async def opened() -> str:
        async with durable.Engine([waits, parent], store=path) as engine:
            await engine.start(parent, id="parent")
            [id] = await engine.send("day/came", {"day": 1})
            await engine.settled()
            return f"{id}/etl"

    sent = asyncio.run(opened())
    capfd.readouterr()
    assert durable.run(etl, {"day": 1}, store=path, functions=[parent]) == "load"
    assert calls[0] == "extract"
    assert capfd.readouterr().err == (
        f"durable: other unfinished runs go on beside it, as long as it takes: 'parent', 'parent/child', {sent!r}\n"
    )


def test_runs_that_go_on_beside_it_are_named_but_not_all(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.db"

    async def started() -> None:
        async with durable.Engine([patient], store=path) as engine:
            for number in range(1_005):
                await engine.start(patient, {"day": number}, id=f"nap-{number}")

    asyncio.run(started())
    assert durable.run(etl, {"day": 1}, store=path) == "load"  # patient is not registered: nothing of it goes on
    assert "beside" not in capfd.readouterr().err
    assert durable.run(etl, {"day": 1}, store=path, functions=[patient]) == "load"
    assert capfd.readouterr().err == (
        "durable: other unfinished runs go on beside it, as long as it takes: 'nap-0', 'nap-1', 'nap-2' and 1,002 "
        "more\n"
    )


def test_of_several_the_first_goes_on_and_parked_ones_count(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.db"

    async def started() -> None:
        async with durable.Engine([patient], store=path) as engine:
            for name in ("first", "second"):
                await engine.start(patient, {"day": 1}, id=name)

    asyncio.run(started())
    with pytest.raises(TimeoutError, match="run 'first' has not ended"):
        durable.run(patient, {"day": 1}, store=path, resident=0, timeout=0.05)
    said = capfd.readouterr().err
    assert said.startswith("durable: run 'first' goes on, since its function and data are the same: ")
    assert "another unfinished run goes on beside it, as long as it takes: 'second'\n" in said


def test_with_an_id_nobody_else_is_taken_up_or_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.db"
    _interrupted(etl, {"day": 1}, store=path, id="monday")
    capfd.readouterr()
    assert durable.run(etl, {"day": 1}, store=path, id="tuesday") == "load"
    assert calls.count("extract") == 1
    assert capfd.readouterr().err == ""


def test_data_that_cannot_be_kept_are_refused_before_anything_is_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    _interrupted(etl, {"day": 1}, store=path)
    with pytest.raises(durable.CodecError):
        durable.run(etl, {"day": object()}, store=path)
    assert calls == []
