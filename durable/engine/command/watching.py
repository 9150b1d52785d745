"""Ask a verb again every second, and show what has changed.

Separate because a terminal is written over, while a file or a pipe gets one picture below the other.
Leaves to the verbs the answers, to `main` the end by Ctrl-C.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from argparse import Namespace

from durable.engine.command.output import draw, json_of, on_lines, tell, tell_value
from durable.engine.command.verb import Answer
from durable.stores import is_terminal

EVERY = 1.0  # seconds
_HOME, _TO_THE_LINES_END, _TO_THE_SCREENS_END = "\x1b[H", "\x1b[K", "\x1b[J"


async def watch(options: Namespace) -> int:
    """Show a verb's answers as they change, until the last one or until nobody reads them; return the exit status.

    On a terminal each takes the place of the one before. Elsewhere a blank line stands between two, or each JSON is a
    line; there it is no change that time goes on.
    """
    can_go_back = is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb" and not options.json
    before: str | None = None
    while True:
        answer: Answer = await options.asked.answer(options)
        now = answer.text if can_go_back else json_of(answer.value)
        if now != before:
            failure = _show(options, answer, is_first=before is None, can_go_back=can_go_back)
            if failure is not None:
                return answer.status
        before = now
        if answer.is_last:
            return answer.status
        await asyncio.sleep(EVERY)


def _show(options: Namespace, answer: Answer, *, is_first: bool, can_go_back: bool) -> OSError | None:
    if options.json:
        return tell_value(answer.value, is_brief=True)
    if can_go_back:
        return draw(_written_over(answer.text, is_first=is_first))
    return tell(answer.text if is_first else f"\n{answer.text}")


def _written_over(text: str, *, is_first: bool) -> str:
    """Return what puts lines in the place of those that the terminal shows, cut to its size."""
    size = shutil.get_terminal_size()
    lines = [line[: size.columns - 1] for line in on_lines(text).split("\n")][: size.lines - 1]
    begin = f"{_HOME}{_TO_THE_SCREENS_END}" if is_first else _HOME
    return begin + "".join(f"{line}{_TO_THE_LINES_END}\n" for line in lines) + _TO_THE_SCREENS_END
