"""engine.runs and Reader.runs: each filter, alone and with others, page after page, on both stores alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Cancel, Context, Engine, Reader
from durable.testing import VirtualClock
from durable.views import listing

pytestmark = pytest.mark.anyio
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@durable.function("go")
async def works(ctx: Context) -> Any:
    return ctx.event.data.get("n")


@durable.function("go", cancel=[Cancel("stop")])
async def waits(ctx: Context) -> None:
    await ctx.step.wait_for_event("answer", event="answer", timeout="1d")


async def tell(ctx: Context) -> None:
    """Do nothing more."""


@durable.function(retries=0, on_failure=tell)
async def parent(ctx: Context) -> None:
    for number in range(3):
        await ctx.step.invoke("below", function=works, data={"n": number})
    await ctx.step.invoke("parent", function=deeper)
    await ctx.step.send_event("tell", durable.Event("go", {}))
    raise ValueError("no")


@durable.function
async def deeper(ctx: Context) -> None:
    await ctx.step.invoke("below", function=works)


@durable.function("durable/function.failed")
async def hears(ctx: Context) -> None:
    """Do nothing more."""


FUNCTIONS = [works, waits, parent, deeper, hears]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOON)


@pytest.fixture(params=["a dict", "a file"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Engine]:
    store = durable.DictStore() if request.param == "a dict" else durable.FileStore(tmp_path / "x.db")
    async with Engine(FUNCTIONS, store=store, clock=clock) as engine:
        yield engine


async def ids(engine: Engine, **asked: Any) -> list[str]:
    """Return the ids of the runs that an engine lists; a reader of its file lists the same."""
    await engine.settled()
    found = await engine.runs(**asked)
    store = engine._settings.store
    if isinstance(store, durable.FileStore):
        assert await Reader(store.path).runs(**asked) == found
    return [run.id for run in found]


async def test_runs_are_found_by_the_event_that_opened_them(engine: Engine) -> None:
    """By what `send` returned, and by the sender's own id."""
    [given] = await engine.send("go", {"n": 1}, id="order-7")
    [fresh] = await engine.send("go", {"n": 2})
    await engine.start(works, id="alone")
    for id, asked in ((given, given), (given, "order-7"), (fresh, fresh)):
        assert await ids(engine, event_id=asked) == [f"{id}/waits", f"{id}/works"]
        assert await ids(engine, event_id=asked, function=works) == [f"{id}/works"]
        assert await ids(engine, event_id=asked, status="waiting") == [f"{id}/waits"]
    assert await ids(engine, event_id="order-8") == await ids(engine, event_id="order-7/works") == []
    assert await ids(engine, event_id="alone") == []  # it was started, no event of this id was sent
    assert [run.event.id for run in await engine.runs(event_id=given)] == ["order-7"] * 2


async def test_a_repeated_event_is_found_under_the_id_of_the_first(engine: Engine) -> None:
    [first] = await engine.send("go", id="order-7")
    assert await engine.send("go", id="order-7") == [first]
    assert await ids(engine, event_id="order-7", function="works") == [f"{first}/works"]


async def test_a_scheduled_event_is_found_once_it_has_come(engine: Engine, clock: VirtualClock) -> None:
    [later] = await engine.send("go", id="later", ts=NOON + HOUR)
    assert await ids(engine, event_id="later") == await ids(engine, event_id=later) == []
    clock.advance(HOUR)
    assert (
        await ids(engine, event_id="later") == await ids(engine, event_id=later) == [f"{later}/waits", f"{later}/works"]
    )


async def test_runs_are_found_by_the_run_that_invoked_them(engine: Engine) -> None:
    """Not its failure handler, nor what an event of it has opened, nor the children of its children."""
    with pytest.raises(durable.RunFailed):
        await engine.invoke(parent, id="p")
    below = ["p/parent", "p/below:2", "p/below:1", "p/below"]
    assert await ids(engine, parent="p") == below
    assert await ids(engine, parent="p", limit=2) == below[:2]
    assert await ids(engine, parent="p", function=works) == below[1:]
    assert await ids(engine, parent="p", before="p/below:2") == below[2:]
    assert await ids(engine, parent="p/parent") == ["p/parent/below"]
    assert await ids(engine, parent="p/below") == await ids(engine, parent="nowhere") == []
    assert {run.id for run in await engine.runs()} >= {"p/failure", "p#failed/hears"}
    assert await ids(engine, event_id="p") == []  # it is no event, though its runs begin alike
    assert await ids(engine, event_id="p#failed") == ["p#failed/hears"]


async def test_a_run_with_the_id_of_an_event_does_not_take_its_runs(engine: Engine) -> None:
    """The callers may start a run under the id that `send` returned."""
    [sent] = await engine.send("go", {"n": 1})
    with pytest.raises(durable.RunFailed):
        await engine.invoke(parent, id=sent)
    assert await ids(engine, event_id=sent) == [f"{sent}/waits", f"{sent}/works"]
    assert f"{sent}/works" not in await ids(engine, parent=sent) and len(await ids(engine, parent=sent)) == 4


async def test_a_fork_is_of_the_same_event(engine: Engine) -> None:
    [sent] = await engine.send("go", id="order-7")
    await engine.settled()
    fork = await engine.fork(f"{sent}/works", id="again")
    assert await ids(engine, event_id="order-7", function=works) == [fork.id, f"{sent}/works"]


async def test_runs_are_found_by_the_time_of_their_opening(engine: Engine, clock: VirtualClock) -> None:
    for number in range(3):
        await engine.start(works, id=f"r{number}")
        clock.advance(HOUR)
    assert await ids(engine, opened_after=NOON + HOUR) == ["r2", "r1"]
    assert await ids(engine, opened_before=NOON + HOUR) == ["r0"]
    elsewhere = (NOON + HOUR).astimezone(tz=None)
    assert await ids(engine, opened_after=elsewhere, opened_before=NOON + 2 * HOUR, status="completed") == ["r1"]


@pytest.mark.parametrize("status", [None, "completed", "waiting"])
async def test_pages_give_every_run_once_while_new_ones_come(engine: Engine, status: Any) -> None:
    function = waits if status == "waiting" else works
    for number in range(7):
        await engine.start(function, id=f"r{number}")
    found = page = await ids(engine, status=status, limit=3)
    while page:
        await engine.start(function, id=f"new-{page[-1]}")
        page = await ids(engine, status=status, limit=3, before=page[-1])
        found = found + page
    assert found == [f"r{number}" for number in range(6, -1, -1)]


async def test_what_fits_is_found_behind_all_that_does_not_and_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store cannot tell which runs a parent has invoked, or which are waiting: it is asked for more and more."""
    monkeypatch.setattr(listing, "_ROWS_AT_FIRST", 2)
    [sent] = await engine.send("go", id="e")
    await engine.settled()
    assert await ids(engine, event_id=sent, limit=1) == [f"{sent}/waits"]
    for number in range(9):
        with pytest.raises(durable.RunFailed):
            await engine.invoke(parent, id=f"p{number}")
    children = ["p0/parent", "p0/below:2", "p0/below:1", "p0/below"]
    assert await ids(engine, parent="p0", limit=5) == children
    assert await ids(engine, parent="p0", limit=2) == children[:2]
    # What an event of a run has opened has an id that begins like a child's, and is none.
    [told] = {one.split("/")[1] for one in await ids(engine, limit=999) if one.startswith("p0/") and "tell" in one}
    assert await ids(engine, parent=f"p0/{told}", limit=1) == []


async def test_a_reader_finds_what_is_queued_and_what_waits_by_the_record_alone(tmp_path: Path) -> None:
    @durable.function
    async def thinks(ctx: Context) -> None:
        await asyncio.Event().wait()

    async with Engine([waits, thinks], store=tmp_path / "x.db", grace=0) as engine:
        await engine.start(thinks, id="q")
        await engine.start(waits, id="w")
        while not (await engine.info("w")).steps:
            await asyncio.sleep(0)
    async with Reader(tmp_path / "x.db") as reader:
        for status, found in {"queued": ["q"], "waiting": ["w"], "running": [], "completed": []}.items():
            assert [run.id for run in await reader.runs(status=status)] == found


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"event_id": 7}, TypeError, "the event_id of runs to find must be a string"),
    ({"event_id": "\ud800"}, ValueError, "the event_id of runs to find holds half of a surrogate pair"),
    ({"parent": b"r"}, TypeError, "the parent of runs to find must be a string"),
    ({"opened_after": "2030-01-01"}, TypeError, "the opened_after of runs to find must be an aware"),
    ({"opened_after": 1_900_000_000}, TypeError, "the opened_after of runs to find must be an aware"),
    ({"opened_before": datetime(2030, 1, 1)}, ValueError, "the opened_before of runs to find"),
    ({"before": 7}, TypeError, "the id of a run must be a string"),
    ({"before": "nowhere"}, KeyError, "there is no run 'nowhere' in this store"),
    ({"before": "\ud800"}, KeyError, "there is no run"),
    ({"before": "nowhere", "status": "running"}, KeyError, "there is no run 'nowhere' in this store"),
    ({"status": "open"}, ValueError, "status must be"),
]


@pytest.mark.parametrize(("asked", "kind", "said"), WRONG, ids=str)
async def test_a_wrong_filter_is_refused_at_the_call(
    engine: Engine, asked: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        await engine.runs(**asked)
    store = engine._settings.store
    if isinstance(store, durable.FileStore):
        with pytest.raises(kind, match=said):
            await Reader(store.path).runs(**asked)
