"""Check a whole store, and say what is damaged, run by run.

Separate because an opening checks that no row is missing, but reads only what has not ended: this reads all.
Leaves to `stores.file.survey` the rows and their checksums, to `journal` the folding, to the command line the printing.

It changes nothing, and may be done while an engine has the store open.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial

import attrs

from durable.engine.messages import read_sent
from durable.errors import StoreCorruptError, StoreError
from durable.journal import RunOpened, folded, read
from durable.stores import (
    Entry,
    FileReader,
    Inbox,
    StoreThread,
    Surveyed,
    perform_each,
    survey_facts,
    survey_pages,
    survey_runs,
)
from durable.timers import on_a_line

_PATIENCE = 5.0  # seconds for an inbox that somebody has locked


@attrs.frozen
class Damage:
    """A damage is one thing that is wrong in a store.

    Attributes:
        run: the id of the run that it concerns; "" for facts of no single run; None if it is known of no run.
        what: what is wrong, and what to do.
    """

    run: str | None
    what: str


@attrs.frozen
class Checkup:
    """A checkup says whether a store is whole.

    Attributes:
        path: the store's file.
        runs: how many runs there are.
        entries: how many entries are undamaged, those included that belong to no run.
        waiting: how many messages wait in the inbox; None if that cannot be read.
        damages: what is wrong; empty if all is well.
    """

    path: str
    runs: int
    entries: int
    waiting: int | None
    damages: tuple[Damage, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages

    def __str__(self) -> str:
        """Return the checkup in lines: what was read, then each damage."""
        inbox = "the inbox cannot be read" if self.waiting is None else f"{self.waiting:,} messages wait in the inbox"
        head = f"{self.path}: {self.runs:,} runs, {self.entries:,} entries; {inbox}"
        if self.is_whole:
            return f"{on_a_line(head)}\nevery checksum is right, no row is missing, every run folds"
        named = (f"run {one.run!r}: {one.what}" if one.run else one.what for one in self.damages)
        damaged = "1 thing is" if len(self.damages) == 1 else f"{len(self.damages):,} things are"
        return "\n".join(map(on_a_line, [head, f"{damaged} damaged:", *named]))

    def to_dict(self) -> dict[str, object]:
        """Return the attributes in a form that JSON can hold."""
        return attrs.asdict(self)


def _is_run(found: Surveyed) -> bool:
    # Facts that hold until another replaces them are kept as runs, too, and are none to a user.
    is_opened = any(entry.kind == RunOpened.__name__ for entry in found.entries)
    return is_opened or bool(found.run and found.damages)


async def check(path: str | os.PathLike[str]) -> Checkup:
    """Read every row of a store, and return what is damaged.

    Checked are the file's pages, the checksum of each row, that none is missing, that each run's records can be read
    and follow from one another, and the messages in the inbox.

    Raises:
        TypeError, ValueError: not a path of a store.
        StoreError: there is no store, it cannot be read, or belongs to another program or has an unknown format.
    """
    file = FileReader(path)
    try:
        await file.open()
    except StoreCorruptError as error:  # what is missing is known only of the whole, so no run can be read for sure
        return Checkup(file.path, 0, 0, None, (Damage(None, str(error)),))
    damages, runs, entries = list[Damage](), 0, 0
    try:
        damages += [Damage(None, f"{found}: restore a copy") for found in await file.ask(survey_pages)]
        async for found in _surveyed(file):
            runs += _is_run(found)
            entries += len(found.entries)
            damages += [Damage(found.run, one) for one in _damages(found)]
    except StoreError as error:
        damages.append(Damage(None, str(error)))
    finally:
        await file.close()
    waiting, refused = await _inbox(file.path)
    return Checkup(file.path, runs, entries, waiting, (*damages, *refused))


async def _surveyed(file: FileReader) -> AsyncIterator[Surveyed]:
    after = 0
    while (facts := await file.ask(partial(survey_facts, after))) is not None:
        yield facts
        after = facts.at
    after = 0
    while runs := await file.ask(partial(survey_runs, after)):
        for one in runs:
            yield one
        after = runs[-1].at


def _damages(found: Surveyed) -> Iterator[str]:
    """Yield what is damaged in a run, or in facts: in its rows, or else in what they say."""
    if found.damages:
        yield from found.damages
    elif found.run:
        yield from _unfolded(found.entries)
    elif found.run == "":
        for entry in found.entries:
            yield from _unread(entry)


def _unfolded(entries: Iterable[Entry]) -> Iterator[str]:
    try:
        folded(entries)
    except Exception as error:  # whatever a damaged record leads to
        yield _told(error)


def _unread(entry: Entry) -> Iterator[str]:
    try:
        read(entry.kind, entry.body)
    except Exception as error:
        yield f"a {entry.kind} of no single run: {_told(error)}"


def _told(error: Exception) -> str:
    name = "" if isinstance(error, StoreError) else f"{type(error).__name__}: "
    return f"{name}{error}: open the store with the version that wrote it, or restore a copy"


async def _inbox(store: str) -> tuple[int | None, list[Damage]]:
    thread = StoreThread("durable-check", perform_each)
    try:
        found: tuple[int | None, list[Damage]] = await thread.post(partial(_looked, store))
        return found
    finally:
        thread.stop()


def _looked(store: str) -> tuple[int | None, list[Damage]]:
    inbox = Inbox(os.path.realpath(store), patience=_PATIENCE)
    seen: dict[str, None] = {}
    refused: list[Damage] = []
    try:
        while messages := inbox.look(seen):
            for message in messages:
                seen[message.id] = None
                try:
                    read_sent(message.kind, message.body)
                except ValueError as error:
                    refused.append(Damage(None, f"message {message.id} in the inbox: {error}"))
    except StoreError as error:
        return None, [Damage(None, str(error))]
    return len(seen), refused
