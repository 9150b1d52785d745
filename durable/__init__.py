"""Durable execution for Python without a server: Inngest's step API in one asyncio process.

A function is an ordinary coroutine function. Each of its steps is recorded in a store. After a crash the function is
called again, and every finished step answers from the store.

    import durable

    @durable.function("shop/order.placed")
    async def fulfil(ctx: durable.Context) -> str:
        charge = await ctx.step.run("charge", charge_card, ctx.event.data["card"])
        await ctx.step.sleep("cool off", "24h")
        return await ctx.step.run("ship", ship, charge)

The library has ten rooms. Each imports only from the rooms above it in this list:

    timers      measure time: durations, clocks, the wheel of deadlines
    errors      the exceptions that users see
    events      events and signals, filters over them, the event bus
    stores      keep entries: in a dict, in a SQLite file, or in a store of your own
    journal     records, their text, the rules between them, the single writer
    functions   what users write: `@function`, the context, the steps
    views       show a run: values, a list, a timeline
    scheduler   run functions as tasks; deliver outcomes, retry, park, recover
    engine      the ways in: Engine, Run, Sender, Reader, `run`, the command line
    testing     test functions and stores

`import durable` itself loads none of them: all but `testing` are loaded when the first name is used. So a daemon that
gives up its rights, or changes its root, first declares its functions. What type checkers and editors read is
`__init__.pyi`.
"""

import gc
from importlib import import_module

_NAMES = {
    "engine": "Engine Reader Run Sender run",
    "errors": "CodecError DriftError DurableError ExpressionError Interrupted InvokeTimeoutError LimitError "
    "NestedStepError NonRetriableError RateLimitedError RecordedError RetryAfterError RunCancelled RunFailed "
    "SignalConflictError StepError StoreCorruptError StoreError StoreLockedError",
    "events": "EvaluationError Event Signal expressions",
    "functions": "Batch Cancel Concurrency Context CurrentStep Debounce Function Group Priority Progress RateLimit "
    "Singleton Step StepOptions Throttle Timeouts TriggerCron TriggerEvent TriggerEvery "
    "current_context current_step function progress",
    "journal": "Backoff Limits converter",
    "stores": "DictStore Entry FileStore RunQuery RunRow Store",
    "timers": "Clock Duration",
    "views": "Health Held RunInfo Schedule StepInfo Wait Why",
}
_ROOM_OF = {name: room for room, names in _NAMES.items() for name in names.split()}
_ROOMS = frozenset("timers errors events stores journal functions views scheduler engine testing".split())

# What is looked for here in vain: the tools for tests, and names of other libraries.
_OF_TESTING = "Dies FailingStore Lab StuckError TortureReport VirtualClock replay store_contract torture"
_INSTEAD = {name: f"durable.testing.{name}" for name in _OF_TESTING.split()}
_INSTEAD |= {"create_function": "@durable.function", "step": "ctx.step, in a function", "send": "engine.send"}

__all__ = sorted(_ROOM_OF)


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return import_module(f"durable.{name}")
    if name not in _ROOM_OF:
        hint = f": write {_INSTEAD[name]}" if name in _INSTEAD else ""
        raise AttributeError(f"module 'durable' has no attribute {name!r}{hint}")
    _load()
    found = globals()[name] = getattr(import_module(f"durable.{_ROOM_OF[name]}"), name)
    return found


def _load() -> None:
    """Load all rooms at once: later the process may have no right to read more."""
    looks_for_garbage = gc.isenabled()
    gc.disable()  # modules stay: to look for garbage among them takes a twelfth of the time, and finds nothing
    try:
        import_module("durable.engine")
    finally:
        if looks_for_garbage:
            gc.enable()
            gc.collect()  # once, and here: else all of them are gone through in the middle of the first work


def __dir__() -> list[str]:
    # Completion shows the public names, not the modules that they come from.
    return __all__
