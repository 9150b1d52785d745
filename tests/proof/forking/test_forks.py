"""The short form of `python -m tests.proof.forking`."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from random import Random

import pytest

from tests.proof.forking.forking import check_seed
from tests.proof.forking.programs import Expected, Part, random_program

# Others take longer: their tasks go on when they are cancelled, and an end waits a moment for these, each time.
PROGRAMS = (0, 1, 2, 3, 4, 5, 6, 7, 10)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Functions fail by the dozen here, as they should."""
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("part", range(3))
def test_forks_of_generated_workflows_come_to_what_they_must(part: int) -> None:
    """S5: at steps drawn for each workflow, with nothing and with one outcome replaced, and through deaths."""
    total = Counter[str]()
    for number in PROGRAMS[part::3]:
        total += asyncio.run(check_seed(f"ci/{number}", ways=2))
    assert (
        total["forks"] > 6
        and total["deaths"] > 10
        and total["forks with one replaced"]
        and total["forks of unfinished runs"]
    )


def test_the_programs_of_the_short_form_have_what_forks_have_to_stand() -> None:
    parts = [part for number in PROGRAMS for part in _all(random_program(Random(f"ci/{number}")))]
    kinds = Counter(part.kind for part in parts)
    assert min(kinds[kind] for kind in ("race", "background", "branch", "loop", "cleanup", "failing", "invoke", "told"))
    assert {part.manner for part in parts if part.kind == "race"} == {"join", "leave", "finally"}
    assert {part.manner for part in parts if part.kind == "program"} == {"once", "again"}


def test_the_expected_result_follows_the_given_value() -> None:
    """A branch goes by the value of its step."""
    ways = tuple(Part("step", "sync", 0, f"0.{number}") for number in range(2))
    program = Part("program", "once", 0, "", (Part("branch", "", 0, "0", ways),))
    for given in (6, 7):
        expected = Expected({"0": given, "0.0": "even", "0.1": "odd"}, Random(1))
        assert expected.of(program) == [[given, ("even", "odd")[given % 2]]]
        assert expected.must == ["0", f"0.{given % 2}"]


def _all(part: Part) -> list[Part]:
    return [part, *[one for under in part.parts for one in _all(under)]]
