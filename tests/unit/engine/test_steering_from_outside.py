"""What steers runs from outside: the sender says what is known at once, the engine does it in order and once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import durable
from durable import Context, Engine, Sender
from durable.testing import VirtualClock
from tests.proof.crashes.senders import made, opened, waiting
from tests.support.steered import forget, have, job, states

LATER = datetime.now(UTC) + timedelta(days=9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


@pytest.fixture(autouse=True)
def _afresh() -> None:
    forget()


# What is asked for is done.


def test_a_run_is_started_with_an_id_that_is_known_at_once(path: Path) -> None:
    async def story() -> None:
        sender = Sender(path)
        fresh = await sender.start(job, {"n": 1})
        assert await sender.start("job", {"n": 2}, id="mine") == "mine"
        assert await states(path) == {fresh: 1, "mine": 2}
        async with opened(path, job) as engine:
            event = (await engine.info("mine")).event
            assert (event.name, event.data) == ("durable/function.invoked", {"n": 2})

    asyncio.run(story())


def test_a_given_id_starts_once_whether_the_first_is_recorded_or_on_its_way(path: Path) -> None:
    async def story() -> None:
        async with Sender(path) as sender:
            for _ in range(2):
                await sender.start(job, {"n": 1}, id="mine")
            assert await states(path) == {"mine": 1}
            await sender.start(job, {"n": 1}, id="mine")
            assert waiting(path) == []  # nothing was sent: the store shows the run

    asyncio.run(story())


def test_a_run_of_a_function_that_the_engine_lacks_is_parked_until_it_has_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R25: who starts it from outside cannot know the functions; it is seen, and can be cancelled."""

    async def story() -> None:
        await Sender(path).start("later", {"n": 1}, id="mine")
        assert await states(path) == {"mine": "queued"}
        assert "run 'mine' stays parked: its function 'later' is not registered" in caplog.text

        @durable.function
        async def later(ctx: Context) -> str:
            return "now"

        assert await states(path, later) == {"mine": "now"}

    asyncio.run(story())


def test_a_cancelled_run_does_not_run_again_when_its_store_is_opened(path: Path) -> None:
    calls: list[int] = []

    @durable.function
    async def counts(ctx: Context) -> None:
        calls.append(1)
        await ctx.step.sleep("s", "0s" if len(calls) > 1 else "1h")

    async def story() -> None:
        async with Engine([counts], store=path) as engine:
            await engine.start(counts, id="one")
            await engine.settled()
        assert await Sender(path).cancel("one", "enough")
        assert await states(path, counts) == {"one": "enough"}
        assert len(calls) == 1

    asyncio.run(story())


def test_a_failed_run_is_opened_again(path: Path) -> None:
    async def story() -> None:
        await have(path, one={"fails": "one", "n": 1})
        await Sender(path).retry("one")
        assert await states(path) == {"one": 1}

    asyncio.run(story())


def test_an_event_that_is_still_to_come_is_taken_back_wherever_it_stands(path: Path) -> None:
    """In the store, or in the inbox before it; its own id is free again."""

    async def story() -> None:
        async with Sender(path) as sender:
            [first] = await sender.send("job/asked", {"n": 1}, id="mine", ts=LATER)
            assert await states(path) == {}
            assert await sender.unsend(first)
            [second] = await sender.send("job/asked", {"n": 2}, id="mine", ts=LATER)
            assert await sender.unsend(second)
            await sender.send("job/asked", {"n": 3}, id="mine")
            assert list((await states(path)).values()) == [3]
            assert not await sender.unsend(first) and not await sender.unsend("nobody's")
        assert waiting(path) == []
        async with opened(path, job, clock=VirtualClock(LATER)) as engine:
            assert len(await engine.runs()) == 1

    asyncio.run(story())


def test_an_event_that_a_function_holds_is_taken_back_and_its_id_is_free(path: Path) -> None:
    """Also after its store was shut; what else it has led to stays."""

    @durable.function("job/asked", batch_events=durable.Batch(3, "1d"))
    async def packs(ctx: Context) -> list[Any]:
        return [event.data["n"] for event in ctx.events]

    async def story() -> None:
        async with Sender(path) as sender:
            ids = [(await sender.send("job/asked", {"n": n}, id=f"e{n}"))[0] for n in (1, 2)]
            assert list((await states(path, job, packs)).values()) == [2, 1]
            assert await sender.unsend(ids[0])
            await sender.send([durable.Event("job/asked", {"n": n}, id=f"e{n}") for n in (1, 2, 3)])  # 2 is a repeat
            found = await states(path, packs)
            assert [one for one in found.values() if isinstance(one, list)] == [[2, 1, 3]]
            assert not any([await sender.unsend(id) for id in ids])

    asyncio.run(story())


@attrs.frozen
class Box:
    size: int


@durable.function
async def packs(ctx: Context) -> Any:
    box = await ctx.step.run("box", _box)
    event = await ctx.step.wait_for_event("w", event="e", timeout="1h")
    signal = await ctx.step.wait_for_signal("s", signal="s", timeout="1h")
    return [ctx.event.data.get("n"), box.size, event and event.data, signal and signal.data]


def _box() -> Box:
    return Box(1)


def test_a_run_is_forked_with_values_of_all_kinds(path: Path) -> None:
    async def story() -> None:
        async with Engine([packs], store=path, clock=VirtualClock(LATER)) as engine:
            await engine.start(packs, {"n": 1}, id="one")
            await engine.settled()
            await engine.send("e", {"x": 1})
            await engine.settled()
            await engine.send_signal("s", 1)
            await engine.settled()
        steps = {"box": Box(2), "w": durable.Event("e", {"x": LATER}), "s": durable.Signal("s", (1, 2))}
        async with Sender(path) as sender:
            fresh = await sender.fork("one", steps=steps)
            for _ in range(2):
                assert await sender.fork("one", before="s", data={"n": 2}, steps={"w": None}, id="mine") == "mine"
            found = await states(path, packs)
            assert found == {"one": [1, 1, {"x": 1}, 1], fresh: [1, 2, {"x": LATER}, (1, 2)], "mine": "waiting"}
            assert await sender.fork("one", before="s", data={"n": 2}, steps={"w": None}, id="mine") == "mine"
            await sender.send_signal("s", 7)
            assert (await states(path, packs))["mine"] == [2, 1, None, 7]
        async with opened(path, packs) as engine:
            assert (await engine.info("mine")).forked_from == "one"

    asyncio.run(story())


def test_what_no_fork_can_be_is_refused_at_the_call(path: Path) -> None:
    async def story() -> None:
        await have(path, one={"fails": "x"}, two={"n": 1})
        async with Sender(path) as sender:
            for options, error, said in (
                ({"run_id": "nobody"}, KeyError, "there is no run 'nobody'"),
                ({"before": "ship"}, KeyError, "has no record of step 'ship': there are 'fail'"),
                ({"steps": {"ship": 1}}, KeyError, "has no outcome of step 'ship' to replace: there are 'fail'"),
                ({"steps": {"fail": object()}}, durable.CodecError, "object"),
                ({"steps": ["fail"]}, TypeError, "steps must map step keys to values"),
                ({"data": [1]}, TypeError, "must be a mapping"),
                ({"id": "two"}, ValueError, "run 'two' exists and is not this fork"),
                ({"id": "a/b"}, ValueError, "must not be empty or hold '/'"),
            ):
                with pytest.raises(error, match=said):
                    await sender.fork(**{"run_id": "one", **options})  # type: ignore[arg-type]
        assert waiting(path) == []

    asyncio.run(story())


def test_a_fork_of_a_run_that_is_on_its_way_is_judged_by_the_engine(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with Sender(path) as sender:
            await sender.start(job, {"n": 1}, id="one")
            await sender.fork("one", id="two")
            await sender.fork("one", before="ship", id="three")
        assert await states(path) == {"one": 1, "two": 1}
        assert "(fork) does nothing: run 'one' has no record of step 'ship': there is none yet" in caplog.text

    asyncio.run(story())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"steps": {"s": "x" * 600}}, "the value of step 's' for fork is 602 bytes, the limit is 500"),
        ({"steps": {"s": durable.Event("e", {"n": "x" * 600})}}, "the data of event 'e' are 608 bytes"),
        ({"steps": {"s": durable.Signal("g", "x" * 600)}}, "the data of signal 'g' are 602 bytes"),
        ({"data": {"n": "x" * 600}}, "the data for a fork of run 'one' are 608 bytes"),
    ],
)
def test_what_no_engine_would_take_into_a_fork_is_refused_although_the_run_is_on_its_way(
    path: Path, asked: dict[str, Any], said: str
) -> None:
    """It would stay in the inbox for ever."""

    async def story() -> None:
        async with Sender(path, limits=durable.Limits(step_bytes=500, event_bytes=500)) as sender:
            await sender.start(job, {"n": 1}, id="one")
            with pytest.raises(durable.LimitError, match=said):
                await sender.fork("one", **asked)
            with pytest.raises(TypeError, match="the data for a fork of run 'one' must be a mapping"):
                await sender.fork("one", data=[1])  # type: ignore[arg-type]
        assert [message.kind for message in waiting(path)] == ["start"]

    asyncio.run(story())


def test_a_live_engine_does_it_at_once(path: Path) -> None:
    async def story() -> None:
        async with Engine([job], store=path) as engine, Sender(path) as sender:
            run = await engine.start(job, {"waits": True})
            assert await sender.cancel(run.id)
            with pytest.raises(durable.RunCancelled, match="by hand"):
                await run.result()
            failed = await engine.start(job, {"fails": "two", "n": 2})
            with pytest.raises(durable.RunFailed):
                await failed.result()
            await sender.retry(failed.id)
            while (await failed.info()).status == "failed":
                await asyncio.sleep(0)
            assert await failed.result() == 2

    asyncio.run(story())


def test_messages_act_in_the_order_in_which_they_were_sent(path: Path) -> None:
    """Also where one needs a run read from the store, and the one behind it does not."""

    async def story() -> None:
        await have(path, old={"fails": "old", "waits": False, "n": 1})
        async with Sender(path) as sender:
            await sender.start(job, {"waits": True, "n": 3}, id="new")
            await sender.cancel("new", "first")
            await sender.retry("new")
            await sender.cancel("new", "second")
            await sender.retry("old")
            [event] = await sender.send("job/asked", {"waits": True})
            await sender.cancel(f"{event}/job", "third")
            assert len(waiting(path)) == 7
        assert await states(path) == {"new": "second", "old": 1, f"{event}/job": "third"}

    asyncio.run(story())


# What is known at once.


def test_what_the_store_shows_to_be_impossible_is_refused_at_the_call(path: Path) -> None:
    async def story() -> None:
        await have(path, done={"n": 1}, waits={"waits": True}, failed={"fails": "x"})
        async with Sender(path) as sender:
            for call in (sender.cancel, sender.retry):
                for id in ("nobody", "durable/inbox/x", "\ud800"):
                    with pytest.raises(KeyError, match="there is no run"):
                        await call(id)
                with pytest.raises(TypeError, match="the id of a run must be a string"):
                    await call(7)  # type: ignore[arg-type]
            assert not await sender.cancel("done") and not await sender.cancel("failed")
            for id, why in (("done", "has completed"), ("waits", "has not ended")):
                with pytest.raises(ValueError, match=why):
                    await sender.retry(id)
            with pytest.raises(ValueError, match="started with other data"):
                await sender.start(job, {"n": 2}, id="done")
            with pytest.raises(ValueError, match="belongs to function 'job'"):
                await sender.start("other", {"n": 1}, id="done")
        assert waiting(path) == []

    asyncio.run(story())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: s.start(7), TypeError, "start takes a Function or a function's id, not 7"),
        (lambda s: s.start(""), ValueError, "the id of a function"),
        (lambda s: s.start("x" * 2_000), durable.LimitError, "the id of a function"),
        (lambda s: s.start(job, [1]), TypeError, "the data for function 'job'"),
        (lambda s: s.start(job, {"x": object()}), durable.CodecError, "x"),
        (lambda s: s.start(job, {"x": "x" * 600_000}), durable.LimitError, "the data for function 'job'"),
        (lambda s: s.start(job, id="a/b"), ValueError, "must not be empty or hold '/'"),
        (lambda s: s.start(job, id="a~2"), ValueError, "must not end in '~' and digits"),
        (lambda s: s.cancel("a", 7), TypeError, "the reason of a cancel"),
        (lambda s: s.unsend(["a"]), TypeError, "give one of the ids that send returned"),
        (lambda s: s.cancel("a", "x" * 20_000), durable.LimitError, "the reason of a cancel"),
    ],
)
def test_bad_input_is_refused_at_the_call(
    path: Path, call: Callable[[Sender], Awaitable[object]], error: type[Exception], words: str
) -> None:
    async def story() -> None:
        with pytest.raises(error, match=words):
            await call(Sender(path))

    asyncio.run(story())
    assert not Path(f"{path}.inbox").exists()


def test_a_function_is_told_to_use_a_step(path: Path) -> None:
    @durable.function(retries=0)
    async def sends(ctx: Context) -> list[str]:
        sender, said = Sender(path), []
        for call in (sender.start("f"), sender.cancel("r"), sender.retry("r"), sender.unsend("e"), sender.fork("r")):
            try:
                await call
            except RuntimeError as error:
                said.append(str(error))
        return said

    async def story() -> list[str]:
        async with Engine([sends]) as engine:
            return await engine.invoke(sends)

    for name, said in zip(("start", "cancel", "retry", "unsend", "fork"), asyncio.run(story()), strict=True):
        assert name in said and "ctx.step.run with a handler that calls it" in said
