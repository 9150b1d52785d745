"""S1: on a terminal one line says how far a script's run is, what runs, and what is waited for."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

import durable
from durable.engine import live_line
from durable.stores import say

pytest.importorskip("termios", reason="terminals of POSIX")

from tests.support.terminal import Terminal, answered, terminal


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_line, "_FIRST", 0.02)
    monkeypatch.setattr(live_line, "_EVERY", 0.02)


seen = threading.Event()


def hold(text: str = "") -> str:
    """A blocking handler that goes on once a person has seen it."""
    assert seen.wait(30)
    return text


def seeing(*patterns: str) -> Callable[[Terminal], None]:
    def person(one: Terminal) -> None:
        seen.clear()
        try:
            for pattern in patterns:
                one.hear(pattern)
        finally:
            seen.set()

    return person


@durable.function
async def etl(ctx: durable.Context) -> str:
    await ctx.step.run("extract", str, "rows")
    return await ctx.step.run("load", hold, "done")


def test_it_shows_finished_and_known_steps_and_what_runs_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, seeing(r"\rdurable: etl: 1 of 2 steps, runs 'load' 0\.[2-9] s")) as shown:
        assert durable.run(etl) == "done"
    assert shown.screen() == [""]  # it was one line, and is gone
    assert shown.text.count("\n") == 0


def test_it_shows_the_progress_of_a_handler_and_the_number_of_its_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        if not durable.current_step().attempt:
            raise ConnectionError("away")
        durable.progress(40, 100, "rows\x1b[2J")
        hold()

    @durable.function(backoff=durable.Backoff(first="300ms", jitter=0))
    async def etl(ctx: durable.Context) -> None:
        await ctx.step.run("load", load)

    again = r"\rdurable: monday: 0 of 1 step, tries 'load' again until \d\d:\d\d:\d\d UTC \(in 0\.\d s\)"
    tells = r"\rdurable: monday: 0 of 1 step, runs 'load' \(try 2\) \d\.\d s \(40 of 100, rows\\x1b\[2J\)"
    with terminal(monkeypatch, seeing(again, tells)):
        durable.run(etl, id="monday")


def test_of_many_it_names_three(monkeypatch: pytest.MonkeyPatch) -> None:
    @durable.function
    async def many(ctx: durable.Context) -> None:
        naps = [ctx.step.sleep(f"nap {n}", "1h") for n in range(5)]
        sleeping = [asyncio.ensure_future(nap) for nap in naps]
        await asyncio.gather(*(ctx.step.run(f"load {n}", hold) for n in range(5)))
        for one in sleeping:
            one.cancel()

    runs = r"many: 0 of 10 steps, runs 'load 0' \S+ s, 'load 1' \S+ s, 'load 2' \S+ s and 2 more, "
    sleeps = r"sleeps in 'nap 0' until \S+ UTC \(in 1 h\), sleeps in 'nap 1' until .* and 2 more"
    with terminal(monkeypatch, seeing(runs + sleeps)):
        durable.run(many)


def test_what_a_person_can_answer_is_named_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @durable.function
    async def both(ctx: durable.Context) -> None:
        naps = [ctx.step.sleep(f"nap {n}", "1h") for n in range(5)]
        sleeping = [asyncio.ensure_future(nap) for nap in naps]
        await ctx.step.wait_for_signal("approval", signal="approve-7", timeout="1h")
        for one in sleeping:
            one.cancel()

    def person(one: Terminal) -> None:
        one.hear(
            r"\rdurable: both: 0 of 6 steps, waits for signal 'approve-7' [^\r]*, sleeps in 'nap 0' [^\r]* and 3 more"
        )
        answered(one.hear(r"durable: both: waits for signal 'approve-7' .*:\r\n(.*)\r\n")[1])

    with terminal(monkeypatch, person):
        durable.run(both, store=tmp_path / "x.db")


def test_what_its_children_do_is_shown_with_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @durable.function
    async def parent(ctx: durable.Context) -> str:
        await ctx.step.invoke("child", function=etl)
        got = await ctx.step.invoke("asks", function=asks, data={"order": 7})
        return str(got)

    def person(one: Terminal) -> None:
        seeing(r"parent: 0 of 1 step, runs 'child/load' 0\.\d s")(one)
        answered(
            one.hear(r"parent: 1 of 2 steps, waits for signal 'approve-7' [^\r]*asks 'Ship it\?': (.*? approve-7)")[1]
        )

    with terminal(monkeypatch, person):
        assert durable.run(parent, store=tmp_path / "x.db", functions=[etl, asks]) == "None"


# What is waited for, and the command that answers it.


@durable.function
async def asks(ctx: durable.Context) -> Any:
    name = ctx.event.data.get("signal", "approve-7")
    got = await ctx.step.wait_for_signal("approval", signal=name, timeout="1h", ask="Ship it?")
    return None if got is None else got.data


@pytest.mark.parametrize(
    ("signal", "store"),
    [
        ("approve-7", "x.db"),
        ("approve 7", "my store.db"),
        ('it\'s "7" $HOME `ls` \\ !', 'it\'s "x".db'),
        ("--help", "-x.db"),
        ("-7", "x.db"),
        ("a\nb\x1b[2J\tc'd", "new\nline.db"),
        ("заказ 7 \u20ac", "заказ.db"),
    ],
)
def test_the_command_answers_as_it_is_printed(
    signal: str, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever names and paths hold, also those of this Python."""
    monkeypatch.chdir(tmp_path)

    def person(one: Terminal) -> None:
        found = one.hear(
            r"\rdurable: asks: 0 of 1 step, waits for signal .* until \S+ UTC \(in 1 h\), asks 'Ship it\?': (.*)"
        )
        answered(found[1].split("\r")[0])

    with terminal(monkeypatch, person, columns=400):
        assert durable.run(asks, {"signal": signal}, store=store) is None


def test_a_run_that_was_left_at_rest_says_what_it_asks_and_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """R25: it goes on without being called, so that only its record knows."""
    store = tmp_path / "x.db"

    async def left() -> None:
        async with durable.Engine([asks], store=store, resident=0) as engine:
            await engine.start(asks, id="a")
            await engine.settled()

    def person(one: Terminal) -> None:
        answered(one.hear(r"\rdurable: a: 0 of 1 step, waits for [^\r]*, asks 'Ship it\?': (.*? approve-7)")[1])

    asyncio.run(left())
    with terminal(monkeypatch, person, columns=400):
        assert durable.run(asks, store=store, id="a") is None


def test_a_command_that_does_not_fit_is_said_once_above(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def person(one: Terminal) -> None:
        line = one.hear(r"durable: asks: waits for signal 'approve-7' until .*, asks 'Ship it\?':\r\n(.*)\r\n")[1]
        one.hear(r"\rdurable: asks: 0 of 1 step, waits for\.\.\.")
        answered(line)

    with terminal(monkeypatch, person, columns=41) as shown:
        durable.run(asks, store=tmp_path / "x.db")
    assert len(re.findall("asks 'Ship it", shown.text)) == 1
    assert max(map(len, re.split(r"[\r\n]+", shown.text.partition("approve-7\r\n")[2]))) == 40


@pytest.mark.parametrize(
    ("options", "data", "command"),
    [
        ({}, None, "send x.db order/approved"),
        ({"match": "data.order_id"}, '{"order_id": 7}', """send x.db order/approved '{"order_id": 7}'"""),
        ({"match": "data.by.name"}, '{"by": {"name": "it\'s"}}', "send x.db order/approved "),
        ({"if_exp": "async.data.id == event.data.order_id && async.data.ok == true"}, '{"id": 7, "ok": true}', "send "),
        ({"match": "data.order_id", "if_exp": "async.data.total > 5"}, None, "send x.db order/approved DATA"),
        ({"match": "id"}, None, "send x.db order/approved DATA"),
    ],
)
def test_the_command_for_an_event_has_the_data_that_it_must_have(
    options: dict[str, Any], data: str | None, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @durable.function
    async def waits(ctx: durable.Context) -> Any:
        event = await ctx.step.wait_for_event("approval", event="order/approved", timeout="1h", **options)
        return None if event is None else event.data

    monkeypatch.chdir(tmp_path)

    def person(one: Terminal) -> None:
        line = one.hear(r"\rdurable: waits: 0 of 1 step, waits for event 'order/approved' until .*?\): (.*)")[1]
        line = line.split("\r")[0].rstrip()
        assert command in line
        answered(line.replace("DATA", """'{"order_id": 7, "total": 6}'"""))

    with terminal(monkeypatch, person, columns=400):
        event = {"order_id": 7, "by": {"name": "it's"}}
        if options == {"match": "id"}:  # it is found out by no data
            with pytest.raises(TimeoutError):
                durable.run(waits, event, store="x.db", timeout=1)
        else:
            assert durable.run(waits, event, store="x.db") == (json.loads(data) if data else ANY)


def test_in_memory_nobody_else_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        r"waits for signal 'approve-7' until .*, asks 'Ship it\?', which only this process can send: give store= a path"
    )
    with terminal(monkeypatch, seeing(said)):
        with pytest.raises(TimeoutError):
            durable.run(asks, timeout=1)


# Beside what others write.


def test_what_a_handler_prints_stands_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        print("printed")
        print("to stderr", file=sys.stderr)
        say("said")
        print("half of ", end="")
        part.set()
        hold()
        print("a line")

    part = threading.Event()

    @durable.function
    async def prints(ctx: durable.Context) -> None:
        await ctx.step.run("wait", hold)
        await ctx.step.run("load", load)

    def person(one: Terminal) -> None:
        seeing("runs 'wait'")(one)
        part.wait(30)
        seen.clear()
        one.hear("half of ")
        seen.set()

    with terminal(monkeypatch, person) as shown:
        durable.run(prints)
    assert shown.screen() == ["printed", "to stderr", "durable: said", "half of a line", ""]


@pytest.mark.parametrize("how", ["failed", "interrupted", "timed out"])
def test_however_it_ends_the_terminal_is_given_back(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        hold()
        if how == "failed":
            raise durable.NonRetriableError("broken")
        if how == "interrupted":
            signal.raise_signal(signal.SIGINT)

    @durable.function
    async def ends(ctx: durable.Context) -> None:
        await ctx.step.run("end", end)
        await ctx.step.sleep("nap", "1h")

    with terminal(monkeypatch, seeing("runs 'end'")) as shown:
        with pytest.raises((durable.RunFailed, durable.Interrupted, TimeoutError)):
            durable.run(ends, timeout=1.5)
        assert "write" not in vars(sys.stderr)
        print("after")
    lines = shown.screen()
    assert lines[-2:] == ["after", ""] and not any("runs 'end'" in line for line in lines), lines


def test_off_the_main_thread_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[str] = []
    with terminal(monkeypatch, seeing(r"\rdurable: etl: 1 of 2 steps, runs 'load'")):
        script = threading.Thread(target=lambda: values.append(durable.run(etl)))
        script.start()
        script.join()
    assert values == ["done"]


# Where there is no terminal.


@durable.function
async def quick(ctx: durable.Context) -> str:
    for number in range(200):
        await ctx.step.run(f"step {number}", str, number)
    return await ctx.step.run("load", hold, "done")


def test_elsewhere_it_is_silent_unless_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen.set()
    assert durable.run(quick) == "done"
    with terminal(monkeypatch) as shown:
        assert durable.run(quick, progress=False) == "done"
    assert (shown.text, capfd.readouterr().err) == ("", "")


def test_a_file_has_whole_lines_at_most_one_a_second(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[float, str]] = []

    class Clocked:
        def write(self, text: str) -> int:
            said.append((loop_time(), text))
            if "runs 'load'" in text:
                seen.set()
            return len(text)

        def flush(self) -> None:
            pass

    loop_time = time.monotonic
    seen.clear()
    monkeypatch.setattr(sys, "stderr", Clocked())
    assert durable.run(quick, progress=True) == "done"
    instants = [at for at, _ in said]
    assert 1 <= len(said) < 10
    assert all(later - earlier >= 0.99 for earlier, later in pairwise(instants))
    assert re.fullmatch(r"durable: quick: 200 of 201 steps, runs 'load' \d+\.\d s\n", said[-1][1])


def test_a_file_has_the_same_again_after_ten_seconds_then_after_twice_that() -> None:
    said: list[float] = []

    class Standing:
        gist = ("waits",)

        def told(self) -> str:
            return "waits"

    line = live_line.LiveLine(True)
    for second in range(1_000):
        before = line._at
        line._write(Standing(), float(second))  # type: ignore[arg-type]
        if line._at != before:
            said.append(line._at)
    assert said == [0, 10, 30, 70, 150, 310, 630]


@pytest.mark.parametrize("progress", [None, True])
def test_without_a_stream_nothing_is_shown(progress: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen.set()
    monkeypatch.setattr(sys, "stderr", None)
    assert durable.run(quick, progress=progress) == "done"


@pytest.mark.parametrize("progress", ["yes", 1, 0])
def test_whether_it_is_wanted_is_true_false_or_none(progress: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="progress must be True, False or None, not"):
        durable.run(etl, store=tmp_path / "x.db", progress=progress)
    assert not list(tmp_path.iterdir())
