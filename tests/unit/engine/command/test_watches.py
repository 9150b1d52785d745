"""`--watch` shows what has changed, one picture below the other or one over the other, until it is told to end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import durable
from durable.engine.command import main, watching
from tests.proof.crashes import ENVIRONMENT
from tests.support.commands import Command, Said, naps, opened
from tests.support.terminal import Terminal, terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")


@contextmanager
def watched(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run the command in a process of its own, and end that in any case."""
    line = [sys.executable, "-m", "durable", *map(str, arguments), "--watch"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    late = threading.Timer(30, process.kill)
    late.start()
    try:
        yield process
    finally:
        late.cancel()
        process.kill()
        process.communicate()


async def one_more(engine: durable.Engine) -> None:
    await engine.start(naps, id="more")


def test_a_run_that_has_ended_is_watched_no_longer(
    path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "EVERY", "never")  # so that waiting is an error
    assert command("show", path, "gone", "--watch") == command("show", path, "gone")
    said = command("show", path, "gone", "--watch", "--json")
    assert said.out.count("\n") == 1 and said.value == command("show", path, "gone", "--json").value


def test_a_pipe_gets_a_line_of_json_for_each_change_and_ctrl_c_ends_it_quietly(path: Path) -> None:
    with watched("runs", path, "--json") as process:
        assert process.stdout is not None and process.stderr is not None
        assert len(json.loads(process.stdout.readline())) == 6
        opened(path, one_more)
        while len(ids := [run["id"] for run in json.loads(process.stdout.readline())]) < 7:
            continue  # what goes on at the opening is a change, too
        assert ids[0] == "more"
        process.send_signal(signal.SIGINT)
        assert (process.wait(), process.stderr.read()) == (0, "")


def test_what_has_not_changed_is_not_shown_again(path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[None]()

    async def nap(_seconds: float) -> None:
        looks.append(None)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching.asyncio, "sleep", nap)
    once = command("runs", path, "--json")
    said = command("runs", path, "--json", "--watch")
    assert (said.status, said.out.count("\n")) == (0, 1) and said.value == once.value


def test_what_is_watched_by_nobody_ends_quietly(path: Path) -> None:
    with watched("runs", path) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        opened(path, one_more)
        assert (process.wait(), process.stderr.read()) == (0, "")


def test_on_a_terminal_a_picture_takes_the_place_of_the_one_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    def person(screen: Terminal) -> None:
        screen.hear(r"waiting[^\x00]*\x1b\[J\x1b\[H")  # time goes on
        os.kill(os.getpid(), signal.SIGINT)

    with terminal(monkeypatch, person, columns=60) as screen:
        assert main(["runs", str(path), "--watch"]) == 0
    assert screen.text.startswith("\x1b[H\x1b[J") and screen.text.endswith("\x1b[J")
    assert all(len(re.sub(r"\x1b\[\w", "", line)) <= 60 for line in screen.text.split("\n"))


def test_on_a_terminal_that_cannot_go_back_pictures_stand_below_each_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal(monkeypatch) as screen:
        assert main(["show", str(path), "gone", "--watch"]) == 0
    assert "\x1b" not in screen.text and screen.text.startswith("run gone of naps: cancelled")


def test_ctrl_c_ends_a_verb_that_waits_quietly(path: Path, command: Command) -> None:
    def person() -> None:
        here = threading.main_thread().ident
        assert here is not None
        while "run_forever" not in [frame.f_code.co_name for frame, _ in traceback.walk_stack(frames()[here])]:
            continue
        os.kill(os.getpid(), signal.SIGINT)

    frames = sys._current_frames
    hand = threading.Thread(target=person)
    hand.start()
    assert command("result", path, "waiting") == Said(130, "", "")
    hand.join()


def test_verbs_that_do_something_cannot_be_watched(path: Path, command: Command) -> None:
    assert command("send", path, "a/b", "--watch").status == 2
