"""Torture blames no function for what a collection of garbage calls: that begins wherever it happens to be due."""

from __future__ import annotations

import gc
import os
import time
from typing import Any

import pytest

from durable import Context, function
from tests.support.lives import note
from tests.unit.testing.test_torture import line_of, report_of, story_of


class Knot:
    """Garbage that only a collection finds, and that looks at a file when it goes."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        os.stat(__file__)


def looks_around(phase: str, about: dict[str, int]) -> None:
    os.stat(__file__)
    time.time()


@pytest.mark.parametrize("when", ["before", "during"])
def test_what_a_collection_of_garbage_calls_is_no_doing_of_the_function(when: str) -> None:
    """Hooks of packages, whenever they are added, and finalizers; what the function does itself is seen as ever."""
    added: list[Any] = []

    def add() -> None:
        if not added:
            added.append(looks_around)
            gc.callbacks.append(looks_around)

    @function
    async def collecting(ctx: Context) -> None:
        add()
        Knot()
        gc.collect()
        await ctx.step.run("a", note)

    @function
    async def collecting_and_looking(ctx: Context) -> None:
        gc.collect()
        os.listdir(os.curdir)
        await ctx.step.run("a", note)

    try:
        if when == "before":
            add()
        assert report_of(collecting).ending == "completed"
        assert f"{line_of(collecting_and_looking, 3)}: os.listdir()" in story_of(collecting_and_looking)
    finally:
        gc.callbacks.remove(looks_around)
    assert gc.callbacks.count(looks_around) == 0 and not any("_look" in repr(one) for one in gc.callbacks)
