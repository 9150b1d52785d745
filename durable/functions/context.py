"""Define the context, the one argument that a function is called with.

Separate because a user's function gets nothing else from the library, and all of it must be the same on replay.
Leaves to `step` the methods whose result is awaited.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime
from random import Random
from typing import Any, TypeVar

from durable.errors import checked_calls
from durable.events import Event
from durable.functions.current import BODY, CURRENT, current_try, running_body
from durable.functions.request import Execution
from durable.functions.step import Step
from durable.journal import Policy, misplaced, misuse
from durable.stores import Log
from durable.timers import explained, on_a_line, shown

T = TypeVar("T")


@checked_calls
class Group:
    """A group runs steps side by side.

    Plain `asyncio.gather`, `asyncio.TaskGroup` and `asyncio.wait` work as well.
    """

    __slots__ = ()

    async def parallel(self, callables: Iterable[Callable[[], Awaitable[T]]]) -> tuple[T, ...]:
        """Call each callable, await the results side by side, and return them in order.

        Every awaitable ends before this call does. Then the first error, in the order given, is raised.

        Source: inngest-py.

        Raises:
            TypeError: something is not a callable without arguments that returns an awaitable.
        """
        if not isinstance(callables, Iterable):
            raise misuse(TypeError(f"group.parallel takes an iterable of callables, not {shown(callables)}"))
        started: list[Awaitable[T]] = []
        try:
            for one in callables:
                started.append(_started(one))
        except BaseException:
            for awaitable in started:
                if isinstance(awaitable, Coroutine):
                    awaitable.close()
            raise
        results = await asyncio.gather(*started, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return tuple(results)  # type: ignore[arg-type]


_GROUP = Group()


def _started(one: object) -> Awaitable[Any]:
    if not callable(one):
        raise misuse(
            TypeError(f"group.parallel takes callables without arguments that return a step, not {shown(one)}")
        )
    awaitable = one()
    if not isinstance(awaitable, Awaitable):
        raise misuse(
            TypeError(f"a callable of group.parallel must return a step or another awaitable, not {shown(awaitable)}")
        )
    return awaitable


class _RunLogger(Log):
    """A run's logger adds the run's id and is silent during replay.

    Replay is the time in which a function called again only repeats what it has done before.
    """

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution.log)
        self._execution = execution
        self._prefix = f"[{on_a_line(execution.run_id)}] "

    def isEnabledFor(self, level: int) -> bool:
        """Return whether a line of this level is shown now."""
        return not self._execution.is_replaying and super().isEnabledFor(level)

    def passed_on(self, msg: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[object, dict[str, Any]]:
        """Return a line as `[run id] text`, with the run's names for its record.

        The log record has `run_id`, `function_id`, `step` and `attempt` as attributes.
        """
        # The id is not part of the format: a % in it stays a %. Without arguments nothing is formatted at all.
        prefix = self._prefix.replace("%", "%%") if args else self._prefix
        return f"{prefix}{msg!s}", {**kwargs, "extra": {**self._own(), **(kwargs.get("extra") or {})}}

    def _own(self) -> dict[str, Any]:
        execution, trying = self._execution, current_try()
        step = trying if trying is not None and trying.run == execution.run_id else None
        return {
            "run_id": execution.run_id,
            "function_id": execution.function_id,
            "step": None if step is None else step.key,
            "attempt": execution.attempt if step is None else step.attempt,
            "markup": False,  # rich would read [run id] as a tag of its own and hide it
        }


_STEPS = ("run", "sleep", "sleep_until", "wait_for_event", "wait_for_signal", "send_event", "send_signal", "invoke")


@explained(
    data="ctx.event.data", id="ctx.run_id", parallel="ctx.group.parallel", **{one: f"ctx.step.{one}" for one in _STEPS}
)
class Context:
    """The context gives a function its run: the event, the steps, a logger.

    All of it is the same on replay.

    Attributes:
        run_id: the id of the run.
        function_id: the id of the function.
        attempt: how often the function has been called again after an error of its own, from 0.
        step: the steps that the function can take.
        group: runs steps side by side.
        event: the event that opened the run.
        events: the events that opened it: those of a batch in the order of sending, else that one.
        logger: logs lines that read "[run id] text". Log records carry `run_id`, `function_id`, `step` (the step's key
            inside a handler, else None) and `attempt`. Silent during replay.
        random: a random generator, seeded by the run's id; a fork's gives the numbers of the run that it is from.
    """

    __slots__ = ("_event", "_events", "_execution", "_logger", "_random", "step")

    def __init__(self, execution: Execution, policy: Policy) -> None:
        self._execution = execution
        self._event: Event | None = None
        self._events: list[Event] | None = None
        self._logger: logging.LoggerAdapter[logging.Logger] | None = None
        self._random: Random | None = None
        is_plain = policy.retry_on is None and policy.give_up_on is None
        self.step = Step(execution, policy if is_plain else policy.for_steps)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._execution.run_id

    @property
    def function_id(self) -> str:
        """The id of its function."""
        return self._execution.function_id

    @property
    def attempt(self) -> int:
        """How often the function has been called again after an error of its own, from 0."""
        return self._execution.attempt

    @property
    def group(self) -> Group:
        """Steps side by side."""
        return _GROUP

    @property
    def event(self) -> Event:
        """The event that opened the run: a copy made for this execution (R3)."""
        if self._event is None:
            self._event = self._execution.event
        return self._event

    @property
    def events(self) -> list[Event]:
        """The events that opened the run: a batch's in the order of sending, else the one."""
        if self._events is None:
            self._events = [self.event, *self._execution.others]
        return self._events

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that adds the run's id and is silent during replay."""
        if self._logger is None:
            self._logger = _RunLogger(self._execution)
        return self._logger

    @property
    def random(self) -> Random:
        """A random generator that gives the same numbers on replay."""
        if self._random is None:
            self._random = Random(self._execution.seed)
        return self._random

    def now(self) -> datetime:
        """Return the time of the last outcome that the function received.

        Before the first outcome it is the time at which the run was opened, or at which it had its turn, if its
        function bounds when its runs start; in a fork, that of the run that it was forked from. The datetime is aware,
        in UTC. It never goes back, and is the same on replay.
        """
        return self._execution.now

    def __repr__(self) -> str:
        return f"<Context of run {self.run_id!r} of function {self.function_id!r}>"


def current_context() -> Context:
    """Return the context of the function whose code is running here.

    It is the one that the function was called with, also in tasks that the function has started, and in whatever these
    call: code that takes steps need not be handed the context.

    Raises:
        RuntimeError: called in a step's handler, in a task that a handler has left behind, after the function has
            ended, or outside of all functions.
    """
    body = running_body()
    if body is None:
        raise misplaced(f"current_context() is for the code of a function: {_elsewhere()}")
    context: Context = body.context
    return context


def _elsewhere() -> str:
    body, trying, left = BODY.get(), current_try(), CURRENT.get()
    if trying is not None:
        return (
            f"this is the handler of step {trying.key!r} of run {trying.run!r}; give the handler what it needs as "
            "arguments, or use durable.current_step()"
        )
    if left is not None:
        return f"this is a task or thread that the handler of step {left.key!r} of run {left.run!r} has left behind"
    if body is not None:
        return (
            f"the function {body.ledger.function!r} of run {body.ledger.run!r}, which has started this task, has ended"
        )
    return "no function is running here; call it in the function, or in a task that the function has started"
