"""How runs set off and end each other: failure handlers, lifecycle events, cancelling (R15, R16, R27)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

import durable
from durable import Backoff, Cancel, Context, RunCancelled, RunFailed
from durable.testing import Lab
from tests.support.lives import note

Between = Callable[[Lab], Awaitable[None]]


@pytest.fixture(params=["live", "with a crash after every step"])
def between(request: pytest.FixtureRequest) -> Between:
    async def crash(lab: Lab) -> None:
        if request.param != "live":
            await lab.crash()

    return crash


async def opened(lab: Lab, function: str) -> list[durable.RunInfo]:
    return await lab.engine.runs(function=function)


def test_the_logger_of_a_run_is_silent_while_it_only_repeats_what_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    """ctx.logger: a line appears once, in whichever process the code came to it first."""

    @durable.function
    async def telling(ctx: Context) -> None:
        ctx.logger.warning("begun")
        await ctx.step.run("a", note)
        ctx.logger.warning("between")
        await ctx.step.wait_for_event("go", event="go", timeout="1d")
        ctx.logger.warning("over")

    async def story() -> None:
        store = durable.DictStore()
        async with durable.Engine([telling], store=store) as engine:
            await engine.start(telling, id="r")
            await engine.settled()
        async with durable.Engine([telling], store=store) as engine:
            await engine.send("go")
            await (await engine.run("r")).result(5)

    asyncio.run(story())
    assert [text for text in caplog.messages if text.startswith("[r]")] == ["[r] begun", "[r] between", "[r] over"]


# Failure handlers (R15).


async def tell(ctx: Context) -> Any:
    await ctx.step.sleep("pause", "1h")
    return [ctx.function_id, ctx.run_id, ctx.event.name, dict(ctx.event.data)]


@durable.function("go", retries=1, backoff=Backoff("1m", jitter=0), on_failure=tell, cancel=[Cancel("stop")])
async def fragile(ctx: Context) -> None:
    await ctx.step.sleep("work", "1h")
    raise ValueError(f"no {ctx.event.data['n']}")


def test_a_failed_run_calls_its_failure_handler_once_as_a_run_of_its_own(between: Between) -> None:
    """R15: function `<function id>-failure`, run `<run id>/failure`, `ctx.event` is the failed event, once."""

    async def story() -> None:
        async with Lab([fragile]) as lab:
            (run,) = await lab.send("go", {"n": 5}, id="mine")
            await between(lab)
            await lab.advance("61m")
            await between(lab)
            assert (await run.info()).status == "failed"
            failure = await lab.engine.run(f"{run.id}/failure")
            await lab.advance("1h")
            await between(lab)
            function_id, run_id, name, data = await (await lab.engine.run(failure.id)).result()
            assert (function_id, run_id, name) == ("fragile-failure", failure.id, "durable/function.failed")
            assert (data["function_id"], data["run_id"]) == ("fragile", run.id)
            assert (data["event"]["name"], data["event"]["id"], data["event"]["data"]) == ("go", "mine", {"n": 5})
            assert (data["error"]["name"], data["error"]["message"]) == ("ValueError", "no 5")
            assert len(await opened(lab, "fragile-failure")) == 1

    asyncio.run(story())


@pytest.mark.parametrize("is_heard", [False, True])
def test_a_cancelled_or_finished_run_calls_no_failure_handler(between: Between, is_heard: bool) -> None:
    """R15: a cancelled run does not; nor does one that returns, whether or not anybody hears of its end."""

    @durable.function("durable/*")
    async def hears(ctx: Context) -> None:
        pass

    @durable.function(on_failure=tell)
    async def fine(ctx: Context) -> None:
        pass

    async def story() -> None:
        async with Lab([fragile, fine, *[hears] * is_heard]) as lab:
            await lab.start(fine)
            by_event, by_hand = [*await lab.send("go", {"n": 1}), await lab.start(fragile, {"n": 2})]
            await between(lab)
            assert await by_hand.cancel()
            await lab.send("stop")
            await between(lab)
            assert [(await run.info()).status for run in (by_event, by_hand)] == ["cancelled", "cancelled"]
            assert await opened(lab, "fragile-failure") == await opened(lab, "fine-failure") == []

    asyncio.run(story())


def test_a_run_that_fails_again_after_a_retry_calls_its_failure_handler_again() -> None:
    """R15, R32: each failure is one of its own; the first handler's run stays as it was."""

    async def story() -> None:
        async with Lab([fragile]) as lab:
            (run,) = await lab.send("go", {"n": 5})
            await lab.advance("61m")
            await lab.engine.retry(run.id)
            await lab.advance("3h")
            failures = await opened(lab, "fragile-failure")
            assert [info.status for info in failures] == ["completed", "completed"]
            assert f"{run.id}/failure" in [info.id for info in failures]

    asyncio.run(story())


# Lifecycle events (R16).


@durable.function("work")
async def worker(ctx: Context) -> str:
    await ctx.step.sleep("pause", "1h")
    if ctx.event.data.get("fails"):
        raise durable.NonRetriableError("broken")
    return "well"


@durable.function("durable/*", on_failure=tell)
async def watcher(ctx: Context) -> dict[str, Any]:
    if ctx.event.data.get("event", {}).get("data", {}).get("poison"):
        raise durable.NonRetriableError("the watcher itself")
    return {"name": ctx.event.name, **ctx.event.data}


def test_lifecycle_events_open_runs_with_what_happened(between: Between) -> None:
    """R16: finished, failed and cancelled, each with function_id, run_id, event, and error or result."""

    async def story() -> None:
        async with Lab([worker, watcher]) as lab:
            runs = [*await lab.send("work"), *await lab.send("work", {"fails": True}), *await lab.send("work")]
            await between(lab)
            await runs[2].cancel()
            await between(lab)
            await lab.advance("1h")
            await between(lab)
            told = [info.output for info in await opened(lab, "watcher")]
            assert all(one["function_id"] == "worker" and one["event"]["name"] == "work" for one in told)
            by_run = {run.id: sorted(one["name"] for one in told if one["run_id"] == run.id) for run in runs}
            finished = "durable/function.finished"
            expected = [[finished], ["durable/function.failed", finished], ["durable/function.cancelled", finished]]
            assert [by_run[run.id] for run in runs] == expected
            one = {(told_one["run_id"], told_one["name"]): told_one for told_one in told}
            assert one[runs[0].id, finished]["result"] == "well"
            assert one[runs[1].id, finished]["error"]["message"] == "broken"
            assert one[runs[1].id, "durable/function.failed"]["error"]["name"] == "NonRetriableError"
            assert one[runs[2].id, "durable/function.cancelled"]["reason"] == "by hand"
            assert not {"result", "error"} & set(one[runs[2].id, finished])

    asyncio.run(story())


def test_runs_of_lifecycle_events_and_of_failure_handlers_emit_none(between: Between) -> None:
    """R16: so nothing goes round for ever; R15: but a failing one has its failure handler called."""

    @durable.function(retries=0, on_failure=tell)
    async def poison(ctx: Context) -> None:
        raise ValueError("no")

    async def story() -> None:
        async with Lab([watcher, poison]) as lab:
            run = await lab.start(poison, {"poison": True})
            await between(lab)
            await lab.advance("1h")
            await between(lab)
            functions = Counter(info.function_id for info in await lab.engine.runs())
            assert functions == {"poison": 1, "poison-failure": 1, "watcher": 2, "watcher-failure": 2}
            assert {info.event.data["run_id"] for info in await opened(lab, "watcher")} == {run.id}

    asyncio.run(story())


@attrs.frozen
class Receipt:
    number: int
    sizes: dict[str, tuple[int, ...]]


def test_what_a_run_ended_with_is_told_in_plain_values_whatever_its_classes(between: Between) -> None:
    """R16: nobody who hears of it has the annotation; that must not be the end of the run which returned it."""

    @durable.function("work")
    async def typed(ctx: Context) -> Receipt:
        return Receipt(7, {"a": (1, 2)})

    async def story() -> None:
        async with Lab([typed, watcher]) as lab:
            [run] = await lab.send("work")
            await between(lab)
            assert await run.result() == Receipt(7, {"a": (1, 2)})
            [told] = [info.output for info in await opened(lab, "watcher")]
            assert told["result"] == {"number": 7, "sizes": {"a": (1, 2)}}

    asyncio.run(story())


def test_what_a_run_failed_with_is_told_with_its_causes(between: Between) -> None:
    """R16, R14: {name, message, stack, causes}, each cause likewise."""

    @durable.function("work", retries=0)
    async def chained(ctx: Context) -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise ValueError("then")  # noqa: B904
        except ValueError as error:
            raise RuntimeError("last") from error

    async def story() -> None:
        async with Lab([chained, watcher]) as lab:
            await lab.send("work")
            await between(lab)
            errors = [info.output["error"] for info in await opened(lab, "watcher")]
            assert len(errors) == 2
            for error in errors:
                assert (error["name"], error["message"]) == ("RuntimeError", "last") and "chained" in error["stack"]
                causes = [(cause["name"], cause["message"]) for cause in error["causes"]]
                assert causes == [("ValueError", "then"), ("KeyError", "'first'")]
                assert all("chained" in cause["stack"] for cause in error["causes"])

    asyncio.run(story())


def test_a_pattern_matches_the_runtimes_names_only_with_their_prefix() -> None:
    """R16: sending a name under durable/ is a ValueError."""

    @durable.function(["d/*", "function/*", "function.*"])
    async def other(ctx: Context) -> None:
        pass

    async def story() -> None:
        async with Lab([worker, other]) as lab:
            await lab.send("work")
            await lab.advance("1h")
            assert await opened(lab, "other") == []
            with pytest.raises(ValueError, match="the runtime's own"):
                await lab.send("durable/function.finished", {})

    asyncio.run(story())


def test_a_wait_can_hear_a_lifecycle_event(between: Between) -> None:
    """R16, R18: they are events like any other for who waits, once durable."""

    @durable.function()
    async def f(ctx: Context) -> Any:
        exp = "async.data.function_id == 'worker'"
        event = await ctx.step.wait_for_event("w", event="durable/function.finished", timeout="1d", if_exp=exp)
        return event and event.data["result"]

    async def story() -> None:
        async with Lab([worker, f]) as lab:
            run = await lab.start(f)
            await lab.send("work")
            await between(lab)
            await lab.advance("1h")
            await between(lab)
            assert await run.result() == "well"

    asyncio.run(story())


# Cancelling (R27).


@durable.function("job", cancel=[Cancel("stop", match="data.id", if_exp="async.data.force == true"), Cancel("halt")])
async def job(ctx: Context) -> Any:
    """Wait in every way there is, beside a handler that does not end."""
    waits = [
        ctx.step.wait_for_event("event", event="answer", timeout="1d"),
        ctx.step.wait_for_signal("signal", signal="answer", timeout="1d"),
        ctx.step.sleep("sleep", "1d"),
    ]
    return await asyncio.gather(*waits)


@pytest.mark.parametrize("how", ["by match and if_exp", "by event alone", "by hand"])
def test_a_cancelled_run_says_why_frees_its_waits_and_never_runs_again(how: str, between: Between) -> None:
    """R27: by event and by hand; recorded with its reason; it takes no event and no signal afterwards."""

    async def story() -> None:
        async with Lab([job]) as lab:
            (run,) = await lab.send("job", {"id": 7})
            await between(lab)
            for data in ({"id": 8, "force": True}, {"id": 7}, {"id": 7, "force": 1}, {"force": True}):
                await lab.send("stop", data)
            assert (await run.info()).status == "waiting"
            if how == "by hand":
                assert [await run.cancel(), await run.cancel()] == [True, False]
            else:
                await lab.send(*(("halt",) if "alone" in how else ("stop", {"id": 7, "force": True})))
            await between(lab)
            info = await run.info()
            event = "halt" if "alone" in how else "stop"
            assert (info.status, info.waiting_for) == ("cancelled", {})
            assert info.reason == ("by hand" if how == "by hand" else f"by event '{event}'")
            assert await lab.signal("answer") is None
            await lab.send("answer")
            await lab.advance("2d")
            with pytest.raises(RunCancelled, match="by"):
                await run.result()
            assert (await run.info()) == info

    asyncio.run(story())


def test_cancelling_stops_a_running_handler_and_records_nothing_of_it() -> None:
    """R27, R8: the run's tasks are stopped; what the handler or a `finally:` does then is not recorded."""
    trace: list[str] = []
    started = asyncio.Event()

    async def hangs() -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            trace.append("handler stopped")

    @durable.function()
    async def f(ctx: Context) -> None:
        try:
            await ctx.step.run("hang", hangs)
        finally:
            trace.append("function stopped")
            await ctx.step.run("cleanup", lambda: trace.append("cleaned up"))

    async def story() -> None:
        async with durable.Engine([f]) as engine:
            run = await engine.start(f)
            await started.wait()
            assert await run.cancel()
            await engine.settled()
            assert sorted(trace) == ["function stopped", "handler stopped"]
            assert (await run.info()).steps == {}

    asyncio.run(story())


def test_a_newer_definition_without_a_cancellation_is_not_cancelled_by_it() -> None:
    """R27: functions are defined again by the same name, and the newer wins."""

    def define(*cancel: Cancel) -> durable.Function[str]:
        @durable.function("go", cancel=cancel)
        async def f(ctx: Context) -> str:
            await ctx.step.sleep("work", "1h")
            return "done"

        return f

    async def story() -> None:
        async with Lab([define(Cancel("old"), Cancel("both"))]) as lab:
            kept, lost = [*await lab.send("go"), *await lab.send("go")]
            await lab.engine.start(define(Cancel("both", if_exp="async.data.run == event.id")), id="other")
            await lab.send("old")
            await lab.send("both", {"run": (await lab.engine.info(lost.id)).event.id})
            await lab.advance("1h")
            assert [(await run.info()).status for run in (kept, lost)] == ["completed", "cancelled"]

    asyncio.run(story())


def test_a_run_that_fails_tells_its_caller_who_and_why() -> None:
    """R14, R24: `RunFailed` holds the error's class and its whole message."""

    async def story() -> None:
        async with Lab([fragile]) as lab:
            run = await lab.start(fragile, {"n": 5})
            with pytest.raises(RunFailed, match="ValueError: no 5"):
                await lab.result(run)

    asyncio.run(story())
