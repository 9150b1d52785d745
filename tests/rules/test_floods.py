"""Rule R33 when everything fails at once: the log stays readable, and nothing in it is lost without being counted."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import durable
from durable import Context, Engine, StepOptions
from durable.stores import Log, RationedLog

RUNS = 1_500
LOGGER = logging.getLogger("durable")
LEFT_OUT = re.compile(r"(\d+) more lines of this kind were left out in (\d+) s; the last of them: (.*)")


class Clockwork(asyncio.SelectorEventLoop):
    """A loop whose time goes on when it is told to."""

    hand = 1_000.0

    def time(self) -> float:
        return self.hand

    def pass_time(self, seconds: float) -> None:
        self.hand += seconds
        for _ in range(3):  # one turn takes what was called from a thread, one what is due
            self.call_soon(self.stop)
            self.run_forever()


@contextmanager
def clockwork() -> Iterator[Clockwork]:
    loop = Clockwork()
    try:
        yield loop
    finally:
        loop.close()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return said


def test_a_flood_of_failures_is_a_bounded_number_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Each kind has its first lines, and at the close the number of those left out."""

    @durable.function(retries=0)
    async def fails(ctx: Context) -> None:
        await ctx.step.run(StepOptions("pay", retries=0), [declined, broken][ctx.event.data["n"] == RUNS - 1])

    def declined() -> None:
        raise ValueError("declined")

    def broken() -> None:
        raise KeyError("the one that matters")

    async def story() -> None:
        async with Engine([fails]) as engine:
            async with asyncio.TaskGroup() as group:
                for n in range(RUNS):
                    group.create_task(engine.start(fails, {"n": n}))
            await engine.settled()

    asyncio.run(story())
    shown, left = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for record in caplog.records:
        kind = record.levelname, record.error  # type: ignore[attr-defined]
        if found := LEFT_OUT.fullmatch(record.getMessage()):
            left[kind] += int(found[1])
        else:
            shown[kind] += 1
    assert len(caplog.records) < 250
    assert shown["WARNING", "ValueError"] == shown["ERROR", "ValueError"] == 100
    assert shown["WARNING", "KeyError"] == shown["ERROR", "KeyError"] == 1
    assert left == {(level, "ValueError"): RUNS - 1 - 100 for level in ("WARNING", "ERROR")}


def test_what_was_left_out_is_said_at_the_end_of_the_minute(caplog: pytest.LogCaptureFixture) -> None:
    with clockwork() as loop:
        log = RationedLog(LOGGER, loop)
        for second in range(30):
            for number in range(5):
                log.warning("it fails: %s", f"{second}.{number}\nand so on")
            loop.pass_time(1)
        assert messages(caplog) == [
            f"it fails: {second}.{number}\nand so on" for second in range(20) for number in range(5)
        ]
        loop.pass_time(29)
        assert messages(caplog) == []
        loop.pass_time(1)
        assert messages(caplog) == [
            "50 more lines of this kind were left out in 60 s; the last of them: it fails: 29.4"
        ]
        log.warning("it fails: %s", "anew")
        assert messages(caplog) == ["it fails: anew"]
        loop.pass_time(600)
        log.tell_left_out()
        assert messages(caplog) == []


def test_what_was_left_out_is_counted_also_if_the_loop_was_blocked_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    with clockwork() as loop:
        log = RationedLog(LOGGER, loop)
        for number in range(150):
            log.warning("it fails: %s", number)
        loop.hand += 300
        log.warning("it fails: %s", "after the block")
        assert messages(caplog) == [f"it fails: {number}" for number in range(100)]
        loop.pass_time(0)
        found = LEFT_OUT.fullmatch(*messages(caplog))
        assert found is not None and found.groups() == ("51", "300", "it fails: after the block")


def test_a_slow_trickle_is_shown_whole(caplog: pytest.LogCaptureFixture) -> None:
    """A minute after the first line of a kind, its ration is new."""
    with clockwork() as loop:
        log = RationedLog(LOGGER, loop)
        for number in range(300):
            log.error("it fails: %d", number)
            loop.pass_time(1)
        assert messages(caplog) == [f"it fails: {number}" for number in range(300)]


def test_the_first_of_each_kind_is_shown_however_much_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A kind is a line, a function and a class of errors; of all together there are 1,000 lines and the firsts."""
    with clockwork() as loop:
        log = RationedLog(LOGGER, loop)
        for function in range(300):
            for number in range(50):
                log.warning("%d fails", number, extra={"function_id": str(function), "error": "ValueError"})
        log.warning("%d fails", 7, extra={"function_id": "0", "error": "KeyError"})
        log.error("%d fails for good", 8, extra={"function_id": "0", "error": "ValueError"})
        said = messages(caplog)
        assert said[-2:] == ["7 fails", "8 fails for good"]
        assert said.count("0 fails") == 300 and len(said) == 1_000 + 280 + 2
        log.tell_left_out()
        told = [LEFT_OUT.fullmatch(text) for text in messages(caplog)]
        assert sum(int(found[1]) for found in told if found) == 300 * 50 - (1_000 + 280)


def test_kinds_without_end_are_one_kind(caplog: pytest.LogCaptureFixture) -> None:
    """A class of errors can be made for each run: what is kept of them is bounded, and what was left out is counted."""
    with clockwork() as loop:
        log = RationedLog(LOGGER, loop)
        for _ in range(2):
            for number in range(3_000):
                log.warning("%d", number, extra={"error": f"E{number}"})
            shown = messages(caplog)
            assert len(shown) == 1_001
            log.tell_left_out()
            found = LEFT_OUT.fullmatch(*messages(caplog))
            assert found is not None and int(found[1]) == 3_000 - 1_001
            loop.pass_time(60)
        for number in range(3_000):  # those of which nothing was left out are forgotten after a minute
            log.warning("%d", number, extra={"error": f"E{number}"})
            loop.pass_time(1)
        assert len(messages(caplog)) == 3_000


def test_lines_that_tell_of_no_failure_and_a_users_own_are_not_rationed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "durable")
    with clockwork() as loop:
        log = RationedLog(LOGGER, loop)
        for _ in range(2_000):
            log.info("completed")
            log.debug("unheard")
            log.plain.warning("a user's own")
            Log(log.plain).error("a user's own")
        assert len(messages(caplog)) == 8_000


def test_a_line_that_cannot_be_formatted_is_counted_too(caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        def __str__(self) -> str:
            raise OSError("gone")

    with clockwork() as loop:
        log = RationedLog(logging.getLogger("durable.unheard"), loop)
        log.logger.logger.propagate = False  # type: ignore[union-attr]
        try:
            for _ in range(101):
                log.warning("it fails: %s", Odd())
        finally:
            log.logger.logger.propagate = True  # type: ignore[union-attr]
        log.tell_left_out()
        assert messages(caplog) == ["1 more lines of this kind were left out in 0 s; the last of them: it fails: %s"]


def test_a_thread_may_flood_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        log = RationedLog(LOGGER, asyncio.get_running_loop())
        await asyncio.to_thread(lambda: [log.warning("from a thread") for _ in range(150)])
        log.tell_left_out()
        await asyncio.sleep(0)
        assert len(messages(caplog)) == 101

    asyncio.run(story(), debug=True)  # asyncio's debug mode refuses what is not safe in a thread
