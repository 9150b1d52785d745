"""An engine used where it cannot be: before open, after close, elsewhere, inside its own handlers, with wrong ids."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, Event, RunFailed, StepError
from durable.testing import Lab
from tests.support.lives import note, records

CALLS: dict[str, Callable[[Engine], Awaitable[Any]]] = {
    "send": lambda engine: engine.send("e"),
    "send_signal": lambda engine: engine.send_signal("s"),
    "start": lambda engine: engine.start("f"),
    "invoke": lambda engine: engine.invoke("f"),
    "run": lambda engine: engine.run("r"),
    "runs": lambda engine: engine.runs(),
    "cancel": lambda engine: engine.cancel("r"),
    "retry": lambda engine: engine.retry("r"),
    "settled": lambda engine: engine.settled(),
}


@durable.function(id="f")
async def sleeping(ctx: Context) -> str:
    await ctx.step.sleep("night", "8h")
    return "slept"


def test_a_run_whose_function_is_not_there_and_which_has_no_step_yet_is_queued() -> None:
    """R25: it stays parked; with a step on record it would be waiting."""

    @durable.function
    async def beginning(ctx: Context) -> None:
        await ctx.step.run("never ends", asyncio.Event().wait)

    async def story() -> None:
        store = DictStore()
        async with Engine([beginning, sleeping], store=store) as engine:
            await engine.start(sleeping, id="asleep")
            await engine.settled()
            await engine.start(beginning, id="begun")
        async with Engine([], store=store) as engine:
            assert (await (await engine.run("begun")).info()).status == "queued"
            assert [info.id for info in await engine.runs(status="queued")] == ["begun"]
            assert [info.id for info in await engine.runs(status="waiting")] == ["asleep"]

    asyncio.run(story())


@pytest.mark.parametrize("name", CALLS)
def test_an_engine_that_is_not_open_says_what_to_write(name: str) -> None:
    """Before open and after close; the message names the call."""

    async def story() -> None:
        engine = Engine([sleeping])
        for _ in range(2):
            with pytest.raises(RuntimeError) as caught:
                await CALLS[name](engine)
            for part in ("the engine is not open", "`async with engine:`", "`await engine.open()`"):
                assert part in str(caught.value)
            async with engine:
                pass

    asyncio.run(story())


def test_a_handle_outlives_its_engine_but_answers_no_more() -> None:
    """A result that is waited for when the engine closes says that the run is parked."""

    async def story() -> None:
        engine = Engine([sleeping])
        async with engine:
            run = await engine.start(sleeping, id="r")
            waiting = asyncio.ensure_future(run.result())
            await engine.settled()
        with pytest.raises(RuntimeError, match="the engine was closed: run 'r' is parked"):
            await waiting
        with pytest.raises(RuntimeError, match="the engine is not open"):
            await run.info()

    asyncio.run(story())


def test_opening_twice_is_refused_and_closing_twice_does_nothing() -> None:
    async def story() -> None:
        engine = Engine([sleeping])
        await engine.close()
        await engine.open()
        with pytest.raises(RuntimeError, match="the engine is open already"):
            await engine.open()
        await engine.close()
        await engine.close()
        async with engine:  # and it can be opened again
            assert (await engine.start("f", id="r")).id == "r"

    asyncio.run(story())


def test_open_and_close_may_be_called_from_different_tasks() -> None:
    """As notebook cells and fixtures do."""

    async def story() -> None:
        engine = Engine([sleeping])
        await asyncio.create_task(engine.open())
        run = await asyncio.create_task(engine.start("f"))
        await asyncio.create_task(engine.close())
        assert run.id

    asyncio.run(story())


@pytest.mark.parametrize("name", CALLS)
def test_an_engine_is_refused_in_another_thread_and_another_loop(name: str) -> None:
    """The message says how to call it from there."""
    texts: list[str] = []

    def elsewhere(engine: Engine) -> None:
        with pytest.raises(RuntimeError) as caught:
            asyncio.run(CALLS[name](engine))  # type: ignore[arg-type]
        texts.append(str(caught.value))

    async def story() -> None:
        async with Engine([sleeping]) as engine:
            await asyncio.to_thread(elsewhere, engine)
            assert "asyncio.run_coroutine_threadsafe" in texts[0]

    asyncio.run(story())


def test_another_thread_reaches_the_engine_as_the_message_says() -> None:
    got: list[Any] = []

    async def story() -> None:
        async with Engine([sleeping]) as engine:
            loop = asyncio.get_running_loop()

            def elsewhere() -> None:
                got.append(asyncio.run_coroutine_threadsafe(engine.start("f", id="r"), loop).result().id)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            await asyncio.to_thread(thread.join)

    asyncio.run(story())
    assert got == ["r"]


@pytest.mark.parametrize("name", ["settled", "result", "invoke", "close"])
@pytest.mark.parametrize("engine_of", ["the same", "another"])
def test_waiting_for_the_engine_inside_its_own_handler_is_refused(name: str, engine_of: str) -> None:
    """It would wait for itself; the message names the step and what to write. Another engine may be waited for."""

    async def story() -> None:
        async with Engine([sleeping, done]) as other, Engine([calling, sleeping, done]) as engine:
            engines[:] = [engine if engine_of == "the same" else other]
            if engine_of == "another":
                assert await engine.invoke(calling) == "fine"
                return
            with pytest.raises(RunFailed) as caught:
                await engine.invoke(calling)
            text = str(caught.value)
            assert "RuntimeError" in text and f"{name} is awaited inside the handler of step 'outer'" in text, text
            assert "step.invoke" in text

    engines: list[Engine] = []

    @durable.function
    async def done(ctx: Context) -> str:
        return "done"

    async def handler() -> str:
        (engine,) = engines
        if name == "result":
            await (await engine.start(done)).result()
        elif name == "invoke":
            await engine.invoke(done)
        elif name == "settled":
            await engine.settled()
        else:
            await engine.close()
        return "fine"

    @durable.function
    async def calling(ctx: Context) -> str:
        return await ctx.step.run(durable.StepOptions("outer", retries=0), handler)

    asyncio.run(story())


def test_a_handler_may_send_and_start_with_its_own_engine() -> None:
    """Only waiting is refused."""

    async def story() -> None:
        async def handler() -> str:
            await lab.engine.send("e", {"x": 1})
            return (await lab.engine.start(sleeping, id="other")).id

        @durable.function
        async def calling(ctx: Context) -> Any:
            return await ctx.step.run("outer", handler)

        async with Lab([calling, sleeping]) as lab:
            assert await lab.result(await lab.start(calling)) == "other"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda engine: engine.start("f", id="a/b"), ValueError, "must not be empty or hold '/'"),
        (lambda engine: engine.start("f", id=""), ValueError, "must not be empty or hold '/'"),
        (lambda engine: engine.start("f", id=7), TypeError, "the id of a run must be a string, not 7 (int)"),
        (lambda engine: engine.start("f", [1]), TypeError, "must be a mapping, not [1]"),
        (lambda engine: engine.start("nobody"), LookupError, "no function 'nobody' in this engine: pass it in"),
        (lambda engine: engine.start(note), TypeError, "decorate it with @durable.function"),
        (lambda engine: engine.invoke(None), TypeError, "decorate it with @durable.function"),
        (lambda engine: engine.run("nobody"), KeyError, "there is no run 'nobody'"),
        (lambda engine: engine.cancel("nobody"), KeyError, "there is no run 'nobody'"),
        (lambda engine: engine.runs(status="done"), ValueError, "status must be one of queued, running"),
        (lambda engine: engine.runs(limit=-1), ValueError, "the limit of runs to find must be zero or more, not -1"),
        (lambda engine: engine.send(""), ValueError, "an event's name must not be empty"),
        (lambda engine: engine.send("durable/x"), ValueError, "names under 'durable/' are the runtime's own"),
        (lambda engine: engine.send("shop/*"), ValueError, "a * is for patterns in triggers"),
        (lambda engine: engine.send(Event("e"), {"x": 1}), TypeError, "put data, id and ts into the Event"),
        (lambda engine: engine.send([Event("e"), "e"]), TypeError, "must hold Events, not 'e'"),
        (lambda engine: engine.send(7), TypeError, "not 7"),
        (lambda engine: engine.send("e", {1: 2}), TypeError, "must have string keys, not 1"),
        (lambda engine: engine.send("e", ts=datetime(2030, 1, 1)), ValueError, "must say its time zone"),
        (lambda engine: engine.send("e", id=""), ValueError, "the id of event 'e' must not be empty"),
        (lambda engine: engine.send_signal(""), ValueError, "must not be empty"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_recorded(
    ask: Callable[[Engine], Awaitable[Any]], error: type[Exception], words: str
) -> None:
    async def story() -> None:
        store = DictStore()
        async with Engine([sleeping], store=store) as engine:
            with pytest.raises(error) as caught:
                await ask(engine)
            assert words in str(caught.value), str(caught.value)
            assert records(store.mapping) == []

    asyncio.run(story())


def test_one_bad_event_among_several_sends_none() -> None:
    async def story() -> None:
        async with Lab([durable.function("good", id="g")(sleeping.code)]) as lab:
            with pytest.raises(ValueError, match="durable/bad"):
                await lab.engine.send([Event("good"), Event("durable/bad")])
            assert await lab.engine.runs() == []

    asyncio.run(story())


def test_an_invoke_of_an_unknown_function_is_a_step_error_that_says_where_it_belongs() -> None:
    @durable.function
    async def calling(ctx: Context) -> str:
        try:
            await ctx.step.invoke("i", function="nobody")
        except StepError as error:
            return str(error)
        return ""

    async def story() -> None:
        async with Lab([calling]) as lab:
            text = await lab.result(await lab.start(calling))
            assert "step 'i'" in text and "no function 'nobody' in this engine: pass it in Engine(functions=" in text

    asyncio.run(story())


def test_one_id_started_twice_at_once_opens_one_run_even_if_it_ends_while_the_store_is_read(tmp_path: Path) -> None:
    called: list[int] = []

    @durable.function
    async def once(ctx: durable.Context) -> int:
        return await ctx.step.run("count", lambda: called.append(1) or len(called))

    async def story() -> None:
        async with durable.Engine([once], store=tmp_path / "s.db") as engine:
            runs = await asyncio.gather(*(engine.start(once, id="r") for _ in range(20)))
            assert {run.id for run in runs} == {"r"}
            assert await asyncio.gather(*(run.result() for run in runs)) == [1] * 20

    asyncio.run(story())
    assert called == [1]


def test_a_run_that_sleeps_is_shown_as_waiting_whoever_looks() -> None:
    """Also in an engine that nobody settles, where nothing else happens."""

    async def story() -> None:
        async with Engine([sleeping]) as engine:
            run = await engine.start(sleeping)
            for _ in range(20):
                await asyncio.sleep(0)
            assert (await run.info()).status == "waiting"
            assert [info.id for info in await engine.runs(status="waiting")] == [run.id]

    asyncio.run(story())
