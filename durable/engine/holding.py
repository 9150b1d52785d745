"""Look at what debounce and batch hold back, and open it before its time.

Separate because it is about events that have no run yet. `Engine` lists these methods as its own.
Leaves to `gather` what follows from each.
"""

from __future__ import annotations

from typing import Any

from durable.engine.arguments import checked_function, checked_key
from durable.engine.opened import Opened, asked, inside
from durable.engine.run import Run
from durable.functions import Function
from durable.journal import RunOpened
from durable.views import Held, held_of


async def held(engine: Opened, function: Function[Any] | str | None = None) -> list[Held]:
    """Return what debounce and batch hold back, of all functions or of one, in the order in which each began.

    Events are also held for functions that the engine lacks.

    Raises:
        TypeError, ValueError: neither a Function nor an id.
        StoreError: the store has failed.
    """
    runtime = inside(engine, "held")
    name = None if function is None else checked_function(function, "held")
    found = [held_of(group) for group in runtime.state.held.in_order(name)]
    await runtime.journal.synced()  # R31
    return found


async def flush(engine: Opened, function: Function[Any] | str, key: Any = None) -> list[Run[Any]]:
    """Open now what debounce and batch hold back for a function; return the runs.

    With a `key`, a value of the option's expression, only what is held for that is opened; None opens all. What speaks
    against a run at its time, such as its idempotency key, does so now.

    Raises:
        LookupError: the engine has no such function.
        TypeError, ValueError: neither a Function nor an id, or a key that is no value of an expression.
        StoreError: it is not known whether the runs are recorded.
    """
    runtime = asked(engine, "flush", "a step whose handler calls it")
    name, text = engine._registry.found(function, "flush"), checked_key(key)
    opened = runtime.journal.post_all(runtime.decisions.gathering.flushed(name, text, runtime.clock.now()))
    await runtime.journal.synced()
    return [Run(engine, one.run) for one in opened if isinstance(one, RunOpened) and one.group is not None]
