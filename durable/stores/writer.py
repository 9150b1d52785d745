"""The one connection that writes to a store's file: batches into transactions, pruning, checkpoints.

Separate because it lives in one thread, under the lock, and nothing else may write.
Leaves to `file` the event loop, to `reader` everything that only reads.

Group commit: the worker hands over everything that was posted while the last commit was in flight, and all appends
among it become one transaction, in the order they were posted. What was acknowledged has been committed; what was not
may have been (R31), and once anything has failed, nothing is tried again: `failure` answers every later append.

A place per run (its number and its last row) is kept for the runs lately written, so that an entry costs one insert.
Facts of no single run have number 0 and no row before them: prune takes them one by one, which would tear a chain. The
count in `check_whole` misses them all the same.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from time import monotonic

from durable.errors import StoreError
from durable.stores import schema
from durable.stores.beside import PRIVATE
from durable.stores.lock import StoreLock
from durable.stores.plain import fields_of, reopened
from durable.stores.seal import ENTRY_COLUMNS, RUN_COLUMNS, EntryRow, Place, seal, seal_run
from durable.stores.store import Entry
from durable.stores.witness import place_in
from durable.stores.worker import Job, deliver

_INSERT = f"INSERT INTO journal ({ENTRY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPSERT = f"INSERT OR REPLACE INTO runs ({RUN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PLACE = f"SELECT {RUN_COLUMNS} FROM runs WHERE id = ?"
_NUMBERED = f"SELECT {RUN_COLUMNS} FROM runs WHERE no = ?"

_PLACES = 20_000
_CHECKPOINT_BYTES = 1 << 20  # often: a WAL that is overwritten syncs in half the time of one that grows
_COMMIT_BYTES = 2 * 4096
_ROW_BYTES = 100
_LOOK_S = 0.05  # not at every commit: where a stat makes the next write update times, it costs a third of the rate
_PRUNE_ROWS = 1_000
_VACUUM_PAGES = 500


class Writer:
    """The writing side of the store at `path`, a real path; every method runs in the worker's thread."""

    def __init__(self, path: str, synchronous: int) -> None:
        self.path = path
        self.failure: StoreError | None = None
        self._synchronous = synchronous
        self._lock: StoreLock | None = None
        self._connection: sqlite3.Connection
        self._places: dict[str, Place] = {}
        self._last = self._pruned = self._runs = self._forgotten = 0
        self._unchecked = 0
        self._looked = 0.0
        self._identity: tuple[tuple[int, int], ...] = ()

    def open(self) -> None:
        """Take the lock and open the file, making it a store if there is none.

        Raises:
            StoreLockedError, StoreCorruptError, StoreError: see `FileStore.open`.
        """
        self.path = os.path.realpath(self.path)
        schema.check_folder(self.path)
        lock = StoreLock(self.path)
        lock.acquire()
        try:
            self._open(lock)
            self._lock = lock
        except Exception as error:
            lock.release(refused=True)
            raise schema.failed(self.path, "opening it", error) from error

    def _open(self, lock: StoreLock) -> None:
        known = schema.recognise(self.path)
        if lock.claim():
            known = schema.recognise(self.path)
        if not known:
            self._begin_file()
            lock.guard()
        connection = schema.connect(self.path, "rw" if known else "rwc")
        try:
            if not known:
                schema.create(connection)
            schema.check_owner(connection, self.path)
            schema.configure(connection, self.path, self._synchronous)
            schema.check_tables(connection, self.path)
            self._last, self._pruned, self._runs, self._forgotten = schema.check_whole(connection, self.path)
            self._identity = self._identify()
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _begin_file(self) -> None:
        """Make the empty file of a new store: SQLite would let others read it."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), PRIVATE))
        except FileExistsError:  # somebody has made it, with the rights that it is to have
            return

    def close(self) -> None:
        """Write the mark, close the file, which takes its `-wal` in, and give the lock back; nothing if not open."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            if self.failure is None:
                self._sign()
            self._connection.close()
        except (sqlite3.Error, OSError, StoreError) as error:
            self._connection.close()
            raise schema.failed(self.path, "closing it", error) from error
        finally:
            lock.release()

    def perform(self, jobs: Sequence[Job]) -> None:
        """Do jobs in order, a run of appends as one transaction; a job's task is a tuple of entries or a callable."""
        appends: list[Job] = []
        for job in jobs:
            if isinstance(job.task, tuple):
                appends.append(job)
                continue
            self._commit(appends)
            appends = []
            self._call(job)
        self._commit(appends)
        if self._unchecked >= _CHECKPOINT_BYTES and self.failure is None:
            self._checkpoint()

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
                self._write([entry for job in jobs for entry in job.task])
            except Exception as error:
                self._fail(error)
        if self.failure is not None:
            for job in jobs:
                job.error = type(self.failure)(str(self.failure))
        deliver(jobs)

    def _write(self, entries: Sequence[Entry]) -> None:
        if monotonic() - self._looked > _LOOK_S:
            self._check_unmoved()
        changed: dict[int, Place] = {}
        rows = self._rows(entries, changed)
        if len(rows) == 1 and not changed:  # a statement alone is a transaction, and half as much work as three
            self._connection.execute(_INSERT, rows[0])
        else:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, rows)
            self._connection.executemany(_UPSERT, [seal_run(place) for place in changed.values()])
            self._connection.execute("COMMIT")
        self._unchecked += _COMMIT_BYTES + sum([_ROW_BYTES + len(row[8]) for row in rows])
        for place in changed.values():
            if not place.open and place.id is not None:
                self._places.pop(place.id, None)
        if len(self._places) > _PLACES:
            self._places.clear()

    def _rows(self, entries: Sequence[Entry], changed: dict[int, Place]) -> list[EntryRow]:
        rows: list[EntryRow] = []
        places = self._places
        last = self._last
        for entry in entries:
            last += 1
            if not entry.run:
                rows.append(seal(entry, last, 0, 0))
                continue
            place = places.get(entry.run) or self._place(entry.run)
            rows.append(seal(entry, last, place.no, place.last))
            if entry.ends_run or not place.open or not place.last or entry.row is not None:
                self._turn(place, entry)
                changed[place.no] = place
            place.last = last
        self._last = last
        return rows

    def _place(self, run: str) -> Place:
        record = self._connection.execute(_PLACE, (run,)).fetchone()
        if record is None:
            self._runs += 1
            place = Place(self._runs, run, True, 0, None)
        else:
            place = place_in(self._connection, record)
            newest = self._connection.execute("SELECT max(seq) FROM journal WHERE run = ?", (place.no,)).fetchone()[0]
            place.last = max(newest or 0, place.last)
        self._places[run] = place
        return place

    def _turn(self, place: Place, entry: Entry) -> None:
        if entry.row is not None:
            place.fields = fields_of(entry.row)
        elif not place.open:
            place.fields = reopened(place.fields)
        place.open = not entry.ends_run

    def _fail(self, error: Exception) -> None:
        self.failure = schema.failed(self.path, "writing to it", error)
        self.failure.__cause__ = error
        self._roll_back()

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            return  # SQLite has rolled back by itself, or will when the file is opened next

    def _checkpoint(self) -> None:
        try:
            self._check_unmoved()
            if self._lock is not None:
                self._lock.check()
            self._unchecked = 0
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except Exception as error:
            self._fail(error)

    def _identify(self) -> tuple[tuple[int, int], ...]:
        found = [os.stat(path) for path in (self.path, f"{self.path}-wal")]
        return tuple([(one.st_dev, one.st_ino) for one in found])

    def _check_unmoved(self) -> None:
        """Refuse to write to a file that no opener of the path will ever find again."""
        self._looked = monotonic()
        try:
            found = self._identify()
        except FileNotFoundError:
            found = ()
        if found != self._identity:
            raise StoreError(
                f"store {self.path!r} or its -wal was moved, deleted or replaced while it was open: put both back and "
                "restart; what was appended since is in the files that were open"
            )

    def _sign(self) -> None:
        mark = self._last, self._pruned, self._runs, self._forgotten
        if schema.read_mark(self._connection, self.path) != mark:
            self._check_unmoved()
            self._connection.execute("BEGIN IMMEDIATE")
            schema.write_mark(self._connection, mark)
            self._connection.execute("COMMIT")

    def forget(self, runs: list[int]) -> int:
        """Delete the newest of these ended runs, at most 1,000 rows of them, taking what is done off the list.

        A run that has more rows loses its id first: it is gone for everyone, and a crash leaves a rest without an id
        that the next prune takes. Return how many runs that `find` knew have gone.
        """
        forgotten, room = 0, _PRUNE_ROWS
        self._begin()
        try:
            while runs and room > 0:
                taken, known = self._forget_run(runs[-1], room)
                forgotten += known
                room -= taken
                if room >= 0:
                    runs.pop()
            self._end()
        except Exception as error:
            self._fail(error)
            raise
        return forgotten

    def _forget_run(self, no: int, room: int) -> tuple[int, int]:
        record = self._connection.execute(_NUMBERED, (no,)).fetchone()
        place = None if record is None else place_in(self._connection, record)
        if place is None or place.open:  # opened again since it was chosen
            return 0, 0
        known = int(place.fields is not None)
        taken = self._delete("run = ?", no, room)
        if taken < room:
            self._connection.execute("DELETE FROM runs WHERE no = ?", (no,))
            self._forgotten += 1
            return taken + 1, known
        place.id = place.fields = None
        self._connection.execute(_UPSERT, seal_run(place))
        return room + 1, known

    def _delete(self, condition: str, value: int, room: int) -> int:
        chosen = f"SELECT seq FROM journal WHERE {condition} LIMIT ?"
        taken = self._connection.execute(f"DELETE FROM journal WHERE seq IN ({chosen})", (value, room)).rowcount
        self._pruned += taken
        return taken

    def forget_facts(self, before: int) -> int:
        """Delete at most 1,000 facts of no single run that were to be kept until then; return how many."""
        self._begin()
        try:
            taken = self._delete("run = 0 AND keep_until <= ?", before, _PRUNE_ROWS)
            self._end()
        except Exception as error:
            self._fail(error)
            raise
        return taken

    def _begin(self) -> None:
        if self.failure is not None:
            raise type(self.failure)(str(self.failure))
        self._check_unmoved()
        self._connection.execute("BEGIN IMMEDIATE")

    def _end(self) -> None:
        schema.write_mark(self._connection, (self._last, self._pruned, self._runs, self._forgotten))
        self._connection.execute("COMMIT")
        self._unchecked += _PRUNE_ROWS * 4 * _ROW_BYTES

    def vacuum(self) -> bool:
        """Give up to 500 free pages of the file back; return whether there are more that can be."""
        if self.failure is not None:
            raise type(self.failure)(str(self.failure))
        if not self.gives_back() or not schema.pragma(self._connection, "freelist_count"):
            return False
        # As a script: a statement of this pragma is over after its first page where Python 3.11 steps it.
        self._connection.executescript(f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({_VACUUM_PAGES}); COMMIT;")
        self._unchecked += _VACUUM_PAGES * 1024
        return bool(schema.pragma(self._connection, "freelist_count"))

    def gives_back(self) -> bool:
        """Return whether the file can shrink: not where somebody's VACUUM has set auto_vacuum to none."""
        return bool(schema.pragma(self._connection, "auto_vacuum"))
