"""Three hundred random programs replay as they ran: the proof of R5, and with it of R1, R4, R9.

Each is made in one of three ways, and cut after each k-th of its records, k being a quarter of them: some four times.
`python -m tests.proof.replay --programs N --seed S --every K` is the long form: thousands, in all ways, with any k.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

import durable.scheduler.delivery as delivery
from durable import FileStore
from durable.testing.lab import START
from tests.proof.replay.processes import Broken, NumberedTask, numbered, replayed, run, run_on
from tests.proof.replay.programs import Part, random_program, simpler
from tests.proof.replay.replaying import WAYS, check_same, check_seed

CHUNKS, CHUNK = 12, 25
Factory = Callable[..., asyncio.Task[Any]]


def replay(
    seeds: Sequence[str],
    *,
    every: int | None = None,
    ways: Sequence[str] | None = None,
    factory: Factory = numbered,
    **how: Any,
) -> None:
    """Check programs in a loop of their own; each is made in one way, or in all of `ways`."""

    async def story() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        for number, seed in enumerate(seeds):
            await check_seed(seed, every=every, ways=ways or [WAYS[number % len(WAYS)]])

    with asyncio.Runner(**how) as runner:
        runner.run(story())


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_programs_replay_as_they_ran(chunk: int) -> None:
    """R5, R1, R4, R9: whole records, those cut after each quarter, crashed processes, commits that take long."""
    replay([f"replay/{chunk * CHUNK + number}" for number in range(CHUNK)])


def test_small_programs_replay_from_every_cut() -> None:
    """R5, R1: after each single record."""
    small = [f"small/{number}" for number in range(100) if random_program(Random(f"small/{number}")).size < 8]
    replay(small[:6], every=1, ways=WAYS)


def test_programs_replay_in_debug_mode() -> None:
    """R5: asyncio's debug mode makes everything slower, and nothing else."""
    replay([f"debug/{number}" for number in range(4)], debug=True)


def test_programs_replay_on_uvloop() -> None:
    """R5: another event loop."""
    uvloop = pytest.importorskip("uvloop")
    replay([f"uvloop/{number}" for number in range(18)], loop_factory=uvloop.new_event_loop)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks begin with Python 3.12")
def test_programs_replay_with_eager_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """R5: a task that runs at once, where it is made."""
    monkeypatch.setattr("durable.scheduler.strays.CLEANUP_SECONDS", 0.1)  # program 9 cleans up for ever
    # Made by asyncio: anyio knows such a factory by its code.
    replay([f"eager/{number}" for number in range(24)], factory=asyncio.create_eager_task_factory(NumberedTask))


def test_what_a_file_store_recorded_replays_from_a_dict(tmp_path: Path) -> None:
    """R5: delivery does not depend on how long a commit takes, nor on a thread."""

    async def story() -> None:
        asyncio.get_running_loop().set_task_factory(numbered)
        for number in range(10):
            seed = f"file/{number}"
            program = random_program(Random(seed))
            store = FileStore(tmp_path / f"{number}.db", durability="none")
            made = await run_on(store, program, Random(seed), start=START)
            check_same(made, await replayed(made, program, seed), seed)

    asyncio.run(story())


def test_a_record_replays_twice_alike_without_one_handler() -> None:
    """R1, R5: handlers that never end are called for what is not recorded only."""

    async def story() -> None:
        asyncio.get_running_loop().set_task_factory(numbered)
        program = Part("program", "once", 0, (Part("race", "cancel", 0, (Part("step"), Part("step"), Part("sleep"))),))
        made = await run(program, "twice")
        for _ in range(2):
            again = await replayed(made, program, "again")
            check_same(made, again, "twice")
            assert not again.process.calls

    asyncio.run(story())


def test_a_run_that_delivers_too_early_is_found_and_told_as_a_short_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 5, 2: with K = 4 races go another way on replay; this suite must see it."""
    monkeypatch.setattr(delivery, "QUIET", 4)
    with pytest.raises(Broken, match=r"shrunk to \d+\):\nprogram \w+ 0\n  ") as broken:
        replay([f"replay/{number}" for number in range(60)])
    assert any(says in str(broken.value) for says in ("saw something else", "complains", "has not ended"))


def test_simpler_programs_are_smaller() -> None:
    """What a failure is shrunk by comes to an end."""
    program = random_program(Random("simpler"))
    assert all(one.size < program.size or one != program for one in simpler(program))
