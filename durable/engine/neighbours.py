"""Keep track of this process's engines by the file that each has open.

Separate because the lock on a file knows which process holds it, but not which engine, nor whether that one is closing.
Leaves to `owner` the closing of engines, to the store's lock the other processes.

Notebooks need this: a cell that opens an engine is run again, and nobody closes the engine that it made before.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import sys
from typing import Literal

from durable.engine.owner import Owner
from durable.errors import StoreLockedError
from durable.stores import FileStore, Store

IfOpen = Literal["error", "replace"]

_OWNERS: dict[str, Owner] = {}


def checked_if_open(if_open: object) -> IfOpen | None:
    """Return the checked `if_open` of an engine; None means the usual choice of `usual`.

    Raises:
        ValueError: neither "error" nor "replace".
    """
    if if_open in (None, "error", "replace"):
        return if_open
    raise ValueError(f'if_open must be "error" or "replace", not {if_open!r}')


def usual() -> IfOpen:
    """Return "replace" in IPython, where cells are run again, else "error"."""
    ipython = sys.modules.get("IPython")
    running = getattr(builtins, "get_ipython", None) or getattr(ipython, "get_ipython", None)
    return "replace" if callable(running) and running() is not None else "error"


def place_of(store: Store) -> str | None:
    """Return the real path of a file store, or None for any other store."""
    return os.path.realpath(store.path) if isinstance(store, FileStore) else None


async def make_way(place: str | None, if_open: IfOpen) -> None:
    """Wait until no engine of this loop has a file open.

    With "replace", an engine that has the file open is closed. An engine that is closing already is waited for.

    Raises:
        StoreLockedError: with "error", another engine has the file open.
    """
    while place is not None and (owner := _OWNERS.get(place)) is not None and not owner.has_ended:
        if owner.loop is not asyncio.get_running_loop():
            return  # only its own loop can close it: the store's lock refuses this opening
        if not owner.is_closing:
            if if_open == "error":
                raise StoreLockedError(
                    f"store {place!r} is open in this process already, by another engine: close that one before "
                    '(`await engine.close()`), use it, or write Engine(..., if_open="replace"), which closes it'
                )
            owner.runtime.logger.info("store %r is opened by another engine: this one closes", place)
            owner.begin_closing(owner.grace)
        await owner.ended()


def move_in(place: str | None, owner: Owner, *, is_open: bool = False) -> None:
    """Note that an engine opens a file, or has it open.

    An engine of another loop that has it stays noted meanwhile: this opening may well be refused.
    """
    if place is not None:
        for gone in [one for one, other in _OWNERS.items() if other.has_ended]:
            del _OWNERS[gone]
        if is_open or place not in _OWNERS:
            _OWNERS[place] = owner
