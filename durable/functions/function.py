"""Define functions, which are coroutine functions together with their options for the engine.

Separate because a function is a plain value: several engines may share one, and declaring it starts nothing.
Leaves to `scheduler` to run it.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

import attrs

from durable.events import Expression, checked_name, is_str, plain
from durable.functions.context import Context
from durable.functions.crons import TriggerCron, TriggerEvery, rule_of_ticks
from durable.functions.flow import Batch, Concurrency, Debounce, Priority, RateLimit, Singleton, Throttle, flow_of
from durable.functions.handler import Declared
from durable.functions.options import Timeouts
from durable.functions.triggers import Cancel, TriggerEvent, optional_expression, rule_of, trigger_of
from durable.journal import Backoff, Declaration, Flow, Policy, RetryOn, checked_retries, chosen_errors
from durable.timers import answering, shown

T = TypeVar("T")


T_co = TypeVar("T_co", covariant=True)


Code = Callable[[Context], Coroutine[Any, Any, T]]
AnyTrigger = TriggerEvent | TriggerCron | TriggerEvery


@answering(start="engine.start(function, data)", invoke="engine.invoke(function, data)", run="durable.run(function)")
@attrs.frozen(eq=False, repr=False)
class Function(Declared, Generic[T_co]):
    """A function holds a coroutine function and its options.

    `@durable.function` returns it. Calling it calls the coroutine function. Two definitions with the same module and
    qualified name are the same function: the newer replaces the older, as when a notebook cell is run again.
    """

    id: str = attrs.field(converter=plain)
    code: Code[T_co] = attrs.field()
    triggers: tuple[AnyTrigger, ...] = ()
    _policy: Policy = attrs.field(factory=Policy)
    on_failure: Function[Any] | None = None
    cancel: tuple[Cancel, ...] = ()
    idempotency: Expression | None = None
    timeouts: Timeouts = attrs.field(factory=Timeouts)
    _flow: Flow | None = None

    def __call__(self, ctx: Context) -> Awaitable[T_co]:
        return self.code(ctx)

    def __repr__(self) -> str:
        return f"<Function {self.id!r}>"


policy_of: Callable[[Function[Any]], Policy] = operator.attrgetter("_policy")
"""Return how a function is called again, and its steps by default."""

_flow_of: Callable[[Function[Any]], Flow | None] = operator.attrgetter("_flow")


def origin_of(function: Function[Any]) -> tuple[str, str]:
    """Return the module and the qualified name under which a function's code was defined.

    For a `functools.partial` it is those of the function that the partial calls.
    """
    code = _innermost(function.code)
    return str(getattr(code, "__module__", "")), str(getattr(code, "__qualname__", type(code).__qualname__))


def declaration_of(function: Function[Any]) -> Declaration:
    """Return a function as the engine's rules use it, with its expressions parsed."""
    return Declaration(
        function.id,
        tuple(trigger_of(function.id, one) for one in function.triggers if isinstance(one, TriggerEvent)),
        tuple(map(rule_of, function.cancel)),
        function.idempotency,
        None if function.on_failure is None else function.on_failure.id,
        function.timeouts.start,
        function.timeouts.finish,
        _flow_of(function),
        tuple(rule_of_ticks(one) for one in function.triggers if not isinstance(one, TriggerEvent)),
    )


def _innermost(code: object) -> Any:
    while isinstance(code, functools.partial):
        code = code.func
    return code


def _instead(code: object) -> str:
    if isinstance(code, Function):
        return ": it is decorated already"
    if inspect.isasyncgenfunction(code) or inspect.isgeneratorfunction(code):
        return ": it has a yield, return a list instead"
    return ": write async def" if inspect.isfunction(code) else ""


def _checked_code(code: object, *, what: str) -> Callable[..., Any]:
    if not inspect.iscoroutinefunction(code):
        raise TypeError(
            f"{what} must be a coroutine function, async def with one parameter ctx, not {shown(code)}{_instead(code)}"
        )
    try:
        inspect.signature(code).bind(None)
    except TypeError:
        named = getattr(_innermost(code), "__name__", "code")
        raise TypeError(f"{what} must take one argument, the context: async def {named}(ctx)") from None
    return code


def _checked_name(id: object, code: object) -> str:
    if id is not None:
        return checked_name(id, "the id of a function")
    named = getattr(_innermost(code), "__name__", None)
    if not is_str(named):
        raise TypeError(f"{shown(code)} has no name by which it could be recorded: give it one, function(id=...)")
    return checked_name(named, "the name of a function's code, which is its id,")


def _checked_triggers(trigger: object, *, what: str) -> tuple[AnyTrigger, ...]:
    given = () if trigger is None else trigger
    if isinstance(given, str | AnyTrigger):
        given = (given,)
    if not isinstance(given, Sequence):
        raise TypeError(
            f"the trigger of {what} must be an event's name, a TriggerEvent, a TriggerCron, a TriggerEvery or a "
            f"sequence, not {shown(given)}"
        )
    triggers: list[AnyTrigger] = []
    for one in given:
        if not isinstance(one, str | AnyTrigger):
            raise TypeError(
                f"a trigger of {what} must be an event's name, a TriggerEvent, a TriggerCron or a TriggerEvery, not "
                f"{shown(one)}"
            )
        triggers.append(TriggerEvent(one) if isinstance(one, str) else one)
    return tuple(triggers)


def _checked_cancels(cancel: object, *, what: str) -> tuple[Cancel, ...]:
    given = (cancel,) if isinstance(cancel, Cancel) else cancel
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(one, Cancel) for one in given):
        raise TypeError(f"cancel of {what} must be a sequence of Cancel, not {shown(cancel)}")
    return tuple(given)


def _checked_policy(retries: object, backoff: object, retry_on: object, give_up_on: object, *, what: str) -> Policy:
    if backoff is not None and not isinstance(backoff, Backoff):
        raise TypeError(f"backoff of {what} must be a Backoff, not {shown(backoff)}; how often is retries=")
    return Policy(
        checked_retries(retries, what=what),
        backoff or Backoff(),
        chosen_errors(retry_on, what=f"retry_on of {what}"),
        chosen_errors(give_up_on, what=f"give_up_on of {what}"),
    )


def _failure_function(on_failure: object, id: str) -> Function[Any] | None:
    if on_failure is None:
        return None
    code = on_failure.code if isinstance(on_failure, Function) else on_failure
    policy = policy_of(on_failure) if isinstance(on_failure, Function) else Policy()
    return Function(f"{id}-failure", _checked_code(code, what=f"on_failure of function {id!r}"), policy=policy)


def _declared(
    code: Code[Any],
    id: object,
    trigger: object,
    tried: tuple[object, object, object, object],
    on_failure: object,
    cancel: object,
    idempotency: object,
    timeouts: object,
    flow: Mapping[str, object],
) -> Function[Any]:
    _checked_code(code, what=f"function {shown(id)}" if id is not None else "a function")
    name = _checked_name(id, code)
    what = f"function {name!r}"
    if timeouts is not None and not isinstance(timeouts, Timeouts):
        raise TypeError(f"timeouts of {what} must be a Timeouts, not {shown(timeouts)}")
    cancels = _checked_cancels(cancel, what=what)
    return Function(
        name,
        code,
        _checked_triggers(trigger, what=what),
        _checked_policy(*tried, what=what),
        _failure_function(on_failure, name),
        cancels,
        optional_expression(idempotency, ("event",), what=f"idempotency of {what}"),
        timeouts or Timeouts(),
        flow_of(flow, has_cancel=bool(cancels), what=what),
    )


# The names that Inngest and others use for these options.
_OTHERWISE = {"fn_id": "id", "name": "id", "event": "trigger", "triggers": "trigger", "max_retries": "retries"}
_OTHERWISE |= {"retry": "retries", "expression": "trigger"}


def _unknown_option(name: str) -> str:
    *options, _ = inspect.signature(function).parameters
    close = difflib.get_close_matches(name, options, 1)
    meant = _OTHERWISE.get(name) or (close[0] if close else None)
    hint = f"its options are {', '.join(options)}" if meant is None else f"write {meant}="
    return f"function() got an unexpected keyword argument {name!r}: {hint}"


@overload
def function(trigger: Code[T]) -> Function[T]: ...


@overload
def function(
    trigger: str | AnyTrigger | Sequence[str | AnyTrigger] | None = None,
    *,
    id: str | None = None,
    retries: int = 4,
    backoff: Backoff = ...,
    retry_on: RetryOn | None = None,
    give_up_on: RetryOn | None = None,
    on_failure: Code[Any] | None = None,
    cancel: Sequence[Cancel] = (),
    idempotency: str | None = None,
    timeouts: Timeouts | None = None,
    concurrency: int | Concurrency | Sequence[int | Concurrency] | None = None,
    throttle: Throttle | None = None,
    rate_limit: RateLimit | None = None,
    debounce: Debounce | None = None,
    batch_events: Batch | None = None,
    priority: Priority | None = None,
    singleton: Singleton | None = None,
) -> Callable[[Code[T]], Function[T]]: ...


def function(
    trigger: Any = None,
    *,
    id: str | None = None,
    retries: int = 4,
    backoff: Backoff | None = None,
    retry_on: RetryOn | None = None,
    give_up_on: RetryOn | None = None,
    on_failure: Any = None,
    cancel: Any = (),
    idempotency: str | None = None,
    timeouts: Timeouts | None = None,
    concurrency: Any = None,
    throttle: Any = None,
    rate_limit: Any = None,
    debounce: Any = None,
    batch_events: Any = None,
    priority: Any = None,
    singleton: Any = None,
    **others: Any,
) -> Any:
    """Declare a durable function; a decorator for `async def code(ctx)`.

    It registers nothing: give the function to an engine.

    Args:
        trigger: the events and ticks that open a run: a name, a pattern, a TriggerEvent, a TriggerCron, a TriggerEvery,
            or a sequence of these. None: the function runs only when it is started or invoked.
        id: the id under which the function is recorded; default: the code's name. A new id makes a new function:
            unfinished runs under the old id stay parked.
        retries: how often the function is called again after an error of its own; finished steps then answer from the
            record. It is also how often each step is tried again, unless the step says otherwise. Default: 4.
        backoff: how long to wait before each further try; default: `Backoff()`.
        retry_on: the errors after which the function is called again; default: all. It counts for errors of the
            function's own, not for those of its steps. For its forms see `StepOptions`.
        give_up_on: the errors after which the function is not called again, likewise. Giving up wins where both match.
        on_failure: `async def handler(ctx)`, called once after a run has failed, as a run of its own. Its function is
            "<id>-failure", its run "<run id>/failure", and `ctx.event` is the event "durable/function.failed". It is
            not called for cancelled runs. After a run was opened again and failed again, the failure run is
            "<run id>/failure~r1".
        cancel: the events that cancel the function's runs.
        idempotency: a CEL expression over `event`, or None. Only one run is opened per value in 24 h. Events for which
            the value is null all open runs.
        timeouts: how long a run may take; default: without limit.
        concurrency: how much runs at the same time: a number of steps, a `Concurrency`, or two of them, which must both
            have room.
        throttle: how many runs start in a period; the others stay queued.
        rate_limit: how many runs open in a period; others do not open.
        debounce: open one run for many events, once they have ceased.
        batch_events: open one run for several events. It excludes `debounce` and `cancel`.
        priority: which of the waiting runs goes first.
        singleton: one unfinished run at a time. It excludes `debounce` and `batch_events`.

    Raises:
        TypeError, ValueError, LimitError, ExpressionError: at the call, naming the option.
    """
    if others:
        raise TypeError(_unknown_option(next(iter(others))))

    flow = {"concurrency": concurrency, "throttle": throttle, "rate_limit": rate_limit, "debounce": debounce}
    flow |= {"batch_events": batch_events, "priority": priority, "singleton": singleton}
    tried = (retries, backoff, retry_on, give_up_on)

    def declare(code: Code[Any]) -> Function[Any]:
        return _declared(code, id, trigger, tried, on_failure, cancel, idempotency, timeouts, flow)

    if callable(trigger):  # @durable.function without parentheses
        code, trigger = trigger, None
        return declare(code)
    return declare
