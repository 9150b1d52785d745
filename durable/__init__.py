"""Durable execution for Python without a server: Inngest's step API in one asyncio process.

A function is an ordinary coroutine function. Each of its steps is recorded in a store. After a crash the function is
called again, and every finished step answers from the store.

    import durable

    @durable.function("shop/order.placed")
    async def fulfil(ctx: durable.Context) -> str:
        charge = await ctx.step.run("charge", charge_card, ctx.event.data["card"])
        await ctx.step.sleep("cool off", "24h")
        return await ctx.step.run("ship", ship, charge)
"""

import durable.expressions as expressions
from durable.claims import CurrentStep, current_step
from durable.clock import Clock
from durable.context import Context, Group
from durable.engine import Engine
from durable.errors import (
    CodecError,
    DriftError,
    DurableError,
    ExpressionError,
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
from durable.expressions import EvaluationError
from durable.function import Cancel, Function, Timeouts, TriggerEvent, function
from durable.limits import Limits
from durable.options import StepOptions
from durable.records import Event, Signal
from durable.retries import Backoff
from durable.run import Run
from durable.script import run
from durable.sender import Sender
from durable.step import Step
from durable.stores.dict import DictStore
from durable.stores.file import FileStore
from durable.stores.store import Entry, RunQuery, RunRow, Store
from durable.times import Duration
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
    "InvokeTimeoutError",
    "LimitError",
    "Limits",
    "NestedStepError",
    "NonRetriableError",
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
    "current_step",
    "expressions",
    "function",
    "run",
]


def __dir__() -> list[str]:
    # Completion shows the public names, not the modules that they come from.
    return __all__
