"""Live random stories, by their numbers, and tell the one that did not end as it must.

Separate because every kind of story is lived and told alike.
Leaves to `calendar` and `limits` what happens in a story, and the model that judges it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Callable
from typing import Protocol


class Story(Protocol):
    """A story is a row of random acts, which it tells in `told`."""

    told: list[str]

    async def live(self) -> None: ...


def lived(story_of: Callable[[int], Story], seed: int) -> None:
    """Live the story of a number.

    Raises:
        AssertionError: something is not as in the model; its notes tell the story.
    """
    story = story_of(seed)
    try:
        asyncio.run(story.live())
    except AssertionError as error:
        error.add_note("\n".join((f"story {seed}:", *story.told)))
        raise


def live_many(story_of: Callable[[int], Story], name: str, *, what: str, proven: str) -> None:
    """Live as many stories as the command line asks for.

    `name` is the module's, `what` says what it does, `proven` what has held when all have been lived.
    """
    parser = argparse.ArgumentParser(prog=f"python -m tests.proof.torture.{name}", description=what)
    parser.add_argument("--stories", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first story")
    asked = parser.parse_args()
    logging.getLogger("durable").setLevel(logging.CRITICAL)  # runs and steps fail by the hundred, as they should
    for number in range(asked.first, asked.first + asked.stories):
        lived(story_of, number)
    print(f"{asked.stories} stories: {proven}")
