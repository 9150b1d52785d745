"""The terminal's bottom line: its width in columns, cut to the terminal's."""

from __future__ import annotations

import sys
import threading
from itertools import product

import pytest

pytest.importorskip("termios", reason="terminals of POSIX")

from durable.stores import BottomLine, say
from durable.stores.bottom import cells, fitted
from tests.support.terminal import seen, terminal


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("abc", 3), ("\u5bff\u53f8", 4), ("e\u0301", 1), ("\u00e9", 1), ("\uff21b", 3)]
)
def test_a_text_takes_the_columns_that_its_letters_take(text: str, width: int) -> None:
    assert cells(text) == width


@pytest.mark.parametrize("letter", ["a", "\u5bff", "e\u0301"])
def test_a_line_is_never_wider_than_its_room(letter: str) -> None:
    for length, room in product((0, 1, 3, 9, 10, 11, 50), range(12)):
        text = letter * length
        found = fitted(text, room)
        assert cells(found) <= room
        assert found == text or (cells(text) > room and (found.endswith("...") or room < 3))


def test_lines_of_many_threads_stay_whole_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written = [f"line {n} of {kind}" for n in range(100) for kind in ("print", "say")]
    with terminal(monkeypatch, columns=60) as shown:
        with BottomLine() as bottom:

            def talk(number: int) -> None:
                for n in range(number, 100, 4):
                    sys.stdout.write(f"line {n} of print\n")
                    say(f"line {n} of say")

            threads = [threading.Thread(target=talk, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                bottom.show("durable: live")
            bottom.show("durable: live")
            bottom.show("durable: it")
    assert sorted(line.removeprefix("durable: ") for line in shown.screen()) == sorted([*written, ""])
    assert seen(shown.text.rsplit("\n", 1)[-1].rsplit("\r", 2)[0], 60)[-1].startswith("durable: it")


def test_it_waits_until_what_others_write_ends_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown:
        with BottomLine() as bottom:
            bottom.show("durable: live")
            print("half of ", end="")
            bottom.show("durable: more")
            print("a line")
            bottom.show("durable: again")
            shown.hear("again")
            assert shown.screen() == ["half of a line", "durable: again"]
    assert shown.screen() == ["half of a line", ""]


def test_a_terminal_that_takes_nothing_more_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown:
        with BottomLine() as bottom:
            bottom.show("durable: live")
            shown.stream.close()
            bottom.show("durable: more")
            bottom.clear()
            say("nowhere")
