"""Read the arguments of the command line.

Separate because every verb reads its texts, data, durations and instants alike, and refuses them in one line.
Leaves to the verbs their own arguments, to `output` the line.
"""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

from durable.engine.command.output import complain
from durable.engine.command.verb import WRONG_USE, Verb
from durable.events import checked_text
from durable.timers import aware, duration, earlier, shown

T = TypeVar("T")

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_JSON = """a text is written '"hello"', a mapping '{"key": 1}'"""


class _Parser(ArgumentParser):
    """A parser tells of wrong use in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)  # a new option must not change what an old script asks

    def error(self, message: str) -> NoReturn:
        complain(f"{message}: see `{self.prog} --help`")
        sys.exit(WRONG_USE)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments; refuse here those that a verb does not take, since its own help lists what it takes."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            before = list(args or ())[: list(args or unknown).index(unknown[0])]
            is_late = not unknown[0].startswith("-") and any(one.startswith("-") for one in before)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{'; options stand last' if is_late else ''}")
        return options, unknown


def parser_of(verbs: Sequence[Verb]) -> ArgumentParser:
    """Return the parser of a command line with these verbs."""
    parser = _Parser(
        prog="durable",
        description="Look into a durable store, and steer its runs. Instants are in UTC.",
        epilog="Exit status: 0 it is done; 1 there is no such run, nothing to do, or the run whose result is asked has "
        "failed; 2 wrong use; 3 the store is missing, locked, damaged or none. What begins with - stands behind --.",
    )
    words = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    for verb in verbs:
        own = words.add_parser(verb.name, help=verb.summary, description=verb.summary)
        own.add_argument("store", metavar="STORE", help="the path of a file store")
        verb.takes(own)
        own.add_argument("--json", action="store_true", help="answer with JSON")
        if verb.is_watched:
            own.add_argument("--watch", action="store_true", help="look again every second, until Ctrl-C")
        own.set_defaults(asked=verb)
    return parser


def read_by(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return how an argument is read by a function whose errors say what is wrong with it."""

    def argument(text: str) -> T:
        try:
            return read(text)
        except (TypeError, ValueError) as error:
            raise ArgumentTypeError(str(error)) from error

    return argument


def named(what: str) -> Callable[[str], str]:
    """Return how a text is read that names something of the store; paths alone may hold any bytes."""
    return read_by(lambda text: checked_text(text, what))


@read_by
def span(text: str) -> timedelta:
    """Read a duration, in seconds if it has no unit."""
    return duration(float(text) if _NUMBER.fullmatch(text) else text)


def instant(text: str) -> datetime:
    """Read an instant: ISO 8601, in UTC if it names no zone."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{shown(text)} is no instant, which is written 2030-01-01T12:00") from error
    return aware(when.replace(tzinfo=when.tzinfo or UTC))


def past(text: str) -> datetime:
    """Read an instant, or a duration for so long ago."""
    try:
        return earlier(datetime.now(UTC), span(text))
    except ArgumentTypeError:
        try:
            return instant(text)
        except ArgumentTypeError as error:
            raise ArgumentTypeError(f"{error}, and no duration, which is written 30d") from error


def add_nothing(_parser: ArgumentParser) -> None:
    """Add no argument: the verb takes the store alone."""


def add_run(parser: ArgumentParser) -> None:
    """Add the argument for a run's id."""
    parser.add_argument("run", metavar="RUN", type=named("run"), help="the run's id")


def add_function(parser: ArgumentParser) -> None:
    """Add the argument for a function's id."""
    parser.add_argument("function", metavar="FUNCTION", type=named("function"), help="the id of a function")


def add_data(parser: ArgumentParser, default: str) -> None:
    """Add the argument for JSON data, at the end."""
    parser.add_argument("data", metavar="DATA", nargs="?", default=default, help="JSON; - reads the standard input")


def parsed(text: str) -> Any:
    """Return the value of JSON data; "-" reads it from the standard input.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the data are not JSON: {error}: {text[:80]!r}; {_JSON}") from error
