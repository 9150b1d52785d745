"""A few random stories of ticks, pauses, deaths and clocks: the runs are those of a model, each tick's once. F9, F10"""

from __future__ import annotations

import pytest

from tests.proof.torture.calendar import Story
from tests.proof.torture.stories import lived


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_the_runs_of_ticks_are_those_of_a_model(seed: int) -> None:
    for number in range(seed, seed + 4):
        lived(Story, number)
