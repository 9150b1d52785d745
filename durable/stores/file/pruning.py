"""Forget runs of a store's file, a few rows between two commits.

Separate because it goes back and forth between the reader's thread and the writer's, for as long as it takes.
Leaves to `reader` the choice of what may go, to `writer` the deletions.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from durable.stores.file.writer import Writer
from durable.stores.log import Log

_LOG = Log(logging.getLogger("durable"))


async def pieces(
    choose: Callable[[], Awaitable[list[int]]],
    before: int,
    most: int,
    writer: Writer,
    post: Callable[[Callable[[], Any]], Awaitable[Any]],
) -> AsyncIterator[int]:
    """Forget runs and facts, then give their space back; yield after each commit how many runs it has forgotten.

    `choose` returns the runs that may go, the oldest last. A commit deletes at most so many rows. `post` has the
    writer's thread do a task. If the process dies in between, the next prune ends what this one has begun.
    """
    left = await choose()
    while left:
        yield await post(partial(writer.forget, left, most))
    while await post(partial(writer.forget_facts, before, most)):
        yield 0
    while await post(partial(writer.vacuum, most)):
        yield 0
    if not await post(writer.gives_back):
        _LOG.warning(
            "prune gives no space of store %r back: its auto_vacuum is off since somebody's VACUUM: close it and "
            "run `PRAGMA auto_vacuum = 2; VACUUM` on it",
            writer.path,
        )
