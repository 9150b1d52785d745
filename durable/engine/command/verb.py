"""Define what a verb of the command line is, and what it answers.

Separate because the modules with verbs, the parser and the output must mean the same by these.
Leaves to `main` the statuses of errors, to `output` the writing.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

DONE, NOTHING, WRONG_USE, NO_STORE = 0, 1, 2, 3
"""The exit statuses: done; nothing there or nothing to do; wrong use; the store cannot be used."""


@attrs.frozen
class Answer:
    """An answer is what a verb has found or done.

    Attributes:
        text: for people, in lines; "" says nothing.
        value: the same for programs, ready for JSON: an object, or an array of objects.
        status: the exit status.
        trouble: a line for the standard error stream.
        is_last: whether a later answer to the same question can be no other, so that `--watch` ends.
    """

    text: str
    value: Any
    status: int = DONE
    trouble: str = ""
    is_last: bool = False


@attrs.frozen
class Verb:
    """A verb is one word of the command line.

    Attributes:
        name: the word.
        summary: what it does, for the help.
        takes: adds its arguments, which follow the store's path, to its parser.
        answer: does it.
        is_watched: whether it can be asked again and again, with `--watch`.
    """

    name: str
    summary: str
    takes: Callable[[ArgumentParser], None]
    answer: Callable[[Namespace], Awaitable[Answer]]
    is_watched: bool = False


class Nothing(Exception):
    """There is no such thing, or nothing to do: the exit status is 1."""
