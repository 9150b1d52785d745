"""Find or make the files beside a store, and check them before use.

They are its lock, its inbox and its live file.

Separate because every user who may write to the folder can put anything there under these names.
Leaves to `lock`, `inbox` and `live` the content of the files.

A name is opened without following links, and the opened file is checked by its descriptor: it must be a regular file
with one name, owned by a user who may write to the store as well. Rights and owner are set by the descriptor, too. So
an owner of the folder cannot make another user create, truncate or give away a file through a link. Source: CWE-59,
CWE-367.

SQLite opens its own files by name. It follows no link there, but it writes into a file that has another name, too, and
reading from a named pipe waits for ever. So what lies at these names is checked before SQLite opens anything.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from durable.errors import StoreError

COMPANIONS = ("-wal", "-shm", "-journal")
PRIVATE = 0o600  # the permissions of a new store: the data that its functions get may be private
_CAREFUL = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
READ, _OPEN = os.O_RDONLY | _CAREFUL, os.O_RDWR | _CAREFUL
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_LINKS = frozenset({errno.ELOOP, getattr(errno, "EMLINK", errno.ELOOP)})
_BY_FOLDER = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd
_TRIES = 10
_AWAY = "take it away"
_OWN = "put the file itself there, or move it away if it is not the store's own"


def open_beside(store: str, suffix: str, *, make: bool) -> int | None:
    """Return a descriptor of the file `<store><suffix>`, to read and write.

    None if there is no file and `make` is false. A file that is made gets the rights of the store, and its owner if
    root makes it. Without a store, only the maker has rights.

    Raises:
        StoreError: it is a link, not a regular file, has another name too, or is somebody's who has no say here.
        OSError: it cannot be opened, or made.
    """
    folder = os.open(os.path.dirname(store), _FOLDER) if _BY_FOLDER else None
    try:
        for _ in range(_TRIES):  # the file may appear or vanish between two looks
            file = _open(store, suffix, folder, make)
            if file is not None or not make:
                return file
        raise OSError(errno.EAGAIN, "it comes and goes", f"{store}{suffix}")
    finally:
        if folder is not None:
            os.close(folder)


def make_beside(store: str, suffix: str) -> int | None:
    """Make a file and return its descriptor, or None if the name was taken."""
    folder = os.open(os.path.dirname(store), _FOLDER) if _BY_FOLDER else None
    try:
        path = f"{store}{suffix}"
        return _made(path if folder is None else os.path.basename(path), folder, _store(store, folder))
    finally:
        if folder is not None:
            os.close(folder)


def _open(store: str, suffix: str, folder: int | None, make: bool) -> int | None:
    path = f"{store}{suffix}"
    name = path if folder is None else os.path.basename(path)
    like = _store(store, folder)
    try:
        file = os.open(name, _OPEN, dir_fd=folder)
    except FileNotFoundError:
        return _made(name, folder, like) if make else None
    except OSError as error:
        if error.errno in _LINKS:
            raise StoreError(f"{path!r} is a link, which is not followed: {_AWAY}") from error
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise StoreError(f"{path!r} is no regular file: {_AWAY}") from error
        raise OSError(error.errno, error.strerror, path) from error
    try:
        check_file(path, os.fstat(file), like)
    except BaseException:
        os.close(file)
        raise
    return file


def _store(store: str, folder: int | None) -> os.stat_result | None:
    try:
        return os.stat(store if folder is None else os.path.basename(store), dir_fd=folder)
    except FileNotFoundError:
        return None


def _made(name: str, folder: int | None, like: os.stat_result | None) -> int | None:
    try:
        file = os.open(name, _OPEN | os.O_CREAT | os.O_EXCL, PRIVATE, dir_fd=folder)
    except FileExistsError:
        return None
    try:
        if like is not None and sys.platform != "win32":
            _hand_over(file, like)
    except BaseException:
        os.close(file)
        raise
    return file


def _hand_over(file: int, like: os.stat_result) -> None:
    """Give a new file the rights of the store.

    It also gets the store's owner and group, as far as this user may set them.
    """
    if not os.geteuid():
        os.fchown(file, like.st_uid, like.st_gid)
    elif os.fstat(file).st_gid != like.st_gid:
        try:
            os.fchown(file, -1, like.st_gid)
        except PermissionError:
            os.fchmod(file, stat.S_IMODE(like.st_mode) & 0o606)  # without rights for a group other than the store's
            return
    os.fchmod(file, stat.S_IMODE(like.st_mode) & 0o666)


def check_companions(path: str, store: str) -> None:
    """Check the files at the names of those that SQLite keeps beside a file.

    Raises:
        StoreError: a file is a link, is not a regular file, has another name too, or belongs to a user without rights
            to the store.
    """
    like = _store(store, None)
    for suffix in COMPANIONS:
        name = f"{path}{suffix}"
        try:
            found = os.stat(name, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(found.st_mode):
            raise StoreError(f"{name!r} is a link, which is not followed: {_OWN}")
        check_file(name, found, like, _OWN)


def check_file(path: str, found: os.stat_result, like: os.stat_result | None, remedy: str = _AWAY) -> None:
    """Check that a file was not put there by a user without rights to the store.

    `like` is the status of the store's file, or None if there is no store.

    Raises:
        StoreError: it is not a regular file, has another name too, or is somebody's who may not write to the store.
    """
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path!r} is no regular file: {remedy}")
    if found.st_nlink > 1:
        raise StoreError(f"{path!r} has {found.st_nlink} names, so it may be another file's: {remedy}")
    if not _is_trusted(found, like):
        raise StoreError(
            f"{path!r} belongs to user {found.st_uid}, who may not write to the store: {remedy}, or give it to "
            "the store's owner"
        )


def _is_trusted(found: os.stat_result, like: os.stat_result | None) -> bool:
    if sys.platform == "win32" or found.st_uid in (0, os.geteuid()):
        return True
    if like is None:
        return False
    shared = like.st_mode & stat.S_IWGRP and found.st_gid == like.st_gid
    return bool(found.st_uid == like.st_uid or shared or like.st_mode & stat.S_IWOTH)
