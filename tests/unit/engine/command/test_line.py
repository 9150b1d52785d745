"""The command line on whatever it writes to: a terminal of few letters, a pipe that is closed, a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import durable
from durable.engine.command import main
from durable.errors import HOME
from tests.proof.crashes import ROOT
from tests.proof.crashes.senders import waiting

_ODD = "r\n\x1b[2J\u20ac\u202e7"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with runs whose ids and errors hold line breaks, escapes and letters of many languages."""
    path = tmp_path / "x.db"
    path.write_bytes(_of_odd_runs())
    return path


@cache
def _of_odd_runs() -> bytes:
    @durable.function
    async def fails(ctx: durable.Context) -> None:
        await ctx.step.run(durable.StepOptions("charge", retries=0), _raise)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.db"
        for number in range(40):
            with pytest.raises(durable.RunFailed):
                durable.run(fails, store=path, id=f"{_ODD}{number}")
        return path.read_bytes()


def _raise() -> None:
    raise ValueError(f"unknown \u0437\u0430\u043a\u0430\u0437 \x07{_ODD}")


def _command(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "durable", *map(os.fsencode, map(str, arguments))]
    return subprocess.run(command, capture_output="stdout" not in options, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "utf-8", "latin-1", "cp437", "utf-16"])
def test_what_a_terminal_cannot_spell_is_shown_by_its_number(path: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in (["runs", path], ["show", path, f"{_ODD}7"], ["show", path, "\u20ac\n"]):
        done = _command(*arguments, env=environment)
        told = (done.stdout + done.stderr).decode(encoding.split(":")[0])
        assert not [line for line in told.splitlines() if line.startswith("Traceback")] and HOME not in told, told
        assert told.count("\n  Traceback") == (arguments[-1] == f"{_ODD}7"), told  # the run's own, which is recorded
        assert done.returncode == (1 if arguments[-1] == "\u20ac\n" else 0)
        assert "\x1b" not in told and "\x07" not in told and "\u202e" not in told
        assert ("\u20ac" in told or r"\u20ac" in told) and (r"\x1b" in told or done.returncode)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1", "cp437"])
def test_json_is_json_whatever_the_terminal_can_spell_and_moves_no_cursor(path: Path, encoding: str) -> None:
    odd = f"{_ODD}\x9b2J\u00e9\U0001f600"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in (["start", path, odd, "--id", odd], ["signal", path, odd], ["show", path, f"{_ODD}7"]):
        done = _command(*arguments, "--json", env=environment)
        told = done.stdout.decode(encoding)
        assert all(one.isprintable() for one in told.splitlines())
        found = json.loads(told)
        assert (done.returncode, found.get("id", found.get("signal"))) == (0, arguments[-1])
        assert ("\u00e9" in told) == (encoding not in ("ascii",) and arguments[0] != "show" and "\\u20ac" not in told)


def test_a_line_for_people_moves_no_cursor_either(path: Path) -> None:
    done = _command("start", path, "f", "--id", "a\x1b[2J\u202eb")
    assert (done.returncode, done.stdout.decode().strip()) == (0, r"a\x1b[2J\u202eb")


def test_a_run_is_one_line_whatever_its_id_and_error_hold(path: Path) -> None:
    _, *lines = _command("runs", path, "--limit", "5").stdout.decode().splitlines()
    assert len(lines) == 5 and all(r"r\n\x1b[2J" in line and "ValueError" in line for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize("is_unbuffered", [False, True])
def test_a_pipe_that_is_closed_ends_it_quietly(path: Path, is_unbuffered: bool) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1" if is_unbuffered else ""}
    for arguments in (["runs", path], ["show", path, f"{_ODD}7"]):
        end, begin = os.pipe()
        os.close(end)
        done = _command(*arguments, stdout=begin, stderr=subprocess.PIPE, env=environment)
        os.close(begin)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk here")
def test_what_was_done_and_cannot_be_told_is_said(path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = _command("send", path, "a/b", stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1 and b"it was done, but cannot be told: " in done.stderr
        assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
        assert len(waiting(path)) == 1
        assert _command("show", path, "none", stdout=full, stderr=full).returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="arguments are bytes on POSIX alone")
def test_bytes_that_are_no_text_are_refused_by_name_and_a_path_may_hold_any(path: Path) -> None:
    for arguments, name in (
        (["show", path, "\udcff"], "run"),
        (["runs", path, "--function", "\udcff"], "function"),
        (["runs", path, "--event", "\udcff"], "event"),
        (["send", path, "a/\udcff"], "event"),
        (["send", path, "a/b", "{}", "--id", "\udcff"], "id"),
        (["signal", path, "\udcff"], "signal"),
    ):
        done = _command(*arguments)
        assert done.returncode == 2 and f"{name} holds half of".encode() in done.stderr, done.stderr
    for arguments in (["send", path, "a/b", '{"x": "\udcff'], ["send", path, "a/b", "\udcff"]):
        done = _command(*arguments)
        assert (done.returncode, b"Traceback" in done.stderr) == (2, False), done.stderr
    odd = path.with_name("\udcff.db")
    path.rename(odd)
    assert _command("runs", odd).returncode == 0
    assert _command("send", odd, "a/b").returncode == 0


def test_the_console_script_is_the_same_command() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    [(name, value)] = scripts.items()
    script = f"import sys; from {value.partition(':')[0]} import main; sys.argv[0] = 'durable'; sys.exit(main())"
    assert EntryPoint(name, value, "console_scripts").load() is main
    for arguments in (["--help"], ["runs"], ["show", "none.db", "r"]):
        ways = [[sys.executable, "-c", script], [sys.executable, "-m", "durable"]]
        one, other = (subprocess.run([*way, *arguments], cwd=ROOT, capture_output=True) for way in ways)
        assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
        assert (b"usage: durable" in one.stdout) == (arguments == ["--help"])
