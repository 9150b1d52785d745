"""Rules R11a, R12 and R14: how long tries may take, which errors are tried again, what a try is while it runs."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

import durable
from durable import (
    Backoff,
    Context,
    DictStore,
    Engine,
    NonRetriableError,
    RetryAfterError,
    RunFailed,
    StepError,
    StepOptions,
    current_step,
)
from durable.journal.codec.write import write
from durable.journal.rules.retries import Policy, wait_of
from durable.scheduler.threads import HandlerThreads
from durable.testing import Lab
from durable.testing.lab import START
from tests.support.lives import note, records, rounds

EACH_TEN = Backoff("10s", 1.0, jitter=0)


# A try's time counts from its handler's beginning (R11a).


class Gate:
    """A blocking handler that says when it begins, and ends when it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self) -> str:
        self.begun.release()
        assert self.opened.wait(30)
        return "through"


def test_the_time_of_a_try_does_not_count_its_wait_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """R11a: one thread, two handlers: the second does not time out before it is called."""
    monkeypatch.setattr("durable.scheduler.parts.HandlerThreads", lambda threads: HandlerThreads(1))
    first, called = Gate(), []

    def second() -> str:
        called.append(current_step().attempt)
        return "second"

    @durable.function
    async def waiting(ctx: Context) -> Any:
        return await asyncio.gather(
            ctx.step.run("first", first), ctx.step.run(StepOptions("second", timeout="1m"), second)
        )

    async def story() -> None:
        async with Lab([waiting], threads=True) as lab:
            await lab.engine.start(waiting, id="r")
            await asyncio.to_thread(first.begun.acquire)
            await rounds()
            lab.clock.advance("1h")
            await rounds()
            assert "second" not in (await lab.engine.info("r")).steps or called == []
            first.opened.set()
            assert await lab.engine.result("r", 10) == ["through", "second"] and called == [0]
            assert (await lab.engine.info("r")).steps["second"].attempts == 1

    asyncio.run(story())


def test_the_time_of_a_try_does_not_count_its_wait_for_the_last_trys_end() -> None:
    """R11a: the next try of a handler that cannot be stopped has its whole time from when it begins."""
    gates = [Gate(), Gate()]
    cancelled: list[bool] = []

    def blocking() -> str:
        step = current_step()
        value = gates[step.attempt]()
        cancelled.append(step.cancelled)
        return f"{value} {step.attempt}"

    @durable.function
    async def waiting(ctx: Context) -> str:
        return await ctx.step.run(StepOptions("s", timeout="1m", backoff=EACH_TEN), blocking)

    async def story() -> None:
        async with Lab([waiting], threads=True) as lab:
            await lab.engine.start(waiting, id="r")
            await asyncio.to_thread(gates[0].begun.acquire)
            lab.clock.advance("1m")
            await rounds()
            lab.clock.advance("10s")  # the second try is due, and waits for the first one's thread
            await rounds()
            lab.clock.advance("9h")
            await rounds()
            assert (await lab.engine.info("r")).steps["s"].attempts == 1
            gates[0].opened.set()
            await asyncio.to_thread(gates[1].begun.acquire)
            lab.clock.advance("59s")
            await rounds()
            gates[1].opened.set()
            assert await lab.engine.result("r") == "through 1"
            assert cancelled == [True, False]

    asyncio.run(story())


@pytest.mark.parametrize("how", ["timeout", "cancel", "race"])
def test_a_blocking_handler_can_see_that_nobody_awaits_it_any_more(how: str) -> None:
    """R11a: `current_step().cancelled`, which is false as long as its value would be recorded."""
    begun, looked, seen = threading.Semaphore(0), threading.Event(), []

    def polite() -> None:
        step = current_step()
        seen.append(step.cancelled)
        begun.release()
        while not current_step().cancelled:
            if looked.wait(0.001):
                break
        seen.append(step.cancelled)
        begun.release()

    @durable.function
    async def waiting(ctx: Context) -> Any:
        options = StepOptions("s", timeout="1m" if how == "timeout" else None, retries=0)
        if how != "race":
            return await ctx.step.run(options, polite)
        task = asyncio.ensure_future(ctx.step.run(options, polite))
        await ctx.step.sleep("a while", "1m")
        task.cancel()
        return await ctx.step.wait_for_event("long", event="e", timeout="1d")

    async def story() -> None:
        async with Lab([waiting], threads=True) as lab:
            run = await lab.engine.start(waiting, id="r")
            await asyncio.to_thread(begun.acquire)
            if how == "cancel":
                await run.cancel()
            lab.clock.advance("1m")
            await rounds()
            assert await asyncio.to_thread(begun.acquire, True, 10)
        assert seen == [False, True]

    try:
        asyncio.run(story())
    finally:
        looked.set()


# All tries together (R11a).


async def tried(handler: Callable[[], Any], options: StepOptions, *, crashing: bool = False) -> tuple[Any, int]:
    """Run one step to its end; return its StepError or its value, and the seconds that it took."""

    @durable.function(retries=0)
    async def trying(ctx: Context) -> Any:
        return await ctx.step.run(options, handler)

    async with Lab([trying]) as lab:
        await lab.engine.start(trying, id="r")
        await rounds()
        while (await lab.engine.info("r")).ended_at is None:
            if crashing:
                await lab._restart()
                await rounds()
            due = lab.clock.next_due()
            assert due is not None, await lab.engine.info("r")
            lab.clock.advance_to(due)
            await rounds()
        info = await lab.engine.info("r")
        assert info.ended_at is not None
        seconds = round((info.ended_at - START).total_seconds())
        return info.output if info.status == "completed" else info.steps["s"].error, seconds


class Fails:
    """Fails in its first tries, then hangs or returns."""

    def __init__(self, times: int, *, hangs: bool = False) -> None:
        self.times = times
        self.hangs = hangs
        self.tries: list[int] = []

    async def __call__(self) -> str:
        self.tries.append(current_step().attempt)
        if current_step().attempt < self.times:
            raise ConnectionError(f"refused {current_step().attempt}")
        if self.hangs:
            await asyncio.Event().wait()
        return "done"


@pytest.mark.parametrize("crashing", [False, True])
def test_within_bounds_all_tries_and_the_last_error_is_the_steps(crashing: bool) -> None:
    """R11a: from the first one's beginning; a try that would begin past it is not waited for."""
    fails = Fails(99)
    options = StepOptions("s", within="35s", retries=99, backoff=EACH_TEN)
    error, seconds = asyncio.run(tried(fails, options, crashing=crashing))
    assert (error.name, error.message) == ("ConnectionError", "refused 3")
    assert fails.tries == [0, 1, 2, 3] and seconds == 30


@pytest.mark.parametrize("crashing", [False, True])
def test_within_leaves_alone_what_ends_in_time(crashing: bool) -> None:
    """R11a."""
    options = StepOptions("s", within="35s", retries=99, backoff=EACH_TEN)
    assert asyncio.run(tried(Fails(2), options, crashing=crashing)) == ("done", 20)


def test_a_try_that_runs_when_the_time_is_over_is_stopped() -> None:
    """R11a: with TimeoutError, the error of the try before as its cause; whichever bound comes first."""
    options = StepOptions("s", within="35s", retries=99, backoff=EACH_TEN)
    error, seconds = asyncio.run(tried(Fails(2, hangs=True), options))
    assert (error.name, seconds) == ("TimeoutError", 35) and "35 s, in 3 tries" in error.message
    assert [cause.message for cause in error.causes] == ["refused 1"]
    assert "in __call__" in error.stack  # where it was
    error, seconds = asyncio.run(tried(Fails(0, hangs=True), options))
    assert (error.name, error.causes, seconds) == ("TimeoutError", (), 35)
    both = StepOptions("s", timeout="20s", within="35s", retries=99, backoff=EACH_TEN)
    error, seconds = asyncio.run(tried(Fails(0, hangs=True), both))
    assert seconds == 35 and "took longer than 35 s" in error.message and "try 1" in error.causes[0].message


def test_within_counts_the_time_that_the_process_was_down() -> None:
    """R11a: the step whose time has passed meanwhile fails with its last error, and is not tried again."""
    fails = Fails(99)

    @durable.function(retries=0)
    async def trying(ctx: Context) -> Any:
        return await ctx.step.run(StepOptions("s", within="1h", retries=99, backoff=EACH_TEN), fails)

    async def story() -> None:
        store = DictStore()
        async with Lab([trying], store=store) as lab:
            await lab.start(trying, id="r")
            await lab.advance("10s")
        async with Lab([trying], store=DictStore(store.mapping), start=START + timedelta(hours=2)) as lab:
            info = await lab.engine.info("r")
            assert info.steps["s"].error is not None and info.steps["s"].error.message == "refused 1"
            assert info.steps["s"].attempts == 2 and fails.tries == [0, 1]

    asyncio.run(story())


def test_within_counts_anew_when_the_step_opens_anew() -> None:
    """R11a, R32: a retried run has its time again."""
    fails = Fails(99)

    @durable.function(retries=0)
    async def trying(ctx: Context) -> Any:
        return await ctx.step.run(StepOptions("s", within="15s", retries=99, backoff=EACH_TEN), fails)

    async def story() -> None:
        async with Lab([trying]) as lab:
            await lab.start(trying, id="r")
            await lab.advance("1d")
            assert fails.tries == [0, 1]
            await lab.engine.retry("r")
            await lab.advance("1d")
            assert fails.tries == [0, 1, 0, 1]

    asyncio.run(story())


def test_the_time_of_all_tries_does_not_begin_before_the_first_and_goes_on_while_one_waits() -> None:
    """R11a: not while the first waits for a thread; a later one that waits for a thread is not called any more."""
    gates = [Gate(), Gate()]

    def blocking() -> str:
        return gates[current_step().attempt]()

    @durable.function(retries=0)
    async def waiting(ctx: Context) -> str:
        options = StepOptions("s", timeout="1m", within="5m", retries=9, backoff=EACH_TEN)
        return await ctx.step.run(options, blocking)

    async def story() -> None:
        async with Lab([waiting], threads=True) as lab:
            await lab.engine.start(waiting, id="r")
            await asyncio.to_thread(gates[0].begun.acquire)
            lab.clock.advance("1m")
            await rounds()
            lab.clock.advance("10s")
            await rounds()
            lab.clock.advance("1h")
            await rounds()
            with pytest.raises(RunFailed, match="try 1 of step 's' of run 'r' took longer than 60 s"):
                await lab.engine.result("r")
            info = await lab.engine.info("r")
            assert info.steps["s"].attempts == 1 and not gates[1].begun.acquire(blocking=False)
            gates[0].opened.set()

    asyncio.run(story())


def test_a_failed_try_records_when_the_first_try_began() -> None:
    """The time of all tries together counts from then (R11a), and a step shows it (R34)."""

    async def story(**options: Any) -> list[str]:
        @durable.function(retries=0)
        async def trying(ctx: Context) -> Any:
            return await ctx.step.run(StepOptions("s", retries=1, **options), Fails(9))

        store = DictStore()
        async with Lab([trying], store=store) as lab:
            with pytest.raises(RunFailed):
                await lab.result(await lab.start(trying))
        return [write(record) for record in records(store.mapping) if type(record).__name__ == "StepRetried"]

    for options in ({}, {"within": "1h"}):
        assert all('"began":"2030-01-01T00:00:00' in text for text in asyncio.run(story(**options)))


# Handlers that swallow their cancelling (R11a).


class Stubborn:
    """A handler whose first try goes on, however often it is cancelled, until it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.said: list[Any] = []

    async def __call__(self) -> str:
        step = current_step()
        self.said.append(f"begin {step.attempt}")
        while step.attempt == 0 and not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                pass
        self.said.append(f"end {step.attempt}")
        return f"try {step.attempt}"

    def in_a_plain_function(self) -> Any:
        return self()


@pytest.fixture
def little_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable.scheduler.overtime.GRACE", 0.01)


async def until(lab: Lab, status: str) -> None:
    async with asyncio.timeout(30):
        while (await lab.engine.info("r")).steps["s"].status != status:
            await asyncio.sleep(0)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.usefixtures("little_grace")
@pytest.mark.parametrize("crashing", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("bound", ["timeout", "within"])
def test_a_try_that_swallows_its_cancelling_has_timed_out_all_the_same(
    bound: str, plain: bool, crashing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """R11a: its step fails, its run goes on, the log names it, and its late end records nothing."""
    options = StepOptions("s", **{bound: "1m"}, retries=0)
    stubborn = Stubborn()

    @durable.function
    async def waiting(ctx: Context) -> Any:
        try:
            return await ctx.step.run(options, stubborn.in_a_plain_function if plain else stubborn)
        except StepError as error:
            return error.name, error.message, await ctx.step.run("next", note, "went on")

    async def story() -> None:
        store = DictStore()
        async with Lab([waiting], store=store) as lab:
            await lab.engine.start(waiting, id="r")
            await rounds()
            lab.clock.advance("1m")
            name, message, went_on = await lab.engine.result("r", 30)
            assert (name, went_on) == ("TimeoutError", "went on") and "took longer than 60 s" in message
            assert stubborn.said == ["begin 0"] and (await lab.engine.info("r")).steps["s"].attempts == 1
            before = records(store.mapping)
            if crashing:
                await lab._restart()
            stubborn.let_go.set()
            await rounds()
            assert stubborn.said == ["begin 0", "end 0"] and records(store.mapping) == before
        left = "step 's' of run 'r' does not end although its time is over and it was cancelled; it is left behind"
        assert errors(caplog) == [left]

    asyncio.run(story())


@pytest.mark.usefixtures("little_grace")
@pytest.mark.parametrize("crashing", [False, True])
def test_the_next_try_waits_for_the_end_of_one_that_was_left_behind(crashing: bool) -> None:
    """R11a: a handler never runs twice at once; only a crash ends the old one before its end."""
    stubborn = Stubborn()

    @durable.function
    async def waiting(ctx: Context) -> str:
        return await ctx.step.run(StepOptions("s", timeout="1m", backoff=EACH_TEN), stubborn)

    async def story() -> None:
        store = DictStore()
        async with Lab([waiting], store=store) as lab:
            await lab.engine.start(waiting, id="r")
            await rounds()
            lab.clock.advance("1m")
            await until(lab, "retrying")
            if crashing:
                async with Lab([waiting], store=DictStore(dict(store.mapping)), start=lab.clock.now()) as later:
                    assert await later.result(await later.engine.run("r")) == "try 1"
                stubborn.said = ["begin 0"]
            lab.clock.advance("10s")
            await rounds()
            lab.clock.advance("9h")  # the wait is no part of the next try's time
            await rounds()
            assert stubborn.said == ["begin 0"]
            stubborn.let_go.set()
            assert await lab.engine.result("r", 30) == "try 1"
            assert stubborn.said == ["begin 0", "end 0", "begin 1", "end 1"]
            kept = [type(one).__name__ for one in records(store.mapping) if getattr(one, "key", None) == "s"]
            assert kept == ["StepRetried", "StepClosed"]

    asyncio.run(story())


@pytest.mark.usefixtures("little_grace")
def test_the_time_of_all_tries_is_over_while_one_waits_for_another_that_was_left_behind() -> None:
    """R11a: the late end begins no try, and records nothing."""
    stubborn = Stubborn()

    @durable.function(retries=0)
    async def waiting(ctx: Context) -> str:
        options = StepOptions("s", timeout="1m", within="5m", retries=9, backoff=EACH_TEN)
        return await ctx.step.run(options, stubborn)

    async def story() -> None:
        store = DictStore()
        async with Lab([waiting], store=store) as lab:
            await lab.engine.start(waiting, id="r")
            await rounds()
            lab.clock.advance("1m")
            await until(lab, "retrying")
            lab.clock.advance("10s")
            await rounds()
            lab.clock.advance("1h")
            with pytest.raises(RunFailed, match="try 1 of step 's' of run 'r' took longer than 60 s"):
                await lab.engine.result("r", 30)
            before = records(store.mapping)
            stubborn.let_go.set()
            await rounds()
            assert stubborn.said == ["begin 0", "end 0"] and records(store.mapping) == before

    asyncio.run(story())


@pytest.mark.parametrize("is_left", [False, True])
def test_a_try_that_swallows_its_cancelling_does_not_keep_an_engine_open(
    is_left: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R11a: closing begins before or after the try was left behind; nor does it keep `asyncio.run` from ending."""
    monkeypatch.setattr("durable.scheduler.overtime.GRACE", 0.01 if is_left else 0.2)
    stubborn, store = Stubborn(), DictStore()

    @durable.function
    async def waiting(ctx: Context) -> str:
        return await ctx.step.run(StepOptions("s", timeout="1m", backoff=EACH_TEN), stubborn)

    async def story() -> None:
        async with Lab([waiting], store=store) as lab:
            await lab.engine.start(waiting, id="r")
            await rounds()
            lab.clock.advance("1m")
            await until(lab, "retrying" if is_left else "running")
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 4  # not the 5 s for which a closing engine waits

    asyncio.run(story())
    assert [line for line in errors(caplog) if "left behind" in line] == errors(caplog) and len(errors(caplog)) == 1
    assert [one.error.name for one in records(store.mapping) if type(one).__name__ == "StepRetried"] == ["TimeoutError"]


@pytest.mark.usefixtures("little_grace")
def test_a_handler_that_was_left_behind_is_still_inside_its_step() -> None:
    """R11a: its code can ask which step it is and whether anyone awaits it, and may not call steps."""
    stubborn, said = Stubborn(), []

    @durable.function
    async def waiting(ctx: Context) -> str:
        async def handler() -> None:
            await stubborn()
            said.append((current_step().key, current_step().cancelled))
            with pytest.raises(durable.NestedStepError):
                await ctx.step.run("inner", note)

        try:
            await ctx.step.run(StepOptions("s", timeout="1m", retries=0), handler)
        except StepError:
            await ctx.step.sleep("a while", "1h")
        return "ended"

    async def story() -> None:
        async with Lab([waiting]) as lab:
            await lab.engine.start(waiting, id="r")
            await rounds()
            lab.clock.advance("1m")
            await until(lab, "failed")
            stubborn.let_go.set()
            await rounds()
            assert said == [("s", True)]
            assert await lab.result(await lab.engine.run("r")) == "ended"
            assert "inner" not in (await lab.engine.info("r")).steps

    asyncio.run(story())


@pytest.mark.parametrize("ends", ["returns", "raises"])
def test_a_handler_that_ends_when_it_is_cancelled_is_not_left_behind(
    ends: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R11a: its try has timed out once, whatever it makes of its cancelling."""
    monkeypatch.setattr("durable.scheduler.overtime.GRACE", 0)

    async def tidy() -> str:
        try:
            if current_step().attempt == 0:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ends == "raises":
                raise ConnectionError("closed") from None
        return f"try {current_step().attempt}"

    options = StepOptions("s", timeout="20s", retries=2, backoff=EACH_TEN)
    assert asyncio.run(tried(tidy, options)) == ("try 1", 30)
    assert errors(caplog) == []


# Which errors are tried again (R12).


class Refused(ConnectionError):
    pass


class Claiming(type):
    def __subclasscheck__(cls, other: type) -> bool:
        raise RuntimeError("no answer")


class Unanswering(Exception, metaclass=Claiming):
    pass


def is_refused(error: BaseException) -> bool:
    return isinstance(error, Refused)


def asking_too_much(error: BaseException) -> bool:
    raise LookupError("which one?")


def leaving(error: BaseException) -> bool:
    sys.exit(3)


VALUE, REFUSED, GROUP = ValueError("v"), Refused("r"), ExceptionGroup("g", [KeyError("k"), Refused("r")])
# retry_on, give_up_on, the error, whether it is tried again
CHOICES: list[tuple[Any, Any, Exception, bool]] = [
    (None, None, VALUE, True),
    (ConnectionError, None, REFUSED, True),
    (ConnectionError, None, VALUE, False),
    ((OSError, KeyError), None, REFUSED, True),
    ([KeyError], None, REFUSED, False),
    ((), None, VALUE, False),
    (None, ConnectionError, REFUSED, False),
    (None, ConnectionError, VALUE, True),
    (None, [KeyError, ValueError], VALUE, False),
    (Exception, ConnectionError, REFUSED, False),
    (ConnectionError, Exception, REFUSED, False),
    (is_refused, None, REFUSED, True),
    (is_refused, None, VALUE, False),
    (None, is_refused, REFUSED, False),
    (None, is_refused, VALUE, True),
    (lambda error: 1, None, VALUE, True),
    (lambda error: [], None, VALUE, False),
    (ConnectionError, None, GROUP, True),
    (None, ConnectionError, GROUP, False),
    (ValueError, None, GROUP, False),
    (Exception, None, NonRetriableError("n"), False),
    (ConnectionError, None, RetryAfterError("a", 5), True),
    (None, RetryAfterError, RetryAfterError("a", 5), False),
]


@pytest.mark.parametrize("where", ["step", "function"])
@pytest.mark.parametrize(("retry_on", "give_up_on", "error", "again"), CHOICES)
def test_which_errors_are_tried_again(
    where: str, retry_on: Any, give_up_on: Any, error: Exception, again: bool
) -> None:
    """R12: giving up wins; classes alone or in a group; a RetryAfterError has said so itself."""
    options = {"retry_on": retry_on, "give_up_on": give_up_on}
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise error

    @durable.function(retries=1, **(options if where == "function" else {}))
    async def trying(ctx: Context) -> None:
        if where == "function":
            fail()
        await ctx.step.run(StepOptions("s", **options), fail)

    async def story() -> None:
        async with Lab([trying]) as lab:
            run = await lab.start(trying)
            await lab.crash()
            with pytest.raises(RunFailed):
                await lab.result(run)
            assert len(calls) == 1 + again

    asyncio.run(story())


def test_those_of_a_function_are_not_for_its_steps() -> None:
    """R12."""
    fails = Fails(1)

    @durable.function(retries=3, retry_on=KeyError, give_up_on=ConnectionError)
    async def trying(ctx: Context) -> Any:
        return [await ctx.step.run("a", fails), await ctx.step.run(StepOptions("b", timeout="1h"), fails)]

    async def story() -> None:
        async with Lab([trying]) as lab:
            assert await lab.result(await lab.start(trying)) == ["done", "done"]
            assert fails.tries == [0, 1, 0, 1]

    asyncio.run(story())


@pytest.mark.parametrize("where", ["step", "function"])
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (asking_too_much, "LookupError: which one?"),
        (leaving, "SystemExit: 3"),
        (lambda error: asyncio.sleep(0), "must be a plain callable"),
        (Unanswering, "RuntimeError: no answer"),
        (lambda: True, "TypeError"),
    ],
)
@pytest.mark.parametrize("which", ["retry_on", "give_up_on"])
@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited")
def test_a_choice_that_raises_gives_up_with_that_error_as_a_note(where: str, which: str, asked: Any, said: str) -> None:
    """R12: the error itself stays what it is."""
    options = {which: asked}

    def fail() -> None:
        raise ValueError("boom")

    @durable.function(retries=3, **(options if where == "function" else {}))
    async def trying(ctx: Context) -> None:
        if where == "function":
            fail()
        await ctx.step.run(StepOptions("s", **options), fail)

    async def story() -> None:
        async with Lab([trying]) as lab:
            run = await lab.start(trying)
            with pytest.raises(RunFailed) as caught:
                await run.result()
            error = caught.value.error
            assert (error.name, error.message) == ("ValueError", "boom")
            assert f"retry_on or give_up_on raised {said}" in error.stack or said in error.stack
            assert (await run.info()).attempt == 0

    asyncio.run(story())


@pytest.mark.parametrize("bad", [7, "ValueError", int, [int], [ValueError, "x"], ValueError("v"), note, {"a": 1}])
def test_what_is_no_choice_is_refused_at_the_call(bad: Any) -> None:
    for which in ("retry_on", "give_up_on"):
        with pytest.raises(TypeError, match=rf"{which} of step 's' must"):
            StepOptions("s", **{which: bad})
        with pytest.raises(TypeError, match=rf"{which} of function 'f' must"):
            durable.function(id="f", **{which: bad})(_nothing)


async def _nothing(ctx: Context) -> None: ...


def test_a_final_error_in_a_group_ends_a_steps_tries_too() -> None:
    """R12: a TaskGroup in a handler hides neither a NonRetriableError nor a RetryAfterError."""
    at: list[datetime] = []

    async def fail() -> None:
        at.append(labs[0].clock.now())
        error: Exception = RetryAfterError("busy", "1h") if len(at) == 1 else NonRetriableError("never")
        raise ExceptionGroup("g", [ValueError("v"), ExceptionGroup("g", [error])])

    @durable.function(retries=9)
    async def trying(ctx: Context) -> None:
        await ctx.step.run("s", fail)

    labs: list[Lab] = []

    async def story() -> None:
        async with Lab([trying]) as lab:
            labs.append(lab)
            with pytest.raises(RunFailed):
                await lab.result(await lab.start(trying))
            assert at == [START, START + timedelta(hours=1)]

    asyncio.run(story())


# Numbers at the edge.


@pytest.mark.parametrize(
    ("backoff", "attempt", "seconds"),
    [
        (Backoff(first=0), 1024, 0),
        (Backoff(first=0, jitter=1e300), 10_000, 0),
        (Backoff(max=0), 10_000, 0),
        (Backoff(first=1, factor=0), 1024, 0),
        (Backoff(first=1, factor=0.5, jitter=0), 5_000, 0),
        (Backoff(first=1, jitter=0), 1024, 3600),
        (Backoff(first=1, factor=1e308, jitter=0), 7, 3600),
        (Backoff(first=timedelta.max, max=timedelta.max), 0, timedelta.max.total_seconds()),
        (Backoff(first=1, max=timedelta.max, factor=1e300), 9, timedelta.max.total_seconds()),
        (Backoff(first=1, jitter=1e308), 0, timedelta.max.total_seconds()),
    ],
)
def test_an_overflow_on_the_way_is_no_large_result(backoff: Backoff, attempt: int, seconds: float) -> None:
    """Nothing stays nothing, and what is too long is the longest there is."""
    assert wait_of(backoff, attempt, "s").total_seconds() == pytest.approx(seconds)


@pytest.mark.parametrize("where", ["step", "function"])
def test_a_wait_that_is_longer_than_time_ends_the_engine_of_nobody(where: str) -> None:
    """The run waits; it is there, and can be cancelled."""

    @durable.function(backoff=Backoff(first=timedelta.max, max=timedelta.max, jitter=9.0))
    async def waiting(ctx: Context) -> None:
        if where == "function":
            raise ValueError("boom")
        await ctx.step.run("s", Fails(9))

    async def story() -> None:
        async with Lab([waiting]) as lab:
            run = await lab.start(waiting)
            await lab.crash()
            assert (await run.info()).status == "waiting"
            assert await run.cancel()

    asyncio.run(story())


# One guard.


@pytest.mark.parametrize("where", ["step", "function"])
@pytest.mark.parametrize("broken", [ValueError("odd"), SystemExit(7), GeneratorExit()], ids=repr)
def test_whatever_goes_wrong_while_an_outcome_is_judged_is_its_error_and_is_logged(
    where: str, broken: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing hangs in silence: the error is that of the step, or of the run, with the first one as its cause."""

    def breaking(*_: Any, **__: Any) -> Any:
        raise broken

    monkeypatch.setattr(Policy, "verdict", breaking)

    @durable.function
    async def failing(ctx: Context) -> Any:
        if where == "function":
            raise KeyError("the first")
        try:
            await ctx.step.run("s", Fails(9))
        except StepError as error:
            return error.name, [cause.name for cause in error.causes]

    async def story() -> None:
        async with Lab([failing]) as lab:
            run = await lab.start(failing, id="r")
            info = await run.info()
            if where == "step":
                assert info.output == (type(broken).__name__, ["ConnectionError"])
            else:
                assert info.error is not None and info.status == "failed"
                assert info.error.name == type(broken).__name__ and info.error.causes[0].name == "KeyError"

    asyncio.run(story())
    [line] = [
        one.getMessage() for one in caplog.records if one.levelno == logging.ERROR and "judged" in one.getMessage()
    ]
    assert "'r'" in line and type(broken).__name__ in line


@pytest.mark.parametrize(("named", "tries"), [("Trying", 2), ("encode", 1)])
def test_what_goes_wrong_beside_a_handler_is_its_steps_error(
    named: str, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is called it is a try that failed, nor does it reach those who are served beside it; where its value is
    written it is final, whatever it is (R13a)."""
    for module in ("first_try", "attempts"):
        monkeypatch.setattr(f"durable.scheduler.{module}.{named}", lambda *_, **__: 1 / 0)
    calls: list[int] = []

    @durable.function(retries=0)
    async def calling(ctx: Context) -> Any:
        await ctx.step.run(StepOptions("s", retries=1), calls.append, 1)

    async def story() -> None:
        async with Lab([calling]) as lab:
            run = await lab.start(calling)
            with pytest.raises(RunFailed, match="ZeroDivisionError"):
                await lab.result(run)
            step = (await run.info()).steps["s"]
            assert step.error is not None and step.error.name == "ZeroDivisionError"
            assert len(calls) == (0 if named == "Trying" else 1)
            assert lab.clock.now() == START if tries == 1 else lab.clock.now() > START

    asyncio.run(story())


# A try is a try only while it runs.


@pytest.mark.parametrize("threads", ["inline", "threads"])
def test_what_a_handler_leaves_behind_is_not_inside_it_any_more(threads: str) -> None:
    """A pool or a consumer that was started in a handler is code like any other once the handler has ended."""
    left: list[asyncio.Task[Any]] = []
    inside: list[str] = []
    ended = asyncio.Event()

    @durable.function
    async def child(ctx: Context) -> int:
        return 7

    async def consumer(engine: Engine) -> list[Any]:
        inside.append(current_step().key)
        await ended.wait()
        got: list[Any] = [await engine.invoke(child, id="child")]
        await engine.settled()
        with pytest.raises(RuntimeError, match="no handler is running here"):
            current_step()
        return got

    @durable.function
    async def starting(ctx: Context) -> str:
        async def start() -> str:
            left.append(asyncio.create_task(consumer(labs[0].engine)))
            await asyncio.sleep(0)
            return "started"

        return await ctx.step.run("s", start)

    labs: list[Lab] = []

    async def story() -> None:
        async with Lab([starting, child], threads=threads == "threads") as lab:
            labs.append(lab)
            assert await lab.result(await lab.start(starting)) == "started"
            ended.set()
            assert await left[0] == [7] and inside == ["s"]

    asyncio.run(story())


def test_a_try_that_has_timed_out_runs_on_in_its_thread() -> None:
    """R11a: its code can still ask which step it is, and may not call steps."""
    gate, said = Gate(), []

    @durable.function(retries=0)
    async def waiting(ctx: Context) -> None:
        def blocking() -> None:
            gate()
            said.append((current_step().key, current_step().cancelled))
            with pytest.raises(durable.NestedStepError):
                ctx.step.sleep("inner", 1)
            said.append(("done", True))

        await ctx.step.run(StepOptions("s", timeout=1, retries=0), blocking)

    async def story() -> None:
        async with Lab([waiting], threads=True) as lab:
            await lab.engine.start(waiting, id="r")
            await asyncio.to_thread(gate.begun.acquire)
            lab.clock.advance(1)
            with pytest.raises(RunFailed, match="TimeoutError"):
                await lab.engine.result("r")
            gate.opened.set()
        assert said == [("s", True), ("done", True)]

    asyncio.run(story())


# Who asked for the end.


class Swallowing(Exception):
    pass


def changed(error: BaseException) -> BaseException:
    return Swallowing("because it was cancelled")


ENDS: dict[str, Callable[[BaseException], BaseException]] = {
    "its own": changed,
    "a group": lambda error: BaseExceptionGroup("g", [error]),
    "a timeout": lambda error: TimeoutError("too late"),
    "a retry after": lambda error: RetryAfterError("later", 5),
    "a final one": lambda error: NonRetriableError("no"),
    "a system's": lambda error: ConnectionResetError(),
    "the same": lambda error: error,
    "another cancelling": lambda error: asyncio.CancelledError("again"),
    "a generator's": lambda error: GeneratorExit(),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_a_handler_makes_of_its_cancelling_at_a_close_is_no_failure(end: str) -> None:
    """R8: not the class tells, but who asked: a deploy fails nothing, and spends no try."""
    calls: list[int] = []

    async def unwilling() -> str:
        calls.append(current_step().attempt)
        if len(calls) > 1:
            return "done"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise ENDS[end](error) from None
        return ""

    @durable.function(retries=0)
    async def working(ctx: Context) -> str:
        return await ctx.step.run(StepOptions("s", retries=0), unwilling)

    async def story() -> None:
        store = DictStore()
        async with Engine([working], store=store) as engine:
            await engine.start(working, id="r")
            await rounds()
        assert [type(record).__name__ for record in records(store.mapping)] == ["RunOpened", "EngineClosed"]
        async with Engine([working], store=DictStore(store.mapping)) as engine:
            assert await engine.result("r", 60) == "done" and calls == [0, 0]

    asyncio.run(story())


# sys.exit (R14).


@pytest.mark.parametrize("threads", ["inline", "threads"])
@pytest.mark.parametrize("error", [SystemExit(3), SystemExit(), SystemExit("why")], ids=repr)
def test_a_blocking_handler_that_exits_fails_its_try(error: SystemExit, threads: str) -> None:
    """R14: and not its whole process; the next try may do better."""

    def leave() -> str:
        if current_step().attempt == 0:
            raise error
        return "stayed"

    @durable.function
    async def leaving(ctx: Context) -> str:
        return await ctx.step.run("s", leave)

    async def story() -> None:
        async with Lab([leaving], threads=threads == "threads") as lab:
            run = await lab.start(leaving)
            step = (await run.info()).steps["s"]
            assert step.status == "retrying" and step.error is not None and step.error.name == "SystemExit"
            assert await lab.result(run) == "stayed"

    asyncio.run(story())


@pytest.mark.parametrize("where", ["async handler", "function"])
def test_an_exit_on_the_loop_ends_the_process_with_a_line_in_the_log(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """R14: nothing is recorded of it; the run goes on at the next start."""
    calls: list[int] = []

    async def leave() -> str:
        calls.append(1)
        if len(calls) == 1:
            sys.exit(3)
        return "stayed"

    @durable.function
    async def leaving(ctx: Context) -> str:
        return await (leave() if where == "function" else ctx.step.run("s", leave))

    store = DictStore()

    async def daemon() -> None:
        async with Engine([leaving], store=store) as engine:
            await engine.start(leaving, id="r")
            await asyncio.Event().wait()

    with pytest.raises(SystemExit) as caught:
        asyncio.run(daemon())
    assert caught.value.code == 3
    lines = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert any("sys.exit(" in line and "'r'" in line for line in lines), lines

    async def again() -> None:
        async with Engine([leaving], store=store) as engine:
            assert await engine.result("r", 60) == "stayed"

    asyncio.run(again())


def test_a_script_ends_with_the_exit_of_a_blocking_handler() -> None:
    """R14: `durable.run` is the one exception."""

    def leave() -> None:
        sys.exit(5)

    @durable.function
    async def leaving(ctx: Context) -> None:
        await ctx.step.run("s", leave)

    with pytest.raises(SystemExit) as caught:
        durable.run(leaving)
    assert caught.value.code == 5
