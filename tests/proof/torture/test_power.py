"""R30: the power is lost at any instant, the medium is damaged; the long form: `python -m tests.proof.torture`."""

from __future__ import annotations

import asyncio

import pytest

from tests.proof.torture.ordeals import survives_a_loss_of_power


@pytest.mark.parametrize("seed", range(3))
def test_what_was_acknowledged_survives_a_loss_of_power_and_damage_is_never_believed(seed: int) -> None:
    tally = asyncio.run(survives_a_loss_of_power(f"ci/{seed}"))
    assert tally["torn"] > 10 and tally["kept"] > 5 and 0 < tally["refused"] < tally["damages"]
