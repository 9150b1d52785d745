"""F7: one unfinished run a key; a further event is skipped, or takes the place of the run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, Engine, Singleton, StepError
from durable.engine import inside
from durable.journal import rest_of
from durable.testing import Lab
from tests.support.scenes import Moment, same_scenes, sent

BY_KEY = "event.data.k"


def _sleeping(name: str, singleton: Singleton, **options: Any) -> durable.Function[Any]:
    @durable.function("job", id=name, singleton=singleton, **options)
    async def sleeping(ctx: Context) -> Any:
        await ctx.step.sleep("s", "10s")
        return ctx.event.data.get("n")

    return sleeping


def test_a_further_event_of_a_key_is_skipped_until_the_run_has_ended() -> None:
    one = _sleeping("one", Singleton(key=BY_KEY))
    jobs = [(0, 1, "a"), (1, 2, "a"), (2, 3, "b"), (9, 4, "a"), (11, 5, "a"), (12.5, 6, "b")]
    runs = same_scenes([one], [sent(at, "job", n=n, k=k) for at, n, k in jobs], 60)
    assert [(at, output) for _, at, _, _, output in runs] == [(0, 1), (2, 3), (11, 5), (12.5, 6)]


def test_a_further_event_of_a_key_takes_the_place_of_the_run() -> None:
    one = _sleeping("one", Singleton("cancel", BY_KEY))
    jobs = [(0, 1, "a"), (1, 2, "a"), (2, 3, "b"), (9, 4, "a"), (30, 5, "a")]
    runs = same_scenes([one], [sent(at, "job", n=n, k=k) for at, n, k in jobs], 60)
    assert [(at, output) for _, at, _, _, output in runs] == [
        (0, "cancelled"), (1, "cancelled"), (2, 3), (9, 4), (30, 5),
    ]  # fmt: skip


KEYS: list[tuple[Any, Any, bool]] = [
    (1, 1.0, True),
    (1, True, False),
    (0, False, False),
    ("1", 1, False),
    (None, "null", False),
    (None, ..., True),
    ([1, {"a": 2.0, "b": 1}], [1.0, {"b": 1, "a": 2}], True),
    ("é", "e\u0301", False),
]


@pytest.mark.parametrize(("one", "other", "is_same"), KEYS)
def test_a_key_is_kept_with_its_json_type(one: Any, other: Any, is_same: bool) -> None:
    sole = _sleeping("sole", Singleton(key=BY_KEY))

    async def story() -> None:
        async with Lab([sole]) as lab:
            for value in (one, other):
                await lab.send("job", {} if value is ... else {"k": value})
                await lab.crash()
            assert len(await lab.engine.runs()) == (1 if is_same else 2)

    asyncio.run(story())


def test_events_for_which_the_key_fails_share_the_bucket_of_none_and_warn_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sole = _sleeping("sole", Singleton(key="int(event.data.k)"))

    async def story() -> None:
        async with Lab([sole]) as lab:
            for value in ("x", "y", [], None):
                await lab.send("job", {"k": value})
            assert len(await lab.engine.runs()) == 1

    asyncio.run(story())
    assert len([one for one in caplog.messages if "the key of the singleton of function 'sole'" in one]) == 1


def test_start_returns_the_run_that_holds_the_key_and_an_invoke_fails_naming_it() -> None:
    sole = _sleeping("sole", Singleton(key=BY_KEY))

    @durable.function
    async def caller(ctx: Context) -> str:
        try:
            await ctx.step.invoke("call", function=sole, data={"k": 1})
        except StepError as error:
            return error.message
        return "invoked"

    async def story() -> None:
        async with Lab([sole, caller]) as lab:
            first = await lab.start(sole, {"k": 1, "n": 7}, id="first")
            assert (await lab.start(sole, {"k": 1}, id="second")).id == "first"
            assert (await lab.engine.start(sole, {"k": 1.0})).id == "first"
            told = await lab.result(await lab.start(caller))
            assert "'first'" in told and "singleton" in told
            assert await lab.result(first) == 7
            assert (await lab.start(sole, {"k": 1}, id="second")).id == "second"
            assert (await lab.start(sole, {"k": 1, "n": 7}, id="first")).id == "first", "an id is known"

    asyncio.run(story())


def test_an_invoke_takes_the_place_of_the_run_even_of_its_own_caller() -> None:
    @durable.function(id="again", singleton=Singleton("cancel"))
    async def again(ctx: Context) -> str:
        if ctx.event.data.get("is_last"):
            return "last"
        return str(await ctx.step.invoke("self", function="again", data={"is_last": True}))

    async def story() -> None:
        async with Lab([again]) as lab:
            run = await lab.start(again, id="r")
            first, last = await run.info(), (await lab.engine.runs())[0]
            assert first.status == "cancelled" and "'r/self'" in (first.reason or "")
            assert (last.id, last.output) == ("r/self", "last")

    asyncio.run(story())


def test_a_run_that_a_lifecycle_event_opens_meanwhile_gives_way_too() -> None:
    """The end of the run that gives way may itself open a run with the same key."""

    @durable.function(["job", "durable/function.cancelled"], singleton=Singleton("cancel"))
    async def sole(ctx: Context) -> Any:
        await ctx.step.sleep("s", "10s")
        return ctx.event.data.get("n")

    runs = same_scenes([sole], [sent(0, "job", n=1), sent(1, "job", n=2)], 60)
    assert sorted([str(output) for *_, output in runs]) == ["2", "cancelled", "cancelled"]


@pytest.mark.parametrize("mode", ["skip", "cancel"])
def test_a_run_whose_key_another_holds_is_not_opened_again(mode: Any) -> None:
    sole = _sleeping("sole", Singleton(mode, BY_KEY))

    async def story() -> None:
        async with Lab([sole]) as lab:
            old = await lab.start(sole, {"k": 1}, id="old")
            await old.cancel()
            await lab.start(sole, {"k": 1}, id="new")
            await lab.crash()
            with pytest.raises(ValueError, match="run 'new' holds its singleton key"):
                await lab.engine.retry("old")
            assert (await old.info()).status == "cancelled"
            await lab.advance("10s")
            await lab.engine.retry("old")
            await lab.crash()
            assert (await lab.start(sole, {"k": 2}, id="other")).id == "other"
            kept = (await lab.start(sole, {"k": 1}, id="newer")).id
            assert kept == ("old" if mode == "skip" else "newer"), "a run that is opened again holds its key again"

    asyncio.run(story())


def test_a_parent_that_failed_with_its_child_is_not_opened_again_while_another_holds_the_childs_key() -> None:
    @durable.function(id="sole", singleton=Singleton(), retries=0)
    async def sole(ctx: Context) -> None:
        if ctx.event.data.get("fails"):
            raise ValueError("broken")
        await ctx.step.sleep("s", "10s")

    @durable.function(retries=0)
    async def caller(ctx: Context) -> None:
        await ctx.step.invoke("call", function=sole, data={"fails": True})

    async def story() -> None:
        async with Lab([sole, caller]) as lab:
            await lab.start(caller, id="r")
            await lab.start(sole, id="holder")
            with pytest.raises(ValueError, match="run 'r/call' cannot be opened: run 'holder' holds"):
                await lab.engine.retry("r")
            assert {info.id: info.status for info in await lab.engine.runs()} == {
                "r": "failed", "r/call": "failed", "holder": "waiting",
            }  # fmt: skip

    asyncio.run(story())


def test_a_script_does_not_begin_a_run_whose_key_another_holds(tmp_path: Path) -> None:
    sole = _sleeping("sole", Singleton())
    path = tmp_path / "s.db"

    async def hold() -> None:
        async with Engine([sole], store=path) as engine:
            await engine.start(sole, id="holder")

    asyncio.run(hold())
    for _ in range(2):
        with pytest.raises(ValueError, match="run 'holder' holds the same key"):
            durable.run(sole, store=path, id="another")


def test_a_key_is_free_once_its_run_has_failed_or_the_option_was_taken_away() -> None:
    async def story() -> None:
        one = _sleeping("job", Singleton())
        async with Lab([one]) as lab:
            await lab.send("job", {"n": 1})

            @durable.function("job", id="job")
            async def freely(ctx: Context) -> None:
                if ctx.event.data["n"] == 2:
                    raise durable.NonRetriableError("over")
                await ctx.step.sleep("s", "10s")

            lab._functions = [freely]
            await lab.crash()
            await lab.send("job", {"n": 2})
            assert [run.status for run in await lab.engine.runs()] == ["failed", "waiting"]
            lab._functions = [one]
            await lab.crash()
            assert await lab.send("job") == []
            await lab.advance("10s")
            assert len(await lab.send("job")) == 1

    asyncio.run(story())


def test_an_idempotency_key_is_not_claimed_by_a_skipped_event() -> None:
    one = _sleeping("one", Singleton(), idempotency="event.data.n")
    moments = [sent(0, "job", n=1), sent(1, "job", n=2), sent(20, "job", n=2), sent(40, "job", n=2)]
    runs = same_scenes([one], moments, 60)
    assert [(at, output) for _, at, _, _, output in runs] == [(0, 1), (20, 2)]


def test_a_run_that_is_cancelled_by_hand_frees_its_key() -> None:
    one = _sleeping("one", Singleton())

    async def cancel(lab: Lab) -> None:
        await lab.engine.cancel((await lab.engine.runs())[0].id)

    runs = same_scenes([one], [sent(0, "job", n=1), Moment(1, cancel), sent(2, "job", n=2)], 60)
    assert [(at, output) for _, at, _, _, output in runs] == [(0, "cancelled"), (2, 2)]


def test_a_run_that_rests_holds_its_key_over_crashes() -> None:
    """Recovery reads the record of its rest alone."""
    sole = _sleeping("sole", Singleton(key=BY_KEY))

    async def story() -> None:
        async with Lab([sole]) as lab:
            run = (await lab.send("job", {"k": 1}))[0]
            runtime = inside(lab.engine, "test")
            runtime.journal.post(rest_of(runtime.state.ledgers[run.id], "s", lab.clock.now()))
            await runtime.journal.synced()
            for _ in range(3):
                await lab.crash()
                assert await lab.send("job", {"k": 1}) == []
            await run.cancel()
            assert len(await lab.send("job", {"k": 1})) == 1

    asyncio.run(story())
