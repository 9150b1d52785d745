"""Recorded runs as fixtures: what is exported today replays today, and what was exported before still does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest

import durable
from durable import Context, DictStore, FileStore, RunFailed, RunInfo, Store
from durable.journal.codec.write import read, write
from durable.journal.records import Record, RunRecord
from durable.stores.jsonl import read_lines
from durable.testing import Lab, replay
from tests.proof.golden import golden_runs
from tests.proof.golden.golden_runs import GOLDEN
from tests.support.lives import note

FILES = {
    "golden-kinds.jsonl": golden_runs.kinds,
    "golden-kinds-child.jsonl": golden_runs.values,
    "golden-failing.jsonl": golden_runs.failing,
    "golden-parked.jsonl": golden_runs.parked,
    "golden-bounded.jsonl": golden_runs.bounded,
    "golden-forked.jsonl": golden_runs.values,
}

# Since these were written, a run that is opened again, and a fork, say at once that they have begun.
ADMITTED_SINCE = ("golden-failing.jsonl", "golden-forked.jsonl")

# Compatibility.


@pytest.mark.parametrize("name", FILES)
def test_a_run_that_an_earlier_version_recorded_replays(name: str) -> None:
    """What is on users' disks must stay readable, and must lead the same code to the same places."""
    info = asyncio.run(replay(FILES[name], GOLDEN / name, functions=FILES.values()))
    first = json.loads((GOLDEN / name).read_text().splitlines()[0])
    assert (info.id, info.function_id) == (first["run"], FILES[name].id)


def _golden_records() -> list[tuple[str, str, Record]]:
    found = []
    for path in sorted(GOLDEN.glob("*.jsonl")):
        _, entries = read_lines(path.read_text(encoding="utf-8"), what=path.name)
        found += [(path.name, entry.body, read(entry.kind, entry.body)) for entry in entries]
    return found


def test_every_golden_record_is_written_as_it_was() -> None:
    for name, body, record in _golden_records():
        assert write(record) == body, name


def test_the_golden_files_hold_every_kind_of_record() -> None:
    held = {type(record) for _, _, record in _golden_records()}
    assert held == set(get_args(Record))


def test_the_same_stories_are_recorded_the_same_today() -> None:
    """The kinds and keys of every golden run, in order: what changes here changes what is on users' disks."""

    def outline(text: str) -> list[Any]:
        _, entries = read_lines(text, what="a run")
        records = [read(entry.kind, entry.body) for entry in entries]
        return [(type(record).__name__, getattr(record, "key", ""), getattr(record, "turn", 0)) for record in records]

    told = asyncio.run(golden_runs.tell())
    assert told.keys() == {path.name for path in GOLDEN.glob("*.jsonl")}
    for name in FILES:
        today, recorded = outline(told[name]), outline((GOLDEN / name).read_text(encoding="utf-8"))
        if name in ADMITTED_SINCE:
            today = [one for one in today if one[0] != "RunAdmitted"]
        assert today == recorded, name


# Exporting.


@attrs.frozen
class Charge:
    amount: int


@attrs.frozen
class Fee:
    amount: int


def charge() -> Charge:
    return Charge(7)


def fee() -> Fee:
    return Fee(7)


@durable.function
async def order(ctx: Context) -> list[Any]:
    charged = await ctx.step.run("charge", charge)
    await ctx.step.sleep("night", "8h")
    return [charged.amount, await ctx.step.run("ship", note, "b")]


async def exported(function: durable.Function[Any], path: Path, *, store: Store | None = None) -> RunInfo:
    """Live a run and export it."""
    async with Lab([function], store=store) as lab:
        run = await lab.start(function, id="r")
        try:
            await lab.result(run)
        except RunFailed:
            pass
        info = await run.info()
        info.export(path)
        return info


@pytest.mark.parametrize("kind", ["dict", "file"])
def test_an_exported_run_replays(tmp_path: Path, kind: str) -> None:
    async def story() -> None:
        store = DictStore() if kind == "dict" else FileStore(tmp_path / "x.db", durability="none")
        lived = await exported(order, tmp_path / "r.jsonl", store=store)
        replayed = await replay(order, tmp_path / "r.jsonl")
        assert attrs.evolve(replayed, record=()) == attrs.evolve(lived, ended_at=replayed.ended_at, record=())

    asyncio.run(story())
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"format": "durable run", "version": 1, "run": "r", "function": "order"}
    assert {json.loads(line)["kind"] for line in lines[1:]} <= {cls.__name__ for cls in get_args(RunRecord)}


def test_an_unfinished_run_is_exported_as_far_as_it_came(tmp_path: Path) -> None:
    """R1: no handler is called, neither of what is finished nor of what was at work."""

    async def story() -> None:
        async with Lab([order]) as lab:
            run = await lab.start(order, id="r")
            (await run.info()).export(tmp_path / "r.jsonl")
        info = await replay(order, tmp_path / "r.jsonl")
        assert info.status == "waiting" and info.waiting_for.keys() == {"night"}

    asyncio.run(story())


def called_too_often(*args: Any) -> Charge:
    raise AssertionError("a replay must not call handlers")


def test_no_handler_runs_in_a_replay(tmp_path: Path) -> None:
    """R1."""

    def called(*args: Any) -> Any:
        called_too_often()

    async def todays(ctx: Context) -> list[Any]:
        charged = await ctx.step.run("charge", called_too_often)
        await ctx.step.sleep("night", "8h")
        return [charged.amount, await ctx.step.run("ship", called)]

    async def story() -> None:
        await exported(order, tmp_path / "r.jsonl")
        info = await replay(durable.function(id="order")(todays), tmp_path / "r.jsonl")
        assert info.output == [7, "b"]

    asyncio.run(story())


# Drift.


async def renamed(ctx: Context) -> list[Any]:
    charged = await ctx.step.run("pay", charge)
    await ctx.step.sleep("night", "8h")
    return [charged.amount, await ctx.step.run("ship", note, "b")]


async def another_kind(ctx: Context) -> list[Any]:
    await ctx.step.sleep("charge", 7)
    return []


async def shorter(ctx: Context) -> list[Any]:
    return [(await ctx.step.run("charge", charge)).amount, "b"]


async def longer(ctx: Context) -> list[Any]:
    result = await order.code(ctx)
    await ctx.step.run("tell", note)
    return result


async def sleeps_longer(ctx: Context) -> list[Any]:
    result = await order.code(ctx)
    await ctx.step.sleep("rest", "1h")
    return result


async def another_result(ctx: Context) -> list[Any]:
    return [*await order.code(ctx), "more"]


async def fails(ctx: Context) -> list[Any]:
    await order.code(ctx)
    raise durable.NonRetriableError("no")


async def another_type(ctx: Context) -> list[Any]:
    return await ctx.step.run("charge", fee)


async def waits_outside(ctx: Context) -> list[Any]:
    await asyncio.Event().wait()
    return []


@pytest.mark.parametrize(
    ("todays", "parts"),
    [
        (renamed, ["recorded:  step 'charge' (run)", "asked for: step 'pay' (run) at {line}+1"]),
        (another_kind, ["'charge'", "is recorded as a run, but the code asks for a sleep", "{line}+1"]),
        (shorter, ["recorded:  step 'night' (sleep)", 'asked for: the run ended: completed: [7,"b"]']),
        (longer, ['recorded:  the run ended: completed: [7,"b"]', "asked for: step 'tell' (run) at {line}+2"]),
        (sleeps_longer, ["recorded:  the run ended", "asked for: step 'rest' (sleep) at {line}+2"]),
        (another_result, ['completed: [7,"b"]', 'and now:   the run ended: completed: [7,"b","more"]']),
        (fails, ['completed: [7,"b"]', "and now:   the run ended: failed: NonRetriableError: no"]),
        (another_type, ["'charge'", "no longer fits its type", "{line}+1"]),
        (waits_outside, ["it awaits something outside its steps, at {line}+1"]),
    ],
)
def test_a_replay_tells_what_is_recorded_what_is_asked_for_and_where(
    todays: Any, parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R6: drift is found before an unfinished run meets it."""
    monkeypatch.setattr("durable.testing.replaying.STILL_SECONDS", 0.05)

    async def story() -> str:
        await exported(order, tmp_path / "r.jsonl")
        with pytest.raises(AssertionError) as caught:
            await replay(durable.function(id="order")(todays), tmp_path / "r.jsonl")
        return str(caught.value)

    text = asyncio.run(story())
    assert text.startswith(f"run 'r' of function 'order', recorded in {tmp_path / 'r.jsonl'}, no longer replays:\n")
    for part in parts:
        place, _, offset = part.partition("{line}+")
        line = f"{__file__}:{todays.__code__.co_firstlineno + int(offset)}" if offset else ""
        assert place + line in text, text


@pytest.mark.parametrize("text", ["", "{}\n", "[]", "no json", '{"format": "durable run", "version": 2}', '{"a": 1'])
def test_a_file_that_holds_no_run_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"is not a run that RunInfo\.export wrote"):
        asyncio.run(replay(order, path))


def test_a_run_of_another_function_is_refused() -> None:
    with pytest.raises(ValueError, match="is a run of function 'parked', not of 'order'"):
        asyncio.run(replay(order, GOLDEN / "golden-parked.jsonl"))


def test_what_is_asked_for_beyond_an_unfinished_record_is_no_drift(tmp_path: Path) -> None:
    async def story() -> None:
        async with Lab([order]) as lab:
            run = await lab.start(order, id="r")
            (await run.info()).export(tmp_path / "r.jsonl")
        await replay(durable.function(id="order")(longer), tmp_path / "r.jsonl")
        with pytest.raises(AssertionError, match="recorded:  step 'charge'"):
            await replay(durable.function(id="order")(renamed), tmp_path / "r.jsonl")

    asyncio.run(story())
