"""Play a case on the model, in a Lab, and through every death of a simulated store.

All plays must give the same result.

Separate because the tests, the planted faults and the long form all ask for the same ordeals.
Leaves to `simulated` one play, to `power` the loss of power, to `corpus` and `workflows` the cases.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from durable.scheduler.parts import RESIDENT
from durable.testing import Lab
from tests.proof.torture.cases import Case, Seen, in_lab, in_model
from tests.proof.torture.corpus import Entry
from tests.proof.torture.power import loses_power
from tests.proof.torture.simulated import FATES, Plan, Simulation, at, difference, often
from tests.proof.torture.workflows import random_case

MODELS = 16
SECONDS = 30.0


async def survives_every_death(entry: Entry, *, fates: int = len(FATES)) -> Counter[str]:
    """Play a case of the corpus undisturbed, then with each fate at each of its appends, or with so many drawn for it.

    Raises:
        AssertionError: the message names the append and the fate, and how to see it again.
    """
    try:
        return await _survives(entry, fates)
    except Exception as error:
        raise _again(f"corpus/{entry.case.name}", error) from error


async def _survives(entry: Entry, fates: int) -> Counter[str]:
    case, random = entry.case, Random(entry.case.name)
    whole = Simulation(case, lambda number: None, Random(case.name))
    want = await asyncio.wait_for(whole.play(), SECONDS)
    check_wanted(entry, want)
    parked = Simulation(case, lambda number: None, Random(case.name), resident=0)
    check_wanted(entry, await asyncio.wait_for(parked.play(), SECONDS))
    tally = Counter(cases=2, appends=whole.appends)
    for number in range(1, whole.appends + 1):
        for fate in random.sample(FATES, fates):
            tally += await _died(case, at(number, fate), f"append {number} {fate}", want)
    return tally


async def _died(case: Case, plan: Plan, what: str, want: Seen) -> Counter[str]:
    simulation = Simulation(case, plan, Random(case.name))  # the same until it dies: that append does come
    try:
        got = await asyncio.wait_for(simulation.play(), SECONDS)
        assert simulation.signals_lost or got.runs == want.runs, f"it came to something else\n{difference(want, got)}"
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    return Counter(cases=1, deaths=simulation.deaths)


def check_wanted(entry: Entry, seen: Seen) -> None:
    """Check the end of run "r" of a case."""
    status, error = entry.want if isinstance(entry.want, tuple) else ("completed", None)
    words = f": {status} {entry.want!r} " if status == "completed" else f": {status} "
    (run,) = [run for run in seen.runs if run.startswith(f"{entry.case.name} by ")]
    assert words in run and (error is None or f"('{error}'" in run), f"wanted {entry.want}, but {run}"


async def agrees_with_the_model(seed: str) -> Counter[str]:
    """Play a generated case on the model, in a Lab, and on two simulated stores, one of which is calm.

    Raises:
        AssertionError: they come to different ends; the message says how to see it again.
    """
    try:
        return await _agrees(seed)
    except Exception as error:
        raise _again(seed, error) from error


async def _agrees(seed: str) -> Counter[str]:
    want = [await in_model(random_case(seed), Random(f"{seed}/0"))]
    case = random_case(seed)
    async with Lab(case.functions) as lab:
        seen = await in_lab(case, lab)
    tally = Counter(cases=2, ambiguous=await _check_same(seed, want, seen, "in a Lab"))
    deadly = Random(seed).choice((0.05, 0.15, 0.4))
    for share, resident in ((0.0, RESIDENT), (deadly, RESIDENT), (0.0, 0), (deadly, 0)):
        simulation = Simulation(random_case(seed), often(Random(seed), share), Random(seed), resident)
        seen = await asyncio.wait_for(simulation.play(), 2 * SECONDS)
        tally += Counter(cases=1, deaths=simulation.deaths, rested=simulation.rested)
        if not simulation.signals_lost and not (simulation.deaths and case.counts_tries):
            tally["ambiguous"] += await _check_same(seed, want, seen, f"with {simulation.deaths} deaths, {resident}")
    return tally


async def survives_a_loss_of_power(seed: str) -> Counter[str]:
    """Write to a file, lose the power and damage what is left of it, all as the seed has it.

    Raises:
        AssertionError: what was acknowledged is not there; the message says how to see it again.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            return await loses_power(Path(folder), Random(seed))
    except Exception as error:
        raise _again(f"power/{seed}", error) from error


def _again(what: str, error: Exception) -> AssertionError:
    told = str(error) if type(error) is AssertionError else f"{type(error).__name__}: {error}"
    return AssertionError(f"{what}: {told}\nagain: python -m tests.proof.torture --again {what}")


async def _check_same(seed: str, want: list[Seen], seen: Seen, what: str) -> int:
    """Check that a model has the same result, or that the models do not agree among themselves."""
    if any(one.runs == seen.runs for one in want):
        return 0
    for number in range(len(want), MODELS):
        want.append(await in_model(random_case(seed), Random(f"{seed}/{number}")))
    if any(one.runs != want[0].runs for one in want):
        return 1
    raise AssertionError(f"{what} it came to something else than on the model\n{difference(want[0], seen)}")
