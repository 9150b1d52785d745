"""Find the parts of an open engine, and in them a run.

Separate because every method of an engine begins so, in whichever module it stands.
Leaves to `owner` the checks of process and loop, to `engine` the class.
"""

from __future__ import annotations

from typing import Protocol

from durable.engine.answers import no_such_run
from durable.engine.owner import Owner, not_open
from durable.engine.run import Door
from durable.engine.runtime import Runtime
from durable.functions import BODY, Registry, check_not_in_function
from durable.journal import Ledger


class Opened(Door, Protocol):
    """The part of an engine that its methods use. An engine that is not open is one, too: `inside` refuses it."""

    _owner: Owner | None
    _registry: Registry


def inside(engine: Opened, what: str) -> Runtime:
    """Return the parts of an open engine; `what` names the caller.

    Raises:
        RuntimeError: it is not open, was opened by another process, or belongs to another loop.
        StoreError: its store has failed.
    """
    owner = engine._owner
    if owner is None:
        raise not_open(what)
    return owner.entered(what)


def asked(engine: Opened, what: str, instead: str) -> Runtime:
    """Return the parts of an open engine, for a call that a function must not make.

    `what` names the call, `instead` is what a function writes.

    Raises:
        RuntimeError: called in the code of a function; or see `inside`.
        StoreError: see `inside`.
    """
    if BODY.get() is not None:
        check_not_in_function(what, instead)
    if (owner := engine._owner) is None:
        raise not_open(what)
    return owner.entered(what)


async def found(engine: Opened, run_id: str) -> Ledger:
    """Return the ledger of a run, ended or not.

    Raises:
        KeyError: there is no such run.
    """
    if (ledger := await known(engine, run_id)) is None:
        raise no_such_run(run_id, engine._registry.functions)
    return ledger


async def known(engine: Opened, run_id: str) -> Ledger | None:
    """Return the ledger of a run, ended or not, or None if there is none."""
    runtime = inside(engine, "engine")
    if (ledger := runtime.state.whole(run_id)) is None:
        ledger = await runtime.history.ledger(run_id)
        ledger = runtime.state.whole(run_id) or ledger  # opened while the store was read
    return ledger
