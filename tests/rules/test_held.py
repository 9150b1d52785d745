"""F4, F5: what is held can be seen, opened before its time and taken back, in the engine and from outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Batch, Context, Debounce, Engine, Held, Reader, Sender, Singleton
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.commands import aside, command_of

pytestmark = pytest.mark.anyio


@durable.function("doc", debounce=Debounce("5s", key="event.data.k"))
async def index(ctx: Context) -> Any:
    return ctx.event.data["n"]


@durable.function("row", batch_events=Batch(3, "10s"))
async def bulk(ctx: Context) -> Any:
    return [event.data["n"] for event in ctx.events]


def _brief(held: Sequence[Held]) -> list[tuple[str, Any, list[Any], float]]:
    return [
        (one.function_id, one.key, [event.data["n"] for event in one.events], (one.due - START).total_seconds())
        for one in held
    ]


async def _outputs(lab: Lab) -> list[Any]:
    return [info.output for info in reversed(await lab.engine.runs())]


async def _fill(lab: Lab) -> list[str]:
    ids = []
    for n, (name, k) in enumerate([("doc", "a"), ("doc", [1.0]), ("row", None), ("doc", "a"), ("row", None)]):
        ids += await lab.engine.send(name, {"n": n, "k": k})
        await lab.advance("1s")
    return ids


async def test_held_shows_what_is_held_with_its_key_its_events_and_its_time() -> None:
    async with Lab([index, bulk]) as lab:
        await _fill(lab)
        for _ in range(2):
            assert _brief(await lab.engine.held()) == [
                ("index", "a", [3], 8), ("index", [1], [1], 6), ("bulk", None, [2, 4], 12),
            ]  # fmt: skip
            assert _brief(await lab.engine.held(bulk)) == _brief(await lab.engine.held("bulk"))
            assert _brief(await lab.engine.held("nobody")) == []
            await lab.crash()
        assert (await lab.engine.held())[0].to_dict()["due"] == (START + timedelta(seconds=8)).isoformat()


async def test_flush_opens_what_is_held_before_its_time() -> None:
    async with Lab([index, bulk]) as lab:
        await _fill(lab)
        opened = await lab.engine.flush(index, [1])
        assert [await lab.result(run) for run in opened] == [1]
        assert await lab.engine.flush(index, "b") == [] and len(await lab.engine.held(index)) == 1
        assert [await lab.result(run) for run in await lab.engine.flush("bulk")] == [[2, 4]]
        await lab.crash()
        assert [await lab.result(run) for run in await lab.engine.flush("index")] == [3]
        assert await lab.engine.held() == [] and await lab.engine.flush(index) == []
        await lab.advance("1h")
        assert await _outputs(lab) == [1, [2, 4], 3]


async def test_flush_of_what_is_not_there_is_an_error() -> None:
    async with Lab([index]) as lab:
        with pytest.raises(LookupError, match="there is no function 'nobody'"):
            await lab.engine.flush("nobody")
        with pytest.raises(TypeError, match="key of what is held"):
            await lab.engine.flush(index, object())


async def test_an_event_of_a_batch_can_be_taken_back() -> None:
    async with Lab([bulk]) as lab:
        ids = [(await lab.engine.send("row", {"n": n}, id=f"row{n}"))[0] for n in range(2)]
        assert await lab.engine.unsend(ids[0])
        await lab.crash()
        assert not await lab.engine.unsend(ids[0])
        assert _brief(await lab.engine.held()) == [("bulk", None, [1], 10)]
        assert await lab.engine.send("row", {"n": 2}, id="row0") != [ids[0]], "its own id is free again"
        assert await lab.engine.send("row", {"n": 9}, id="row1") == [ids[1]], "the other's is not"
        await lab.advance("10s")
        assert await _outputs(lab) == [[1, 2]]
        assert (await lab.engine.runs())[0].id == f"{ids[1]}/bulk"


async def test_what_a_debounce_holds_can_be_taken_back_but_not_what_was_replaced() -> None:
    async with Lab([index]) as lab:
        first, last = [(await lab.engine.send("doc", {"n": n}, id=f"d{n}"))[0] for n in range(2)]
        assert not await lab.engine.unsend(first)
        assert await lab.engine.unsend(last)
        await lab.crash()
        assert await lab.engine.held() == []
        await lab.advance("1h")
        assert await _outputs(lab) == []
        assert await lab.engine.send("doc", {"n": 0}, id="d0") == [first]
        assert await lab.engine.send("doc", {"n": 1}, id="d1") != [last]


async def test_why_tells_of_the_events_that_were_replaced() -> None:
    async with Lab([index]) as lab:
        for n in range(3):
            await lab.send("doc", {"n": n}, id=f"d{n}")
        await lab.send("doc", {"n": 3}, id="old", ts=START - timedelta(days=1))
        await lab.advance("5s")
        for _ in range(2):
            said = (await lab.engine.why((await lab.engine.runs())[0].id)).text
            assert "has completed" in said
            assert "event 'd0' opened no run" in said and "'d1' took its place" in said and "'d2' took its" in said
            assert "event 'old' opened no run" in said and "a later ts" in said
            await lab.crash()


async def test_why_tells_of_the_events_that_a_singleton_skipped(caplog: pytest.LogCaptureFixture) -> None:
    @durable.function("job", singleton=Singleton())
    async def alone(ctx: Context) -> None:
        await ctx.step.sleep("s", "1h")

    caplog.set_level("INFO", "durable")
    async with Lab([alone]) as lab:
        run = (await lab.send("job"))[0]
        for n in range(12):
            await lab.send("job", id=f"j{n}")
        said = (await lab.engine.why(run.id)).text
        assert "sleeps until" in said and "2 earlier events" in said
        assert "event 'j11' opened no run" in said and "'j1' " not in said and "singleton key" in said
        assert len(said.split("\n")) == 13
    assert sum("opens no run of function 'alone'" in one for one in caplog.messages) == 12


async def test_what_is_held_is_seen_opened_and_taken_back_from_outside(tmp_path: Path) -> None:
    path = tmp_path / "s.db"

    @durable.function("doc", id="index", debounce=Debounce("1h", key="event.data.k"))
    async def later(ctx: Context) -> Any:
        return ctx.event.data["n"]

    async with Engine([later], store=path) as engine:
        ids = [(await engine.send("doc", {"n": n, "k": k}))[0] for n, k in enumerate(["a", "b", 1, "a", "c"])]
    reader, sender = Reader(path), Sender(path)
    assert [(one.key, one.events[0].data["n"]) for one in await reader.held()] == [("a", 3), ("b", 1), (1, 2), ("c", 4)]
    assert await reader.held("other") == []
    assert not await sender.flush("index", "z") and not await sender.flush("other")
    assert [await sender.unsend(ids[0]), await sender.unsend(ids[1])] == [False, True]
    assert await sender.flush("index", 1.0) and await sender.flush(later, "a")
    async with Engine([later], store=path) as engine:
        await engine.settled()
        assert [info.output for info in reversed(await engine.runs())] == [2, 3]
        assert [one.key for one in await engine.held()] == ["c"]
        assert [one.key for one in await reader.held()] == ["c"]
        assert await sender.flush("index")
    async with Engine([later], store=path) as engine:
        await engine.settled()
        assert [info.output for info in reversed(await engine.runs())] == [2, 3, 4]
        assert "'" + ids[0] + "' opened no run" in (await reader.why(f"{ids[3]}/index")).text


async def test_a_singleton_is_minded_when_a_message_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s.db"

    @durable.function(singleton=Singleton())
    async def alone(ctx: Context) -> None:
        await ctx.step.sleep("s", "1h")

    async with Engine([alone], store=path) as engine:
        await (await engine.start(alone, id="old")).cancel()
    sender = Sender(path)
    await sender.start(alone, id="new")
    await sender.start(alone, id="newer")
    await sender.retry("old")
    async with Engine([alone], store=path) as engine:
        await engine.settled()
        assert {info.id: info.status for info in await engine.runs()} == {"old": "cancelled", "new": "waiting"}
    assert any("'new' has the key of function 'alone' in place of run 'newer'" in one for one in caplog.messages)
    assert any("run 'old' cannot be opened" in one for one in caplog.messages)


async def test_a_fork_passes_debounce_and_batch_by_and_a_held_singleton_key_is_refused() -> None:
    @durable.function("job", singleton=Singleton(key="event.data.k"))
    async def alone(ctx: Context) -> Any:
        await ctx.step.sleep("s", "1h")
        return ctx.event.data["k"]

    async with Lab([index, bulk, alone]) as lab:
        await _fill(lab)
        for run in [*await lab.engine.flush(index, "a"), *await lab.engine.flush(bulk)]:
            forked = await lab.engine.fork(run.id)
            assert await lab.result(forked) == await lab.result(run)
            await lab.crash()
            assert (await lab.engine.info(forked.id)).events == (await lab.engine.info(run.id)).events
        run = (await lab.send("job", {"k": 1}))[0]
        with pytest.raises(ValueError, match=f"run {run.id!r} holds its singleton key"):
            await lab.engine.fork(run.id)
        assert await lab.result(await lab.engine.fork(run.id, data={"k": 2}, id="f")) == 2
        await lab.crash()
        assert (await lab.engine.fork(run.id, id="g")).id == "g"
        with pytest.raises(ValueError, match="run 'g' holds its singleton key"):
            await lab.engine.fork("f", data={"k": 1})


async def test_the_command_lists_and_opens_what_is_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, command = tmp_path / "s.db", command_of(capsys)

    @durable.function("doc", id="index", debounce=Debounce("1h", key="event.data.k"))
    async def later(ctx: Context) -> Any:
        return ctx.event.data["n"]

    async with Engine([later], store=path) as engine:
        await engine.send([durable.Event("doc", {"n": n, "k": k}) for n, k in enumerate(["a\n", 2])])
    assert (await aside(command, "held", path, "--function", "other")).out == "nothing is held\n"
    first, second, *_ = (await aside(command, "held", path)).out.split("\n")
    assert first.startswith(r"index with key 'a\n': 1 event (doc), opens at 2") and "with key 2" in second
    assert [one["key"] for one in (await aside(command, "held", path, "--json")).value] == ["a\n", 2]
    assert (await aside(command, "flush", path, "index", "--key", "3")).status == 1
    assert (await aside(command, "flush", path, "index", "--key", "2", "--json")).value["key"] == 2
    async with Engine([later], store=path) as engine:
        await engine.settled()
        assert [info.output for info in await engine.runs()] == [1]
        assert (await aside(command, "flush", path, "index")).status == 0
