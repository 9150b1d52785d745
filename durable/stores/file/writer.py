"""Write batches to a store's file as transactions, and prune it.

Separate because it lives in one thread, under the lock, and nothing else may write.
Leaves to `store` the event loop, to `recognition` the refusing of files, to `connection` the safety of a transaction.

Opening only looks at the file, so a refused file is as it was before. The file is opened to write by the first append,
or by `begin`, after everything has been checked. A store to which nothing was written is closed untouched.

Commits are made in groups. The thread hands over all jobs that were posted during the last commit, and all appends
among them become one transaction, in the order of their posting. An acknowledged append is committed. An append that
was not acknowledged may be committed, too (R31). After a failure nothing is tried again: `failure` is the answer to
every later append.

The place of a run, which is its number and its last row, is kept in memory for the runs lately written, so that an
entry costs one insert. Facts that belong to no single run have number 0 and form no chain, since prune deletes them one
by one. If one is missing, the count in `check_whole` shows it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence

from durable.errors import StoreError
from durable.stores.file import schema
from durable.stores.file.batch import INSERT_BARE, Batch, find_runs
from durable.stores.file.beside import PRIVATE
from durable.stores.file.checksums import RUN_COLUMNS, Place, seal, seal_bare, seal_run, told_of
from durable.stores.file.connection import Patience, WriteConnection
from durable.stores.file.lock import StoreLock
from durable.stores.file.recognition import check_folder, examine
from durable.stores.file.thread import Job, deliver
from durable.stores.file.witness import place_in
from durable.stores.rows import fields_of, reopened
from durable.stores.store import Entry

_UPSERT = f"INSERT OR REPLACE INTO runs ({RUN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NUMBERED = f"SELECT {RUN_COLUMNS} FROM runs WHERE no = ?"

_PLACES = 20_000
_COMMIT_BYTES = 2 * 4096
_ROW_BYTES = 100
PRUNE_ROWS = 250  # an append waits until all of these are deleted, which takes as long as a few commits
_PAGES_A_ROW = 2  # that are given back, in about the time that a row takes


def _nobody() -> None:
    """Do nothing; no reader is looking at the file."""


class Writer:
    """A writer writes to the store at a real path, in a thread of its own.

    `lets_go()` is called before the file is opened to write, and closes the connections that only look at it. `said` is
    called with news about long waits: see `Patience`.
    """

    def __init__(
        self, path: str, synchronous: int, *, said: Callable[[str], None], lets_go: Callable[[], None] = _nobody
    ) -> None:
        self.path = path
        self.failure: StoreError | None = None
        self.patience = Patience(path, said)
        self._said = said
        self._synchronous = synchronous
        self._lets_go = lets_go
        self._lock: StoreLock | None = None
        self._begun: WriteConnection | None = None
        self._known = False
        self._places: dict[str, Place] = {}
        self._last = self._pruned = self._runs = self._forgotten = 0

    def open(self) -> None:
        """Take the lock and examine the file; if it does not exist, make a store.

        Raises:
            StoreLockedError, StoreCorruptError, StoreError: see `FileStore.open`; nothing was changed.
        """
        self.path = os.path.realpath(self.path)
        lock = StoreLock(self.path)
        try:
            check_folder(self.path)
            lock.acquire()
            mark = examine(self.path)
            if lock.claim():  # the lock's file did not exist, so another process may have come in between
                mark = examine(self.path)
        except Exception as error:
            lock.release(refused=True)
            raise schema.failed(self.path, "opening it", error) from schema.reason(error)
        self._known = mark is not None
        try:
            if not self._known:
                self._make(lock)
        except StoreError:
            lock.release(refused=True)
            raise
        except Exception as error:
            lock.release()
            raise StoreError(
                f"store {self.path!r} cannot be made: {error}: mend that and try again, there was nothing in it yet"
            ) from error
        self._last, self._pruned, self._runs, self._forgotten = mark or (0, 0, 0, 0)
        self._lock = lock

    def _make(self, lock: StoreLock) -> None:
        was_there = False
        try:  # the file is made here, since SQLite would make it readable for other users
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), PRIVATE))
        except FileExistsError:
            was_there = True  # another process has made it, with the right permissions, or was interrupted
        lock.guard()
        connection = schema.connect(self.path, "rw")
        try:
            schema.create(connection)
            schema.configure(connection, self.path, self._synchronous)
        except StoreError:  # where no store can be, such as a file system without shared memory, no file is left behind
            connection.close()
            if was_there:
                os.truncate(self.path, 0)
            else:
                os.unlink(self.path)
            raise
        finally:
            connection.close()

    def begin(self) -> WriteConnection:
        """Open the file to write, unless it is open already.

        Raises:
            StoreError: the file does not accept a setting that durability needs, or cannot be written to.
        """
        if self._begun is None:
            if self._lock is None:
                raise StoreError(f"store {self.path!r} is not open: open() it first")
            self._lets_go()
            self._begun = WriteConnection(self.path, self._synchronous, self._lock, self.patience)
        return self._begun

    def close(self) -> None:
        """Write the mark, close the file and release the lock.

        Closing the file copies its `-wal` into it. If the writer is not open, nothing happens.

        Where another program has the file locked for too long, the mark is not written, and the `-wal` stays: as after
        a crash, the next opening takes it in. All that was acknowledged is there.
        """
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            if self._begun is not None:
                try:
                    if self.failure is None:
                        self._sign_if_free(self._begun)
                finally:
                    self._begun.close()
        except (sqlite3.Error, OSError, StoreError) as error:
            raise schema.failed(self.path, "closing it", error) from schema.reason(error)
        finally:
            lock.release(refused=self._begun is None and self._known)

    def perform(self, jobs: Sequence[Job]) -> None:
        """Do jobs in order, with neighbouring appends as one transaction.

        A job's task is a tuple of entries to append, or a callable.
        """
        appends: list[Job] = []
        for job in jobs:
            if isinstance(job.task, tuple):
                appends.append(job)
                continue
            self._commit(appends)
            appends = []
            self._call(job)
        self._commit(appends)
        if self._begun is not None and self.failure is None:
            try:
                self._begun.checkpoint_in_time()
            except Exception as error:
                self._fail(error)

    def _call(self, job: Job) -> None:
        try:
            job.result = job.task()
        except Exception as error:
            job.error = schema.failed(self.path, "writing to it", error)
        deliver((job,))

    def _commit(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        if self.failure is None:
            try:
                if entries := [entry for job in jobs for entry in job.task]:
                    self._write(entries)
            except Exception as error:
                self._fail(error)
        if self.failure is not None:
            for job in jobs:
                job.error = type(self.failure)(str(self.failure))
        deliver(jobs)

    def _write(self, entries: Sequence[Entry]) -> None:
        begun = self._begun or self.begin()
        begun.look_in_time()
        batch = Batch(self._runs)
        self._seal(entries, batch, begun.connection)
        if len(entries) == 1 and batch.bare:
            begun.insert(INSERT_BARE, batch.bare)
        else:
            with begun.transaction() as connection:
                if batch.format > begun.format:
                    schema.raise_format(connection, batch.format)
                    begun.format = batch.format
                batch.put(connection)
        begun.grew(_COMMIT_BYTES + len(entries) * _ROW_BYTES + sum([len(entry.body) for entry in entries]))
        for place in batch.turned.values():
            if not place.open and place.id is not None:
                self._places.pop(place.id, None)
        if len(self._places) > _PLACES:
            self._places.clear()

    def _seal(self, entries: Sequence[Entry], batch: Batch, connection: sqlite3.Connection) -> None:
        places, last = self._places, self._last
        for entry in entries:
            last += 1
            kind = entry.kind
            if is_later := entry.sums_up or kind in schema.LATER_KINDS:
                batch.needs(schema.LATER if kind in schema.LATER_KINDS else schema.SUMMED)
            if not (run := entry.run):
                batch.add(seal(entry, None, last, 0, 0))
                continue
            if (place := places.get(run)) is None:
                self._learn(entries, connection)
                place = places[run]
            is_plain = entry.row is None and not entry.ends_run and entry.keep_until is None
            if not (is_plain and place.open and place.last):
                self._seal_turn(entry, place, last, batch)
            elif is_later:
                batch.add(seal(entry, None, last, place.no, place.last))
            else:
                batch.bare += seal_bare(kind, entry.body, last, place.no, place.last)
            place.last = last
        self._last = last

    def _seal_turn(self, entry: Entry, place: Place, seq: int, batch: Batch) -> None:
        """Seal an entry with which a run opens, ends, is opened again, or shows another row."""
        row, told = entry.row, None
        if row is not None:
            fields = fields_of(row)
            told = told_of(fields)
            if row.event_ids and not place.last:
                batch.openers += [(id, place.no) for id in row.event_ids]
                batch.needs(schema.LATER)
            place.fields, place.told = fields, told
        elif not place.open:
            place.fields, place.told = reopened(place.fields), None
        batch.add(seal(entry, told, seq, place.no, place.last))
        place.open = not entry.ends_run
        batch.turned[place.no] = place

    def _learn(self, entries: Sequence[Entry], connection: sqlite3.Connection) -> None:
        """Put the places of the entries' runs into memory; those that are not in the file are new."""
        places = self._places
        unknown = list({entry.run: True for entry in entries if entry.run and entry.run not in places})
        for record in find_runs(connection, unknown):
            place = place_in(connection, record)
            newest = connection.execute("SELECT max(seq) FROM journal WHERE run = ?", (place.no,)).fetchone()[0]
            place.last = max(newest or 0, place.last)
            places[str(place.id)] = place
        for run in unknown:
            if run not in places:
                self._runs += 1
                places[run] = Place(self._runs, run, True, 0, None)

    def _fail(self, error: Exception) -> None:
        self.failure = schema.failed(self.path, "writing to it", error)
        self.failure.__cause__ = error
        if self._begun is not None:
            self._begun.roll_back()

    def _sign_if_free(self, begun: WriteConnection) -> None:
        try:
            self._sign(begun)
        except StoreError as error:
            if error.__cause__ is None or not schema.is_busy(error.__cause__):
                raise
            self._said(
                f"store {self.path!r} is closed while another program has it locked: all that is recorded is there, "
                "in the file and in its -wal, which stays beside it until the store is opened next: copy both, or none"
            )

    def _sign(self, begun: WriteConnection) -> None:
        mark = self._last, self._pruned, self._runs, self._forgotten
        begun.check_unmoved()
        begun.number(lambda connection: schema.write_mark(connection, mark))

    # Pruning.

    def forget(self, runs: list[int], most: int = PRUNE_ROWS) -> int:
        """Delete the last of these ended runs, at most so many rows, and shorten the list.

        A run with more rows first loses its id, so that no reader finds it any more. If the process crashes then, the
        next prune deletes the rest. Returns how many runs known to `find` are deleted.
        """

        def some(connection: sqlite3.Connection) -> int:
            forgotten, room = 0, most
            while runs and room > 0:
                taken, known = self._forget_run(connection, runs[-1], room)
                forgotten += known
                room -= taken
                if room >= 0:
                    runs.pop()
            return forgotten

        return self._change(some)

    def _forget_run(self, connection: sqlite3.Connection, no: int, room: int) -> tuple[int, int]:
        record = connection.execute(_NUMBERED, (no,)).fetchone()
        place = None if record is None else place_in(connection, record)
        if place is None or place.open:  # the run was opened again since it was chosen
            return 0, 0
        known = int(place.fields is not None)
        taken = self._delete(connection, "run = ?", no, room)
        if taken < room:
            connection.execute("DELETE FROM runs WHERE no = ?", (no,))
            if schema.has_table(connection, schema.BY_EVENT):
                connection.execute(f"DELETE FROM {schema.BY_EVENT} WHERE run = ?", (no,))
            self._forgotten += 1
            return taken + 1, known
        place.id = place.fields = place.told = None
        connection.execute(_UPSERT, seal_run(place))
        return room + 1, known

    def _delete(self, connection: sqlite3.Connection, condition: str, value: int, room: int) -> int:
        chosen = f"SELECT seq FROM journal WHERE {condition} LIMIT ?"
        taken = connection.execute(f"DELETE FROM journal WHERE seq IN ({chosen})", (value, room)).rowcount
        self._pruned += taken
        return taken

    def forget_facts(self, before: int, most: int = PRUNE_ROWS) -> int:
        """Delete at most so many facts whose time has passed, and return their number."""
        return self._change(lambda connection: self._delete(connection, "run = 0 AND keep_until <= ?", before, most))

    def _change(self, act: Callable[[sqlite3.Connection], int]) -> int:
        self._check()
        try:
            begun = self.begin()
            begun.check_unmoved()
            with begun.transaction() as connection:
                done = act(connection)
                schema.write_mark(connection, (self._last, self._pruned, self._runs, self._forgotten))
        except Exception as error:
            self._fail(error)
            raise
        begun.grew(PRUNE_ROWS * 4 * _ROW_BYTES)
        return done

    def _check(self) -> None:
        if self.failure is not None:
            raise type(self.failure)(str(self.failure))

    def vacuum(self, rows: int = PRUNE_ROWS) -> bool:
        """Give free pages back, in the time that so many rows take; return whether there are more."""
        self._check()
        try:
            begun = self.begin()
            if not self.gives_back() or not schema.pragma(begun.connection, "freelist_count"):
                return False
            # It must be a script: as a statement, Python 3.11 ends this pragma after its first page.
            begun.script(f"PRAGMA incremental_vacuum({rows * _PAGES_A_ROW})")
        except Exception as error:
            self._fail(error)
            raise
        begun.grew(rows * _PAGES_A_ROW * 1024)
        return bool(schema.pragma(begun.connection, "freelist_count"))

    def gives_back(self) -> bool:
        """Return whether the file can shrink; a VACUUM may have switched that off."""
        return bool(schema.pragma(self.begin().connection, "auto_vacuum"))
