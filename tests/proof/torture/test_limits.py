"""A few random stories of bounded functions: openings, starts and runs are within their limits, in order. F1-F3, F6"""

from __future__ import annotations

import pytest

from tests.proof.torture.limits import Story
from tests.proof.torture.stories import lived


@pytest.mark.parametrize("seed", range(0, 60, 4))
def test_openings_starts_and_runs_are_within_limits_and_in_their_order(seed: int) -> None:
    for number in range(seed, seed + 4):
        lived(Story, number)
