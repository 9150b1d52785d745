"""F3: in no window of a rate limit's period do more runs open than it allows; what is more opens none."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, RateLimit, RateLimitedError, RunFailed, StepError
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.lives import Snapshots, records

pytestmark = pytest.mark.anyio


@durable.function("call", rate_limit=RateLimit(2, "1h", key="event.data.user"))
async def called(ctx: Context) -> Any:
    return ctx.event.data["user"]


async def opened(lab: Lab, *users: Any) -> list[Any]:
    return [run for user in users for run in await lab.send("call", {"user": user})]


async def test_what_is_more_than_the_limit_opens_no_run_until_a_whole_period_has_passed() -> None:
    async with Lab([called]) as lab:
        assert len(await opened(lab, "ann", "ann", "ann")) == 2
        await lab.advance("30m")
        assert len(await opened(lab, "ann")) == 0
        await lab.advance(timedelta(minutes=30) - timedelta(microseconds=1))
        assert len(await opened(lab, "ann")) == 0
        await lab.advance(timedelta(microseconds=1))  # the window is half open
        assert len(await opened(lab, "ann", "ann", "ann")) == 2


async def test_a_limit_of_five_an_hour_admits_five_in_each_hour_whenever_they_come() -> None:
    @durable.function("call", rate_limit=RateLimit(5, "1h"))
    async def five(ctx: Context) -> None: ...

    instants = []
    async with Lab([five]) as lab:
        for _ in range(60):
            if await lab.send("call"):
                instants.append(lab.clock.now())
            await lab.advance("7m")
    assert len(instants) == 5 * 7
    for first, sixth in zip(instants, instants[5:], strict=False):
        assert sixth - first >= timedelta(hours=1)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [(1, 1.0, True), (1, "1", False), (1, True, False), (None, "", False), ("a", "a", True), (None, None, True)],
)
async def test_a_key_counts_with_its_json_type(one: Any, other: Any, is_same: bool) -> None:
    async with Lab([called]) as lab:
        assert len(await opened(lab, one, one)) == 2
        assert len(await opened(lab, other)) == (0 if is_same else 1)


async def test_an_absent_key_and_one_that_fails_share_the_bucket_of_null(caplog: pytest.LogCaptureFixture) -> None:
    @durable.function("call", rate_limit=RateLimit(2, "1h", key="1 / event.data.n"))
    async def divided(ctx: Context) -> None: ...

    async with Lab([divided]) as lab:
        runs = [run for n in (0, 0, 0, 5) for run in await lab.send("call", {"n": n})]
        assert len(runs) == 3
    told = [record for record in caplog.records if "has no value" in record.getMessage()]
    assert len(told) == 1 and "rate_limit of function 'divided'" in told[0].getMessage()


async def test_start_and_invoke_are_told() -> None:
    @durable.function
    async def parent(ctx: Context) -> Any:
        return await ctx.step.invoke("call it", function=called, data={"user": "ann"})

    async with Lab([called, parent]) as lab:
        await opened(lab, "ann", "ann")
        with pytest.raises(RateLimitedError, match=r'at most 2 in 1h for the key "ann".*can open at 2030-01-01'):
            await lab.engine.start(called, {"user": "ann"})
        with pytest.raises(RateLimitedError):
            await lab.engine.invoke(called, {"user": "ann"}, id="mine")
        run = await lab.start(parent)
        with pytest.raises(RunFailed) as failed:
            await lab.result(run)
        assert failed.value.error.name == "RateLimitedError" and failed.value.error.step_id == "call it"
        assert (await run.info()).attempt == 0
        await lab.advance("1h")
        assert await lab.result(await lab.start(called, {"user": "ann"}, id="mine")) == "ann"


async def test_a_function_can_go_on_after_a_limited_invoke() -> None:
    @durable.function
    async def parent(ctx: Context) -> Any:
        names = []
        for _ in range(3):
            try:
                names.append(await ctx.step.invoke("call it", function=called, data={"user": "ann"}))
            except StepError as error:
                names.append(error.name)
        return names

    async with Lab([called, parent]) as lab:
        assert await lab.result(await lab.start(parent)) == ["ann", "ann", "RateLimitedError"]


async def test_repeats_and_events_that_trigger_nothing_use_up_no_limit() -> None:
    @durable.function(
        durable.TriggerEvent("call", if_exp="event.data.n > 0"),
        rate_limit=RateLimit(2, "1h"),
        idempotency="event.data.n",
    )
    async def once(ctx: Context) -> None: ...

    async with Lab([once]) as lab:
        counts = [len(await lab.send("call", {"n": n})) for n in (0, 1, 1, 0, 2, 3)]
        assert counts == [0, 1, 0, 0, 1, 0]


async def test_openings_are_remembered_after_a_crash_at_every_write() -> None:
    mapping = Snapshots()
    async with Lab([called], store=DictStore(mapping)) as lab:
        await opened(lab, "ann", "bob", "ann", "ann")
    for taken in mapping.taken:
        before = [one for one in records(taken) if type(one).__name__ == "RunOpened" and "ann" in one.event.text]
        async with Lab([called], store=DictStore(taken), start=START + timedelta(minutes=59)) as lab:
            assert len(await opened(lab, "ann", "ann", "ann")) == 2 - len(before)


async def test_openings_are_remembered_whatever_prune_takes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with Lab([called], store=durable.FileStore(path)) as lab:
        await opened(lab, "ann", "ann")
        await lab.advance("30m")
        store = lab.engine._settings.store
        assert await store.prune(lab.clock.now()) > 0
        now = lab.clock.now()
    async with Lab([called], store=durable.FileStore(path), start=now) as lab:
        assert len(await opened(lab, "ann")) == 0
        await lab.advance("30m")
        assert len(await opened(lab, "ann", "ann", "ann")) == 2


async def test_a_store_without_the_option_has_no_record_of_it() -> None:
    @durable.function("call")
    async def free(ctx: Context) -> None: ...

    mapping = Snapshots()
    async with Lab([free], store=DictStore(mapping)) as lab:
        await lab.send("call")
    kinds = {fact[2] for key in mapping if "batch" in key for fact in mapping[key]}
    assert kinds == {"RunOpened", "RunClosed", "EngineClosed"}


async def test_a_limit_that_was_lowered_raised_or_removed_counts_from_the_next_start_on() -> None:
    mapping: dict[str, Any] = {}

    def limited(limit: int | None) -> durable.Function[None]:
        @durable.function("call", id="f", rate_limit=None if limit is None else RateLimit(limit, "1h"))
        async def f(ctx: Context) -> None: ...

        return f

    for limit, sent, expected in [(3, 2, 2), (1, 1, 0), (4, 5, 2), (None, 3, 3), (4, 1, 0)]:
        async with Lab([limited(limit)], store=DictStore(mapping)) as lab:
            assert sum([len(await lab.send("call")) for _ in range(sent)]) == expected


async def test_drops_are_counted_and_told_once_a_window(caplog: pytest.LogCaptureFixture) -> None:
    async with Lab([called]) as lab:
        for _ in range(3):
            await opened(lab, *["ann"] * 5)
            await lab.advance("1h")
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 3 and all(
        "opened no run of function 'called': its rate_limit is 2 in 1h" in one for one in told
    )
    assert "as were 2 before" not in told[0] and "as were 2 before" in told[1] and "as were 2 before" in told[2]
