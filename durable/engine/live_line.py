"""Show a person where a script's run stands, while it runs.

Separate because a terminal, a log file and a missing stream each need another way of showing the same.
Leaves to `standing` the words, to `stores` the terminal's last line.
"""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Self

from durable.engine.standing import Look, Standing
from durable.stores import BottomLine, is_terminal, say

_FIRST, _EVERY = 0.3, 0.2  # seconds; what ends sooner shows nothing
_BETWEEN = 1.0  # seconds between two lines of a file
_AGAIN = 10.0  # seconds until a file has the same again; then twice that, and so on


class LiveLine:
    """A live line is a script's line about its run: on a terminal one that changes, elsewhere a new one now and then.

    `wanted` None shows it on a terminal only.
    """

    def __init__(self, wanted: bool | None) -> None:
        self._is_wanted = is_terminal(sys.stderr) if wanted is None else wanted
        self._bottom = BottomLine() if self._is_wanted and is_terminal(sys.stderr) else None
        self._handle: asyncio.TimerHandle | None = None
        self._said: set[tuple[str, str, str]] = set()
        self._last: tuple[object, ...] = ()
        self._at, self._again = -math.inf, _AGAIN

    def __enter__(self) -> Self:
        if self._bottom is not None:
            self._bottom.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bottom is not None:
            self._bottom.__exit__(*error)

    def begin(self, loop: asyncio.AbstractEventLoop, look: Look) -> None:
        """Show where the run stands from now on."""
        if self._is_wanted:
            look.standing()  # from now on it times what runs
            self._handle = loop.call_later(_FIRST, self._tick, loop, look)

    def end(self) -> None:
        """Show nothing more."""
        if self._handle is not None:
            self._handle.cancel()
        if self._bottom is not None:
            self._bottom.clear()

    def _tick(self, loop: asyncio.AbstractEventLoop, look: Look) -> None:
        standing = look.standing()
        if self._bottom is None:
            self._write(standing, loop.time())
        else:
            self._show(standing, self._bottom)
        self._handle = loop.call_later(_EVERY, self._tick, loop, look)

    def _show(self, standing: Standing, bottom: BottomLine) -> None:
        line = f"durable: {standing.told()}"
        if len(standing.waits) > 1 or not bottom.has_room(line):
            # A command must be there as a whole, to be copied: it is said once, above.
            waits = {part.gist: part for part in standing.named if part.more or part.command}
            for about, part in waits.items():
                if about not in self._said:
                    say(f"{standing.name}: {part.text}{':' if part.command else ''}", *filter(None, [part.command]))
            self._said = set(waits)
            line = f"durable: {standing.told(is_whole=False)}"
        bottom.show(line)

    def _write(self, standing: Standing, now: float) -> None:
        is_new, since = standing.gist != self._last, now - self._at
        if (is_new and since >= _BETWEEN) or since >= self._again:
            self._again = _AGAIN if is_new else 2 * self._again
            self._last, self._at = standing.gist, now
            say(standing.told())
