"""Neighbours: the engines of this process, by the file that each has open.

Separate because the lock on a file knows that this process has it, but not which engine does, nor that it is closing.
Leaves to `owner` the closing, to the store's lock the other processes.

A notebook runs the cell that opens an engine again, and nobody closes the one that it made before.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import sys
from typing import Literal

from durable.errors import StoreLockedError
from durable.owner import Owner
from durable.stores.file import FileStore
from durable.stores.store import Store

IfOpen = Literal["error", "replace"]

_OWNERS: dict[str, Owner] = {}


def checked_if_open(if_open: object) -> IfOpen | None:
    """Return what is to be done where this process has the store open; None: as it is usual where the engine runs.

    Raises:
        ValueError: neither "error" nor "replace".
    """
    if if_open in (None, "error", "replace"):
        return if_open
    raise ValueError(f'if_open must be "error" or "replace", not {if_open!r}')


def usual() -> IfOpen:
    """Return "replace" in IPython, where a cell is run again and again, else "error"."""
    ipython = sys.modules.get("IPython")
    running = getattr(builtins, "get_ipython", None) or getattr(ipython, "get_ipython", None)
    return "replace" if callable(running) and running() is not None else "error"


def place_of(store: Store) -> str | None:
    """Return the file in which a store is, None where it is in none."""
    return os.path.realpath(store.path) if isinstance(store, FileStore) else None


async def make_way(place: str | None, if_open: IfOpen) -> None:
    """Wait until no engine of this loop has a file open. One that is closing is waited for; another one is closed, or
    the reason to refuse.

    Raises:
        StoreLockedError: another engine has it open, and is not to be replaced.
    """
    while place is not None and (owner := _OWNERS.get(place)) is not None and not owner.has_ended:
        if owner.loop is not asyncio.get_running_loop():
            return  # nobody here can close it: the store's lock says the rest
        if not owner.is_closing:
            if if_open == "error":
                raise StoreLockedError(
                    f"store {place!r} is open in this process already, by another engine: close that one before "
                    '(`await engine.close()`), use it, or write Engine(..., if_open="replace"), which closes it'
                )
            owner.runtime.logger.info("store %r is opened by another engine: this one closes", place)
            owner.begin_closing(owner.grace)
        await owner.ended()


def move_in(place: str | None, owner: Owner) -> None:
    """Take down that an engine opens a file."""
    if place is not None:
        for gone in [one for one, other in _OWNERS.items() if other.has_ended]:
            del _OWNERS[gone]
        _OWNERS[place] = owner
