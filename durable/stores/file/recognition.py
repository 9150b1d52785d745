"""Recognise what is at a path, without changing anything there.

It is a store, no store yet, a file of another program, or a damaged store.

Separate because what is refused must stay as it was, to the byte, and the error must name what can be done.
Leaves to `schema` the parts of a store, to `wal` the owner of a `-wal`, to `lock` that no other process writes
meanwhile.

SQLite changes files when it opens them: it rolls back a `-journal`, copies a `-wal` into the file and deletes it, makes
a `-shm` or writes it anew. So nothing is opened to write here. A file without a `-wal` is read as immutable. One with a
`-wal` is read in a mode in which SQLite may not touch the `-shm` either, and keeps its own in memory.

A store is made by SQLite in rollback mode, so what an interrupted making leaves is an empty file, a blank database, or
one beside a `-journal` that makes it blank again: all of these are no store yet, and made anew.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from durable.errors import StoreCorruptError, StoreError
from durable.stores.file import guard, schema, wal
from durable.stores.file.beside import check_companions, make_beside
from durable.stores.file.rollback import journal_of
from durable.stores.file.schema import APPLICATION_ID, FORMATS, Mark, pragma, text

_HEAD_BYTES = 100
_LEAST_PAGE = 512
_MODES = slice(18, 20)  # 1 and 1: rollback mode, 2 and 2: WAL


def check_folder(path: str) -> None:
    """Check that there can be a file at a path."""
    try:
        if not stat.S_ISDIR(os.stat(os.path.dirname(path)).st_mode):
            raise NotADirectoryError
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"store {path!r} cannot be made, its folder does not exist: create the folder first") from None
    if os.path.isdir(path):
        raise StoreError(f"store {path!r} is a directory: name a file")


def recognise(path: str) -> bool:
    """Return whether the file is a store, False if there is no store yet.

    Raises:
        StoreCorruptError: the file is not a SQLite file, is cut short, is gone while its `-wal` is still there, or has
            a `-journal` beside it with which SQLite would destroy it.
        StoreError: the path is a directory or has no folder; the database belongs to another application, or has
            another format; or something else has the name of a file that SQLite keeps beside the store.
    """
    check_folder(path)
    check_companions(path, path)
    has_wal = size(f"{path}-wal") > 0
    if not size(path):
        if has_wal:
            raise StoreCorruptError(f"store {path!r} is gone but its -wal is there: restore both, or remove that too")
        return False
    if (journal := journal_of(path)) is not None:
        if journal.is_harmless_to(size(path)):
            return True
        if has_wal or not journal.is_of_nothing or _has_entries(path):
            raise StoreCorruptError(
                f"beside {path!r} stands a -journal of another file, or of a change that another program did not end: "
                f"if that was a change of this file, run `sqlite3 {path} 'PRAGMA quick_check'`, which takes it back; "
                f"else move {path + '-journal'!r} away"
            )
        return False
    return _is_store(path, has_wal)


def _has_entries(path: str) -> bool:
    try:
        connection = schema.connect(path, "ro&immutable=1")
        try:
            return connection.execute("SELECT 1 FROM journal LIMIT 1").fetchone() is not None
        finally:
            connection.close()
    except sqlite3.Error:
        return False


def _is_store(path: str, has_wal: bool) -> bool:
    try:
        connection = schema.connect(path, "ro&immutable=1")
    except sqlite3.Error as error:
        raise StoreError(f"store {path!r} cannot be read: {error}: give this user the right to read it") from error
    try:
        if is_blank(connection) and not has_wal and size(path) >= _LEAST_PAGE:
            return False
        check_owner(connection, path)
        if size(path) % pragma(connection, "page_size") and not has_wal:
            raise StoreCorruptError(f"store {path!r} is cut short, its last page is not whole: restore a copy")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_CORRUPT and has_wal:
            return True  # a crash during a checkpoint leaves the file short, with the rest in the -wal
        raise StoreCorruptError(
            f"{path!r} is not a store, or a damaged one, and was left as it is: {error}: choose another path, or "
            "restore a copy"
        ) from error
    finally:
        connection.close()
    return True


def size(path: str) -> int:
    """Return the size of a file in bytes, 0 if it does not exist."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def is_blank(connection: sqlite3.Connection) -> bool:
    """Return whether a database belongs to no application and has no table."""
    owner, version = pragma(connection, "application_id"), pragma(connection, "user_version")
    return not owner and not version and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def check_owner(connection: sqlite3.Connection, path: str) -> None:
    """Check that a database is a store, in a format that this version knows."""
    owner, version = pragma(connection, "application_id"), pragma(connection, "user_version")
    if owner != APPLICATION_ID:
        if not owner and not version and _has_tables(connection):
            raise StoreError(
                f"{path!r} has the tables of a store, but lost its application_id, as whatever is read in from a "
                "`.dump`, and was left as it is: restore a copy that `VACUUM INTO` made, or one of the closed file"
            )
        raise StoreError(
            f"{path!r} is a SQLite database of something else (application_id {owner:#x}, a store has "
            f"{APPLICATION_ID:#x}) and was left as it is: choose another path"
        )
    if version not in FORMATS:
        known = f"{', '.join(map(str, FORMATS[:-1]))} and {FORMATS[-1]}"
        raise StoreError(
            f"store {path!r} has format {version}, this version of durable reads format {known}: "
            "use the version that wrote it, or a newer one"
        )


def _has_tables(connection: sqlite3.Connection) -> bool:
    try:
        schema.check_tables(connection, "")
    except StoreError:
        return False
    return True


# All possible reasons to refuse a file.


def examine(path: str) -> Mark | None:
    """Return the store's mark as it should be, or None if there is no store yet.

    Only for the holder of the store's lock.

    Raises:
        StoreCorruptError, StoreError: see `FileStore.open`; nothing in the folder was changed.
    """
    check_name(path)
    if not recognise(path):
        return None
    _check_wal(path)
    try:
        return schema.patiently(lambda: _looked_at(path))
    except (sqlite3.Error, StoreCorruptError) as error:
        if schema.is_damage(error) and wal.has_content(path) and _is_whole_alone(path):
            raise StoreCorruptError(
                f"store {path!r} is whole by itself, and damaged together with the -wal that stands beside it, which "
                f"may be another file's: if the store is a copy that was put back, move {path + '-wal'!r} and "
                f"{path + '-shm'!r} away; else restore a copy ({error})"
            ) from error
        raise


def _looked_at(path: str) -> Mark:
    with looking(path) as connection:
        return check(connection, path)


def check(connection: sqlite3.Connection, path: str) -> Mark:
    """Check all that can be seen without reading every row; return the mark (R30)."""
    connection.execute("BEGIN")
    try:
        check_owner(connection, path)
        schema.check_tables(connection, path)
        return check_whole(connection, path)
    finally:
        schema.end(connection)


def check_name(path: str) -> None:
    """Check that a path names a regular file that has no other name.

    Raises:
        StoreError: the file is not a regular one, or has another name as well.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path!r} is no regular file: name one that is, or one that is not there yet")
    if found.st_nlink > 1:
        raise StoreError(
            f"store {path!r} has {found.st_nlink} names (hard links), and what is written under one is missing under "
            "the others: keep one of them, or make a copy under the other name"
        )


def _check_wal(path: str) -> None:
    if not wal.has_content(path):
        return
    head = guard.head(path, _HEAD_BYTES)
    lineage = own_lineage(path)
    if wal.is_foreign(
        path,
        is_wal=head[_MODES] != b"\x01\x01",
        number=None if lineage is None else lineage.number,
        cookie=int.from_bytes(head[40:44]),
    ):
        raise StoreCorruptError(
            f"store {path!r} is not opened, for a -wal of another file stands beside it, as when a copy is put back "
            f"beside what a dead process has left: to use the copy, move {path + '-wal'!r} and {path + '-shm'!r} away; "
            "to go on where the dead process was, put its own file back"
        )


def own_lineage(path: str) -> wal.Lineage | None:
    """Return the lineage in the file itself, without its `-wal`, or None."""
    try:
        connection = schema.connect(path, "ro&immutable=1")
        try:
            row = connection.execute("SELECT last, pruned, runs, forgotten, crc FROM mark WHERE one = 2").fetchone()
            # Where a checkpoint was cut short in the page of the mark, there may be no row without an error.
            is_new = row is None and connection.execute("PRAGMA integrity_check('mark')").fetchone() == (b"ok",)
        finally:
            connection.close()
    except sqlite3.Error:  # a checkpoint was cut short, so the file is whole only together with its -wal
        return None
    return wal.Lineage(0, 0, 0) if is_new else wal.lineage_of(row or ())


def _is_whole_alone(path: str) -> bool:
    try:
        connection = schema.connect(path, "ro&immutable=1")
        try:
            check(connection, path)
        finally:
            connection.close()
    except (sqlite3.Error, StoreError):
        return False
    return True


@contextmanager
def looking(path: str) -> Iterator[sqlite3.Connection]:
    """Give a connection that reads the whole store and changes nothing.

    Only for the holder of the store's lock.
    """
    connection, spare = look(path)
    try:
        yield connection
    finally:
        connection.close()
        spare.take_away()


class SpareTask:
    """A spare is an empty `-shm` that is made for SQLite.

    SQLite needs to see one, but may not make one here.
    """

    def __init__(self, path: str) -> None:
        self._store = path
        self._file: guard.Identity | None = None

    def make(self) -> None:
        """Make the `-shm`, unless it exists."""
        file = make_beside(self._store, "-shm")
        if file is not None:
            found = os.fstat(file)
            self._file = found.st_dev, found.st_ino
            os.close(file)

    def take_away(self) -> None:
        """Delete the `-shm` again, unless a program has begun to use it."""
        which, self._file = self._file, None
        path = f"{self._store}-shm"
        if which is not None and guard.identity(path) == which and not size(path):
            os.unlink(path)


def look(path: str) -> tuple[sqlite3.Connection, SpareTask]:
    """Return a connection that changes nothing, and the spare to delete after its use."""
    spare = SpareTask(path)
    if not wal.has_content(path):
        return schema.connect(path, "ro&immutable=1"), spare
    spare.make()
    try:
        return schema.connect(path, "ro&readonly_shm=1"), spare
    except BaseException:
        spare.take_away()
        raise


def check_whole(connection: sqlite3.Connection, path: str) -> Mark:
    """Check that no row is missing; return the mark as it should be (R30).

    The check reads two indexes, which takes about 10 ms for a million entries.

    Raises:
        StoreCorruptError: a row is missing. The error names it with its run, if the remaining rows show these.
    """
    last, pruned, runs, forgotten = schema.read_mark(connection, path)
    rows = connection.execute("SELECT count(*) FROM journal").fetchone()[0]
    places = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
    last = max(last, _greatest(connection, path, "seq", "journal"))
    runs = max(runs, _greatest(connection, path, "run", "journal"), _greatest(connection, path, "no", "runs"))
    if places + forgotten != runs:
        _lacks(path, f"{runs - places - forgotten} row(s) of its table of runs{_unlisted(connection)}")
    if rows + pruned != last:
        _lacks(path, f"{last - rows - pruned} row(s) of its journal{_gap(connection, pruned)}")
    return last, pruned, runs, forgotten


def _greatest(connection: sqlite3.Connection, path: str, column: str, table: str) -> int:
    found = connection.execute(f"SELECT max({column}) FROM {table}").fetchone()[0]
    if found is not None and type(found) is not int:  # SQLite holds anything for greater than a number
        raise StoreCorruptError(
            f"store {path!r} has {found!r:.50} in the place of a number, in column {column} of table {table}: it is "
            "damaged, restore a copy"
        )
    return found or 0


def _lacks(path: str, what: str) -> NoReturn:
    raise StoreCorruptError(f"store {path!r} lacks {what}: it is damaged, restore a copy")


def _unlisted(connection: sqlite3.Connection) -> str:
    gap = connection.execute(
        "SELECT run, seq FROM journal WHERE run > 0 AND run NOT IN (SELECT no FROM runs) LIMIT 1"
    ).fetchone()
    return "" if gap is None else f" (row {gap[1]} of the journal is of run number {gap[0]}, which is not there)"


def _gap(connection: sqlite3.Connection, pruned: int) -> str:
    gap = (
        connection.execute(
            "SELECT j.prev, r.id, j.run FROM journal j LEFT JOIN runs r ON r.no = j.run "
            "WHERE j.prev > 0 AND j.prev NOT IN (SELECT seq FROM journal) LIMIT 1"
        ).fetchone()
        or connection.execute(
            "SELECT r.last, r.id, r.no FROM runs r WHERE r.last NOT IN (SELECT seq FROM journal) LIMIT 1"
        ).fetchone()
    )
    if gap is not None:
        return f" (row {gap[0]} of run {text(gap[1])!r}, number {gap[2]})"
    if pruned:
        return " (the last one of a run)"
    hole = connection.execute(
        "SELECT min(seq + 1) FROM (SELECT 0 AS seq UNION ALL SELECT seq FROM journal) "
        "WHERE seq + 1 NOT IN (SELECT seq FROM journal)"
    ).fetchone()
    return f" (row {hole[0]}, the last one of a run)"
