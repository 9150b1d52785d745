"""Define what users write: `@function`, the context, the steps.

A call of a step method becomes one frozen request.

Separate because a function sees only this room of the library, in which there are no tasks and no stores.
Leaves to `scheduler` the carrying out of requests.
"""

from durable.functions.annotations import return_type
from durable.functions.context import Context, Group, current_context
from durable.functions.crons import TriggerCron, TriggerEvery, checked_rule
from durable.functions.current import (
    BODY,
    CURRENT,
    CurrentStep,
    Progress,
    Trying,
    check_not_in_function,
    check_not_nested,
    check_outside,
    current_step,
    current_try,
    is_own,
    progress,
    progress_of,
    running_body,
)
from durable.functions.flow import Batch, Concurrency, Debounce, Priority, RateLimit, Singleton, Throttle
from durable.functions.function import Function, declaration_of, function, policy_of
from durable.functions.handler import Handler, Handling, Spans, checked_handler
from durable.functions.options import StepOptions, Timeouts, checked_signal, checked_step_id
from durable.functions.registry import Registry, check_function, check_listed
from durable.functions.request import (
    InvokeRequest,
    Request,
    SendRequest,
    SignalRequest,
    SleepRequest,
    WaitForEventRequest,
    WaitForSignalRequest,
)
from durable.functions.step import Step
from durable.functions.triggers import Cancel, TriggerEvent

__all__ = [
    "BODY",
    "CURRENT",
    "Batch",
    "Cancel",
    "Concurrency",
    "Context",
    "CurrentStep",
    "Debounce",
    "Function",
    "Group",
    "Handler",
    "Handling",
    "InvokeRequest",
    "Priority",
    "Progress",
    "RateLimit",
    "Registry",
    "Request",
    "SendRequest",
    "SignalRequest",
    "Singleton",
    "SleepRequest",
    "Spans",
    "Step",
    "StepOptions",
    "Throttle",
    "Timeouts",
    "TriggerCron",
    "TriggerEvent",
    "TriggerEvery",
    "Trying",
    "WaitForEventRequest",
    "WaitForSignalRequest",
    "check_function",
    "check_listed",
    "check_not_in_function",
    "check_not_nested",
    "check_outside",
    "checked_handler",
    "checked_rule",
    "checked_signal",
    "checked_step_id",
    "current_context",
    "current_step",
    "current_try",
    "declaration_of",
    "function",
    "is_own",
    "policy_of",
    "progress",
    "progress_of",
    "return_type",
    "running_body",
]
