"""Keep entries in a mapping, which lasts as long as the mapping does.

Separate because tests and short scripts need a store without a file, which never suspends.
Leaves to `stores.file` everything that must survive a crash of the process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from datetime import datetime
from typing import Any

from durable.errors import StoreCorruptError, StoreError, checked_making
from durable.events import plain
from durable.stores.rows import Fields, fields_of, instant, micros, reopened, row_of
from durable.stores.store import Entry, RunQuery, RunRow, derives_from, no_run_before
from durable.timers import shown

_BATCH = "batch/"
_GENERATION = "generation"
_AT_ONCE = 1_000  # runs that are looked at, or facts that are deleted, in one piece of a prune
_UNTOLD = -1 << 62
_OF_A_MAPPING = ("keys", "__getitem__", "__setitem__", "__delitem__", "__iter__", "__len__")

_Fact = tuple[int, str, str, str, bool, int | None, Fields | None, *tuple[Any, ...]]
"""An entry as the mapping holds it: number, run, kind, body, ends_run, keep_until in microseconds, row.

One that sums up its run has an eighth item: earlier releases, which would not know its kind, refuse it. One whose row
has ids of events has an eighth, too, which is False, and these as its ninth.
"""


@checked_making
class DictStore:
    """A dict store keeps entries in a mapping, by default a dict.

    Each appended batch is one item, "batch/<number>": a tuple of tuples of strings, ints, bools and None. So a batch is
    there whole or not at all in any mapping that writes single items whole, such as a `shelve`. Of the mapping only
    item access, `del`, `iter` and `len` are used. Everything is indexed in memory when the store is opened.

    To simulate a crash, open the mapping again, through a new DictStore or the same one, without closing the first. The
    newest opening takes over, and any older one is refused with `StoreError` from then on. "generation" in the mapping
    counts the openings for this. The same holds for two engines over one DictStore: the one that was opened first stops
    at its next record.
    """

    immediate = True
    """`append` never suspends: it may be driven in place."""

    def __init__(self, mapping: MutableMapping[str, Any] | None = None) -> None:
        self.mapping = {} if mapping is None else _checked(mapping)
        self.generation: str | None = None
        self._number = 0
        self._runs: dict[str, list[_Fact]] = {}
        self._kept: list[_Fact] = []

    async def open(self) -> None:
        """Index the mapping's entries, and take over from an earlier opening.

        Raises:
            StoreCorruptError: an item of the mapping is not what a DictStore writes.
        """
        self._number, self._runs, self._kept = 0, {}, []
        for batch in self._batches():
            self._index(batch)
        self.generation = str(self._openings() + 1)
        self.mapping[_GENERATION] = self.generation

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keep a batch of entries in order, all or nothing; never suspend.

        Raises:
            StoreError: not open, another store took over the mapping, or the mapping failed.
        """
        self.keep(entries)

    def keep(self, entries: Sequence[Entry]) -> None:
        """Do what `append` does, without a coroutine."""
        self._check_open()
        if not entries:
            return
        facts: list[_Fact] = []
        number, runs = self._number, self._runs
        for entry in entries:
            number += 1
            run = entry.run
            if entry.row is None and entry.keep_until is None and not entry.sums_up:  # as of nearly every step
                fact: _Fact = (number, run, entry.kind, entry.body, entry.ends_run, None, None)
            else:
                fact = _fact(number, entry)
                if fact[5] is not None:
                    self._kept.append(fact)
            facts.append(fact)
            of_run = runs.get(run)
            if of_run is None:
                runs[run] = [fact]
            else:
                of_run.append(fact)
        try:
            self.mapping[f"{_BATCH}{self._number + 1}"] = tuple(facts)
        except BaseException as error:
            self.generation = None  # R31: after a failure nothing is tried again, and nothing of the index is read
            if not isinstance(error, Exception):
                raise
            raise StoreError(f"the mapping of the store failed, nothing more is kept in it: {error!r}") from error
        self._number = number

    async def unfinished(self, now: datetime) -> AsyncIterator[Entry]:
        """Yield the entries that recovery reads: see `Store.unfinished`."""
        self._check_open()
        at = micros(now)
        facts = {fact[0]: fact for fact in self._kept if fact[5] is not None and fact[5] > at}
        for run, of_run in self._runs.items():
            if run and not of_run[-1][4]:
                last = of_run[-1]
                facts.update((fact[0], fact) for fact in ((last,) if _sums_up(last) else of_run))
        for number in sorted(facts):
            yield _entry(facts[number])

    async def history(self, run: str) -> AsyncIterator[Entry]:
        """Yield every entry of a run in append order.

        The run "" has the facts that belong to no single run.
        """
        self._check_open()
        for fact in tuple(self._runs.get(plain(run), ())):
            yield _entry(fact)

    async def find(self, query: RunQuery) -> list[RunRow]:
        """Return the rows that the query finds, newest run first.

        The newest run is the one whose first entry came last.

        Raises:
            KeyError: the query's `before` is no run that can be found.
        """
        self._check_open()
        found: list[RunRow] = []
        runs = reversed(self._runs.items())
        if query.before is not None and not any(run == query.before and _fields(facts) for run, facts in runs):
            raise no_run_before(query.before)
        for run, facts in runs:
            if len(found) >= query.limit:
                break
            if not _is_of(run, facts[0], query):
                continue
            fields = _fields(facts)
            if fields is not None and _matches(fields, query):
                found.append(row_of(run, fields))
        return found

    async def prune(self, ended_before: datetime) -> int:
        """Delete the runs that ended before an instant: see `FileStore.prune`. This never suspends."""
        return sum([count async for count in self.prunes(ended_before)])

    async def prunes(self, ended_before: datetime, rows: int = _AT_ONCE) -> AsyncIterator[int]:
        """Do what `prune` does piece by piece, of so many rows; yield after each how many runs it has deleted.

        Of each run the last entry goes last: what is left of it, if the process dies, has still ended.
        """
        self._check_open()
        before, named, unnamed = micros(ended_before), list[str](), list[str]()
        runs = list(self._runs)
        for begin in range(0, len(runs), _AT_ONCE):
            self._check_open()
            for run in runs[begin : begin + _AT_ONCE]:
                if (ended := self._ended_at(run)) is not None and ended < before:
                    (unnamed if ended == _UNTOLD else named).append(run)
            yield 0
        gone: list[_Fact] = []
        count = newest = 0
        for run in (*named, *unnamed):
            self._check_open()
            ended = self._ended_at(run)  # it may have been opened again since
            if ended is None or ended >= before or (ended == _UNTOLD and self._runs[run][-1][0] >= newest):
                continue
            gone += self._runs.pop(run)
            if ended != _UNTOLD:
                newest, count = max(newest, gone[-1][0]), count + 1
            if len(gone) >= rows:
                self._drop(gone)
                yield count
                gone, count = [], 0
        past = [fact for fact in self._runs.get("", ()) if fact[5] is not None and fact[5] <= before]
        if past:
            self._runs[""] = [fact for fact in self._runs[""] if fact[5] is None or fact[5] > before]
        self._drop(gone + past)
        yield count

    def _ended_at(self, run: str) -> int | None:
        """Return when a run ended, as its row says, `_UNTOLD` if there is none; None if it has not."""
        facts = self._runs.get(run)
        if not run or not facts or not facts[-1][4]:
            return None
        fields = _fields(facts)
        return _UNTOLD if fields is None or fields[3] is None else fields[3]

    def _drop(self, facts: list[_Fact]) -> None:
        """Delete facts from the mapping, batch by batch in their order."""
        numbers = {fact[0] for fact in facts}
        starts: list[int] = []
        for number in sorted(numbers, reverse=True):
            if not starts or number < starts[-1]:
                starts.append(self._start(number))
        for start in reversed(starts):
            key = f"{_BATCH}{start}"
            left = tuple([fact for fact in self.mapping[key] if fact[0] not in numbers])
            if left:
                self.mapping[key] = left
            else:
                del self.mapping[key]
        if any([fact[5] is not None for fact in facts]):  # noqa: C419
            self._kept = [fact for fact in self._kept if fact[0] not in numbers]

    def _start(self, number: int) -> int:
        """Return the number of the batch that holds a fact: that of its first fact when it was written."""
        while number > 0:
            try:
                self.mapping[f"{_BATCH}{number}"]
            except KeyError:
                number -= 1
            else:
                break
        return number

    async def close(self) -> None:
        """Close the store; the mapping keeps its content.

        Closing a store that is not open does nothing.
        """
        self.generation, self._runs, self._kept = None, {}, []

    def _openings(self) -> int:
        try:
            return int(self.mapping[_GENERATION])
        except KeyError:
            return 0
        except (TypeError, ValueError) as error:
            raise StoreCorruptError(f"the mapping's {_GENERATION!r} is not what a DictStore wrote: {error}") from error

    def _check_open(self) -> None:
        if self.generation is None:
            raise StoreError("the store is not open: open() it first; what is appended now would be lost")
        try:
            current: object = self.mapping[_GENERATION]
        except KeyError:
            current = None
        if current != self.generation:
            raise StoreError("another store has opened the same mapping since: this one is out of date, use the newer")

    def _keys(self) -> Iterator[str]:
        return (key for key in self.mapping if key.startswith(_BATCH))

    def _batches(self) -> Iterator[tuple[_Fact, ...]]:
        try:
            keys = sorted(self._keys(), key=lambda key: int(key[len(_BATCH) :]))
        except ValueError as error:
            raise StoreCorruptError(f"the mapping has an item that no DictStore wrote: {error}") from error
        return (self.mapping[key] for key in keys)

    def _index(self, batch: tuple[_Fact, ...]) -> None:
        runs = self._runs
        try:
            for fact in batch:
                of_run = runs.get(fact[1])
                if of_run is None:
                    runs[fact[1]] = [fact]
                else:
                    of_run.append(fact)
                if fact[5] is not None:
                    self._kept.append(fact)
            self._number = batch[-1][0]
        except (IndexError, TypeError) as error:
            raise StoreCorruptError(f"the mapping has an item that no DictStore wrote: {batch!r:.200}") from error


def _checked(mapping: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if isinstance(mapping, type) or not all(hasattr(mapping, name) for name in _OF_A_MAPPING):
        raise TypeError(
            f"DictStore keeps in a mapping that can be changed, not in {shown(mapping)} ({type(mapping).__name__}): "
            "pass a dict or a shelve, or nothing"
        )
    return mapping


def _fact(number: int, entry: Entry) -> _Fact:
    until, row = entry.keep_until, entry.row
    fact: _Fact = (
        number,
        entry.run,
        entry.kind,
        entry.body,
        entry.ends_run,
        None if until is None else micros(until),
        None if row is None else fields_of(row),
    )
    if row is not None and row.event_ids:
        return (*fact, entry.sums_up, row.event_ids)
    return (*fact, True) if entry.sums_up else fact


def _sums_up(fact: _Fact) -> bool:
    return len(fact) > 7 and fact[7]


def _entry(fact: _Fact) -> Entry:
    _, run, kind, body, ends_run, keep_until, row, *_ = fact
    until = None if keep_until is None else instant(keep_until)
    return Entry(run, kind, body, ends_run, until, None if row is None else row_of(run, row), _sums_up(fact))


def _fields(facts: list[_Fact]) -> Fields | None:
    """Return the fields of a run's latest row.

    If the run was opened again by an entry without a row, the fields are those of an open run.
    """
    ended_later = False
    for place, fact in enumerate(reversed(facts)):
        ended_later = ended_later or (place > 0 and fact[4])
        if fact[6] is not None:
            return reopened(fact[6]) if ended_later else fact[6]
    return None


def _matches(fields: Fields, query: RunQuery) -> bool:
    function, event, opened_at, _, status, _ = fields
    return (
        (query.function is None or query.function == function)
        and (query.event is None or query.event == event)
        and (query.status is None or query.status == (status or "open"))
        and (query.opened_after is None or micros(query.opened_after) <= opened_at)
        and (query.opened_before is None or opened_at < micros(query.opened_before))
    )


def _is_of(run: str, first: _Fact, query: RunQuery) -> bool:
    """Return whether a run with this first fact is of the event and the parent asked for."""
    if query.parent is not None and not derives_from(run, query.parent):
        return False
    id = query.event_id
    return id is None or derives_from(run, id) or (len(first) > 8 and id in first[8])
