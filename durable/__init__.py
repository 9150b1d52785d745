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
    engine      the ways in: Engine, Run, Sender, `run`, the command line
    testing     test functions and stores
"""

from durable.engine import Engine, Run, Sender, run
from durable.errors import (
    CodecError,
    DriftError,
    DurableError,
    ExpressionError,
    Interrupted,
    InvokeTimeoutError,
    LimitError,
    NestedStepError,
    NonRetriableError,
    RecordedError,
    RetryAfterError,
    RunCancelled,
    RunFailed,
    SignalConflictError,
    StepError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
)
from durable.events import EvaluationError, Event, Signal, expressions
from durable.functions import (
    Cancel,
    Context,
    CurrentStep,
    Function,
    Group,
    Progress,
    Step,
    StepOptions,
    Timeouts,
    TriggerEvent,
    current_context,
    current_step,
    function,
    progress,
)
from durable.journal import Backoff, Limits, converter
from durable.stores import DictStore, Entry, FileStore, RunQuery, RunRow, Store
from durable.timers import Clock, Duration
from durable.views import RunInfo, StepInfo

__all__ = [
    "Backoff",
    "Cancel",
    "Clock",
    "CodecError",
    "Context",
    "CurrentStep",
    "DictStore",
    "DriftError",
    "DurableError",
    "Duration",
    "Engine",
    "Entry",
    "EvaluationError",
    "Event",
    "ExpressionError",
    "FileStore",
    "Function",
    "Group",
    "Interrupted",
    "InvokeTimeoutError",
    "LimitError",
    "Limits",
    "NestedStepError",
    "NonRetriableError",
    "Progress",
    "RecordedError",
    "RetryAfterError",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunInfo",
    "RunQuery",
    "RunRow",
    "Sender",
    "Signal",
    "SignalConflictError",
    "Step",
    "StepError",
    "StepInfo",
    "StepOptions",
    "Store",
    "StoreCorruptError",
    "StoreError",
    "StoreLockedError",
    "Timeouts",
    "TriggerEvent",
    "converter",
    "current_context",
    "current_step",
    "expressions",
    "function",
    "progress",
    "run",
]


def __dir__() -> list[str]:
    # Completion shows the public names, not the modules that they come from.
    return __all__
