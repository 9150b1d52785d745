"""Test the real file store on files as a loss of power or damage leaves them.

Separate because only this module knows which bytes were synced: a commit with `synchronous=FULL` syncs the -wal, and a
checkpoint syncs the database before the -wal is begun anew.
Leaves to `simulated` the deaths of a process, which lose nothing that was written.

After each batch the files are copied twice: when it is acknowledged, and when the checkpoint that may follow is done. A
commit writes to the -wal alone, a checkpoint first to the -wal, then to the database alone. The power goes between two
copies: what the first has is synced, of what the second has in addition any sectors may be there, up to any byte. Then
the store is opened: every acknowledged batch must be there, and of the next one all or nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import attrs

from durable import FileStore, StoreError
from durable.stores.store import Entry, RunRow

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
SECTOR = 512
WAL_HEADER = 32
FULL = 2
RUNS = 5
Files = tuple[bytes, bytes]


@attrs.frozen
class Step:
    """What was written from one copy of the files to the next: the batches that were known to be there before, those
    that may be there during it, and the files. `synced` are those that no loss of power takes back."""

    before: int
    after: int
    synced: Files
    files: Files


def batch(number: int, random: Random) -> list[Entry]:
    """Return the entries of one batch: two runs and a fact, of any size."""
    run = f"r{number % RUNS}"
    row = RunRow(run, "f", "e", NOON) if number < RUNS else None
    size = random.choice((0, 10, 500, 5_000, 90_000))
    return [
        Entry(run, "StepClosed", f"{number}", row=row),
        Entry("all", "StepClosed", f"{number} " + "x" * size),
        Entry("", "EventSent", f"{number}", keep_until=NOON.replace(year=2031)),
    ]


async def written(path: Path, batches: Sequence[list[Entry]]) -> list[Step]:
    """Append batches to a store, and return what was written when."""
    store = FileStore(path)
    await store.open()
    assert store._worker is not None
    is_full = await store._worker.post(lambda: _pragma(store)) >= FULL
    synced = calm = _files(path)
    steps = []
    for number, entries in enumerate(batches):
        await store.append(entries)
        acknowledged = _files(path)
        steps.append(Step(number if is_full else 0, number + 1, synced, (calm[0], acknowledged[1])))
        await store._worker.post(lambda: None)  # done when a checkpoint that follows the commit is
        after = _files(path)
        known = number + 1 if is_full else 0
        steps.append(Step(known, number + 1, (calm[0], acknowledged[1]) if is_full else synced, (calm[0], after[1])))
        base = (calm[0], after[1]) if is_full else synced
        steps.append(Step(known, number + 1, base, (after[0], base[1])))
        calm, synced = after, (after if is_full else synced)
    await store.close()
    return steps


def _pragma(store: FileStore) -> int:
    return int(store._writer.begin().connection.execute("PRAGMA synchronous").fetchone()[0])


def _files(path: Path) -> Files:
    wal = Path(f"{path}-wal")
    return path.read_bytes(), wal.read_bytes() if wal.exists() else b""


def torn(old: bytes, new: bytes, random: Random) -> bytes:
    """Return what may be left of writing `new` over `old`: nothing, all, up to a byte, or some sectors."""
    how = random.choice(("dropped", "kept", "cut", "cut", "sectors", "sectors"))
    if how == "dropped" or old == new:
        return old
    if how == "kept":
        return new
    changed = [at for at in range(0, len(new), SECTOR) if old[at : at + SECTOR] != new[at : at + SECTOR]]
    if how == "cut":
        at = random.choice(changed) + random.randrange(SECTOR)
        return new[:at] + old[at:]
    left = bytearray(new)
    for at in changed:
        if random.random() < 0.5:
            sector = old[at : at + SECTOR]
            left[at : at + SECTOR] = sector + bytes(min(SECTOR, len(new) - at) - len(sector))
    return bytes(left)


def torn_wal(old: bytes, new: bytes, random: Random) -> bytes:
    """Return what may be left of a -wal. One that is begun anew has its header synced before anything else: without
    that, frames of the last one would be taken for newer than the database (SQLite's ticket ff5be73dee)."""
    if old[:WAL_HEADER] == new[:WAL_HEADER] or len(old) <= WAL_HEADER:
        return torn(old, new, random)
    begun = new[:WAL_HEADER] + old[WAL_HEADER:]
    return random.choice((old, begun)) if random.random() < 0.2 else torn(begun, new, random)


async def found(path: Path, files: Files, batches: Sequence[list[Entry]]) -> int:
    """Open a store that consists of these files; return how many batches are there, each of them whole and right.

    Raises:
        AssertionError: half of a batch is there, or something that nobody has written.
        StoreError: it is refused.
    """
    _lay_down(path, files)
    store = FileStore(path)
    await store.open()
    try:
        entries = [entry async for entry in store.unfinished(NOON)]
        count = sum(entry.run == "all" for entry in entries)
        assert entries == list(chain(*batches[:count])), f"{count} batches, but not as written"
        for run in {entry.run for entry in entries if entry.run}:
            assert [one async for one in store.history(run)] == [entry for entry in entries if entry.run == run]
        return count
    finally:
        await store.close()


def _lay_down(path: Path, files: Files) -> None:
    path.write_bytes(files[0])
    if files[1]:
        Path(f"{path}-wal").write_bytes(files[1])


async def loses_power(folder: Path, random: Random, *, batches: int = 60, losses: int = 60) -> Counter[str]:
    """Write batches, then lose the power at random instants of it; return the counts.

    Raises:
        AssertionError: something acknowledged is not there, or half of something is.
    """
    made = [batch(number, random) for number in range(batches)]
    steps = [step for step in await written(folder / "x.db", made) if step.synced != step.files]
    tally: Counter[str] = Counter()
    for number in range(losses):
        step = random.choice(steps)
        left = (torn(step.synced[0], step.files[0], random), torn_wal(step.synced[1], step.files[1], random))
        count = await found(folder / f"lost{number}.db", left, made)
        assert step.before <= count <= step.after, f"{count} batches are there, {step.before} were acknowledged"
        tally.update(cases=1, losses=1, torn=left not in (step.synced, step.files), kept=count > step.before)
        (folder / f"lost{number}.db").unlink()
    tally.update(cases=losses, damages=losses, refused=await _damaged(folder, random, steps, made, losses))
    return tally


async def _damaged(folder: Path, random: Random, steps: Sequence[Step], made: Any, times: int) -> int:
    """Damage what was synced: it is refused, or an earlier whole state; return how often it was refused."""
    refused = 0
    for number in range(times):
        step = random.choice(steps)
        try:
            count = await found(folder / f"damaged{number}.db", _damage(step.files, random), made)
            assert count <= step.after
        except StoreError:
            refused += 1
    return refused


def _damage(files: Files, random: Random) -> Files:
    database, wal = files
    match random.choice(("database", "wal", "cut", "cut database", "gone")):
        case "database":
            return _flipped(database, random), wal
        case "wal":
            return database, _flipped(wal, random) if wal else wal
        case "cut":
            return database, wal[: random.randrange(len(wal) + 1)]
        case "cut database":
            return database[: random.randrange(1, len(database))], wal
        case _:
            return database, b""


def _flipped(content: bytes, random: Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 3, 50))):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)
