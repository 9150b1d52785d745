"""The spelling of commands: which Python, which words, whatever they hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from durable.engine.shell_line import _durable, command
from durable.engine.standing import span

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")

ODD = [
    "",
    " ",
    "a b",
    "it's",
    '"',
    "\\",
    "$HOME",
    "`ls`",
    "!x",
    "*",
    "~",
    "a\nb",
    "\x1b[2J",
    "\u202e",
    "заказ",
    "#",
    "é\t",
]


@pytest.mark.parametrize("word", ODD)
def test_a_shell_gives_the_words_back(word: str) -> None:
    line = command("signal", f"{word}.db", word)
    assert line.isprintable()
    echo = f"printf '%s\\0' {line[line.index(' signal ') :]}"
    done = subprocess.run(["bash", "-c", echo], capture_output=True, check=True)
    assert os.fsdecode(done.stdout).split("\0") == ["signal", f"{word}.db", word, ""]


def test_a_path_of_any_bytes_survives() -> None:
    path = os.fsdecode(b"\xff\xfe.db")
    done = subprocess.run(["bash", "-c", f"echo {command('runs', path).split()[-1]}"], capture_output=True, check=True)
    assert done.stdout == b"\xff\xfe.db\n"


@pytest.mark.parametrize("words", [("-x.db", "s"), ("x.db", "-7"), ("x.db", "--json")])
def test_what_looks_like_an_option_comes_after_two_dashes(words: tuple[str, str]) -> None:
    assert command("signal", *words).endswith(f" signal -- {' '.join(words)}")


@pytest.mark.parametrize("first", ["ours", "another's", "nobody's"])
def test_it_names_this_python_unless_the_shell_finds_its_own_durable(first: str, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("nobody's", "another's", "ours")}
    for name, folder in folders.items():
        folder.mkdir()
        if name != "nobody's":
            (folder / "durable").write_text("#!/bin/sh\n")
            (folder / "durable").chmod(0o755)
    python = str(folders["ours"] / "python")
    path = os.pathsep.join(map(str, [folders["nobody's"], folders[first]]))
    assert tuple(_durable(path, python)) == (("durable",) if first == "ours" else (python, "-m", "durable"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (7_265, "2 h 1 min"),
        (86_399.7, "1 d"),
        (183_600, "2 d 3 h"),
        (86_461, "1 d"),
    ],
)
def test_a_time_is_said_as_a_person_says_it(seconds: float, said: str) -> None:
    assert span(seconds) == said
