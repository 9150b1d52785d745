"""Check that random programs replay as they ran. `python -m tests.proof.replay --help` is the long form.

Separate because the same checks serve a test of half a minute and a hunt of an hour.
Leaves to `processes` the running of a program, to `programs` the programs.

What must hold (R1, R4, R5, R9):
- A full record, replayed from scratch, shows the function exactly what it saw in the process that made the record.
- After a crash, or with only the first k records, the function sees the same as before up to the last turn that is
  whole in what is left; from there on another winner may win, and the new record must replay like any other.
- No handler whose outcome, or whose cancelling, is recorded runs again.
- A program that repeats itself never makes the engine say that its record goes on elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from durable.journal.records import Cancelled, RunRetried, StepClosed
from tests.proof.replay.processes import Broken, Note, Story, numbered, replayed, run
from tests.proof.replay.programs import Part, random_program, simpler

WAYS = ("live", "slow", "crashed")
Check = Callable[[Part, str], Awaitable[int]]


class Listener(logging.Handler):
    """Counts the warnings that a run's record goes on elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "its record goes on" in text or "could not be ended" in text or "do not end" in text:
            self.heard.append(text)


def whole_turns(records: Sequence[Any], cut: int) -> int:
    """Return the last turn that, with all before it, is whole within the first `cut` records."""
    last = 0
    missing = set()
    for number, record in enumerate(records):
        if isinstance(record, StepClosed) and record.turn is not None and not isinstance(record.outcome, Cancelled):
            last = max(last, record.turn)
            if number >= cut:
                missing.add(record.turn)
    return min(missing, default=last + 1) - 1


def attempt_at(records: Sequence[Any], cut: int) -> int:
    """Return which attempt of the function the first `cut` records end in."""
    return sum(isinstance(record, RunRetried) for record in records[:cut])


def check_same(first: Story, second: Story, what: str) -> None:
    """Check that a process that had the full record saw what the one saw that made it."""
    last = attempt_at(first.records, len(first.entries))
    mine, theirs = [first.process.notes.get(last, []), second.process.notes.get(last, [])]
    if mine != theirs or first.result != second.result:
        raise Broken(
            f"{what}: it saw something else than the process that made the record\n{_difference(mine, theirs)}"
        )
    check_calls(first, len(first.entries), second, what)


def check_prefix(first: Story, cut: int, second: Story, what: str) -> None:
    """Check that a process that had the first records saw the same, as far as they tell.

    They tell nothing of a step that ended at its call and is not among them. And once the code has come to all of
    them, a step may end at its call that had not before, where the store allows that.
    """
    records = first.records
    turn, attempt = whole_turns(records, cut), attempt_at(records, cut)
    inline = next((number for number in range(cut, len(records)) if _is_inline(records[number])), len(records))
    mine = [note for note in first.process.notes.get(attempt, []) if note.turn <= turn and note.count <= inline]
    theirs = second.process.notes.get(attempt, [])[: len(mine)]
    if not second.process.is_slow:
        theirs = [note for note in theirs if not note.is_level]
        mine = mine[: len(theirs)]
    if mine != theirs:
        raise Broken(f"{what}: up to turn {turn} it saw something else\n{_difference(mine, theirs)}")
    kept = [entry.body for entry in first.entries[:cut]]
    if [entry.body for entry in second.entries[:cut]] != kept:
        raise Broken(f"{what}: what was recorded did not stay")
    check_calls(first, cut, second, what)


def check_calls(first: Story, cut: int, second: Story, what: str) -> None:
    """Check that no handler ran again whose end is within the cut, or its cancelling in the last attempt."""
    records, attempts = first.records[:cut], attempt_at(second.records, len(second.entries))
    closed = {
        record.key
        for number, record in enumerate(records)
        if isinstance(record, StepClosed) and (not _was_cancelled(record) or attempt_at(records, number) == attempts)
    }
    again = closed.intersection(second.process.calls)
    if again:
        raise Broken(f"{what}: handlers ran again although their end is recorded: {sorted(again)}")


def _is_inline(record: Any) -> bool:
    return isinstance(record, StepClosed) and record.turn is None and not isinstance(record.outcome, Cancelled)


def _was_cancelled(record: Any) -> bool:
    return isinstance(record, StepClosed) and isinstance(record.outcome, Cancelled)


def _difference(mine: list[Note], theirs: list[Note]) -> str:
    same = 0
    while same < min(len(mine), len(theirs)) and mine[same] == theirs[same]:
        same += 1
    lines = [f"  {note.turn:3} {note.text}" for note in mine[max(0, same - 5) : same]]
    lines += [f"- {note.turn:3} {note.text}" for note in mine[same : same + 6]]
    lines += [f"+ {note.turn:3} {note.text}" for note in theirs[same : same + 6]]
    return "\n".join(lines)


def cuts(story: Story, every: int | None, random: Random) -> Sequence[int]:
    """Return after how many records to cut: each k-th, from one of the first k on; None: k is a quarter of them."""
    places = range(1, len(story.entries))
    every = every or -(-len(places) // 4)
    return places[random.randrange(min(every, len(places))) :: every]


async def check(program: Part, seed: str, *, every: int | None = None, ways: Sequence[str] = WAYS) -> int:
    """Check everything that must hold of a program, made in these ways; return how many processes it took.

    `every`: each record is cut after every so many of its entries; None: after every quarter of it.

    Raises:
        Broken: something does not hold.
    """
    listener = Listener()
    logger = logging.getLogger("durable")
    logger.addHandler(listener)
    try:
        processes = [await _check(program, f"{seed}/{way}", way, every) for way in ways]
    finally:
        logger.removeHandler(listener)
    if listener.heard:
        raise Broken(f"the engine complains of a program that repeats itself: {listener.heard[0]}")
    return sum(processes)


async def _check(program: Part, seed: str, way: str, every: int | None) -> int:
    random = Random(f"{seed}/cuts")
    slow = f"{seed}/slow" if way == "slow" or (way == "crashed" and random.random() < 0.5) else ""
    story = await run(program, f"{seed}/first", slow=slow, crashes=6 if way == "crashed" else 0)
    slowly = random.choice(("", f"{seed}/2"))
    check_same(story, await replayed(story, program, f"{seed}/again", slow=slowly), f"{way}, replayed")
    places = cuts(story, every, random)
    for cut in places:
        what = f"{way}, cut after {cut} of {len(story.entries)} records"
        slowly = random.choice(("", f"{seed}/3/{cut}"))
        second = await run(program, f"{seed}/cut {cut}", story.entries[:cut], slow=slowly)
        check_prefix(story, cut, second, what)
        check_same(second, await replayed(second, program, f"{seed}/cut {cut} again"), f"{what}, replayed")
    return 2 + 2 * len(places)


# Hunting.


async def shrunk(program: Part, seed: str, seconds: float, how: str, checks: Check) -> Part:
    """Return the smallest program found in some seconds that breaks in the same way with the same seed."""
    until = time.monotonic() + seconds
    found = True
    while found:
        found = False
        for smaller in sorted(simpler(program), key=lambda one: one.size):
            if time.monotonic() > until:
                return program
            if smaller.size <= program.size and _way(await _breaks(smaller, seed, checks)) == how:
                program, found = smaller, True
                break
    return program


def _way(broken: str) -> str:
    kind = broken.partition(":")[0]
    for words in ("saw something else", "ran again", "complains", "not ended", "did not stay"):
        if words in broken:
            return f"{kind}: {words}"
    return kind


async def _breaks(program: Part, seed: str, checks: Check) -> str:
    try:
        await checks(program, seed)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def check_seed(
    seed: str, *, every: int | None = None, ways: Sequence[str] = WAYS, shrinking: float = 20.0
) -> int:
    """Check the program of a seed; if it breaks, tell the shortest story found that does.

    Raises:
        Broken: something does not hold.
    """
    program, checks = random_program(Random(seed)), partial(check, every=every, ways=ways)
    try:
        return await checks(program, seed)
    except Exception as error:
        small = await shrunk(program, seed, shrinking, _way(f"{type(error).__name__}: {error}"), checks)
        again = await _breaks(small, seed, checks) or f"{type(error).__name__}: {error}"
        raise Broken(f"seed {seed!r} ({program.size} parts, shrunk to {small.size}):\n{small}\n{again}") from error


async def _hunt(first: int, programs: int, seed: str, every: int | None, ways: Sequence[str]) -> int:
    asyncio.get_running_loop().set_task_factory(numbered)
    begun, processes, broken = time.monotonic(), 0, 0
    for number in range(first, first + programs):
        try:
            processes += await check_seed(f"{seed}/{number}", every=every, ways=ways)
        except Broken as error:
            broken += 1
            print(f"\nprogram {number}: {error}")
            asked = f" --every {every}" if every else ""
            print(f"  again: python -m tests.proof.replay --seed {seed} --first {number} --programs 1{asked}")
    seconds = time.monotonic() - begun
    print(f"{programs} programs, {processes} processes, {broken} broken, {programs / seconds:.1f} programs/s")
    return broken


def main() -> None:
    """Check many programs."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.replay", description=main.__doc__)
    parser.add_argument("--programs", type=int, default=500)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--first", type=int, default=0, help="the number of the first program of the seed")
    parser.add_argument("--ways", nargs="*", default=WAYS, help="live, slow, crashed")
    parser.add_argument("--every", type=int, metavar="K", help="cut after each K-th record; else after each quarter")
    given = parser.parse_args()
    logging.getLogger("durable").propagate = False
    logging.getLogger("asyncio").disabled = True
    raise SystemExit(bool(asyncio.run(_hunt(given.first, given.programs, given.seed, given.every, given.ways))))
