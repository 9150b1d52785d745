"""Replace handlers while a run is executed again and again.

One such execution of a run from its beginning to its end, with its crashes, is called a life.

Separate because lives can be compared only if the world outside answers the same in all of them.
Leaves to `lives` the lives, to `torture` the comparison.

A handler is called once, in the first life that reaches it. What it returns or raises is remembered for its run, step
and try, and every later life gets the same. So a difference between two lives comes from the function's own code.
Handlers that suspended end one at a time, each when nothing else moves. They end in the order in which they ended
first, or in another order that a life asks for. So a race has one winner for each order, before a crash and after it.
A life may also let all waiting handlers end together, in one turn: then a race has several winners at once.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import sys
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import attrs

from durable.engine import Runtime
from durable.errors import NestedStepError
from durable.functions import CURRENT, CurrentStep, Handler, current_step
from durable.scheduler import Call, changes, given
from durable.testing.source_lines import calling_line

ROUNDS = 8
SLOW_SECONDS = 0.05  # handlers that end closer together than this are made to end in a fixed order
ENDS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit)  # these end a handler from outside: not its outcome
Try = tuple[str, str, int]
Given = tuple[str, ...]


@attrs.frozen
class Done:
    """The outcome of a handler's try is a value or an error.

    `number` counts the tries in the order of their ends. `suspended` says whether the try suspended. `nested` is the
    error of a step that the handler called; the try fails with it, even if the handler returned a value (R7).
    """

    number: int
    suspended: bool
    value: Any = None
    error: BaseException | None = None
    nested: NestedStepError | None = None

    def give(self) -> Any:
        """Return the value or raise the error, inside a try."""
        trying = CURRENT.get()
        if trying is not None and self.nested is not None:
            trying.nested = self.nested
        if self.error is None:
            return copy.deepcopy(self.value) if type(self.value) in (list, dict, set) else self.value
        raise self.error


@attrs.frozen
class Asked:
    """An asked step is a call of a step method, with the line that it came from."""

    call: Call
    line: str


@attrs.define
class Memory:
    """The memory keeps what handlers have done in all lives.

    Attributes:
        done: the outcomes, by run, step and try.
        args: the arguments of tries, by the order in which handlers end.
        slow: the tries that were cancelled once while they ran.
        parallel: the largest number of handlers that ran side by side.
    """

    done: dict[Try, Done] = attrs.field(factory=dict)
    args: dict[tuple[int | None, bool], dict[Try, Given]] = attrs.field(factory=dict)
    slow: set[Try] = attrs.field(factory=set)
    parallel: int = 0


@attrs.define
class Lived:
    """A lived life shows the step calls of each process, and what went wrong.

    Attributes:
        processes: the calls of each process, in order.
        again: finished steps whose handlers were called again.
        other_args: calls with other arguments than before: run, key, arguments before and now.
        changed_args: arguments that a handler changed: run, key, argument, text before and after.
        outside: where the function awaited something outside its steps.
    """

    processes: list[list[Asked]] = attrs.field(factory=lambda: [[]])
    again: list[str] = attrs.field(factory=list)
    other_args: list[tuple[str, str, str, str]] = attrs.field(factory=list)
    changed_args: list[tuple[str, str, str, str, str]] = attrs.field(factory=list)
    outside: list[str] = attrs.field(factory=list)

    def line(self, run: str, key: str) -> str:
        """Return the line from which a step was called last."""
        found = [one for calls in self.processes for one in calls if (one.call.run, one.call.key) == (run, key)]
        return found[-1].line if found else "an unknown line"


class Actors:
    """Actors replace the handlers of one life.

    `order` is None for the remembered order of ends, else a seed for another order. With `together`, all handlers that
    wait to end do so in one turn. `runtime()` returns the runtime of the current engine. `finished` holds the steps
    that had ended when the current process began.
    """

    def __init__(
        self, memory: Memory, order: int | None, runtime: Callable[[], Runtime], *, together: bool = False
    ) -> None:
        self.lived = Lived()
        self.finished: set[tuple[str, str]] = set()
        self._memory = memory
        self._order = order
        self._together = together
        # By order: in another order a race may have another winner, whose value is then passed to a step.
        self._args = memory.args.setdefault((order, together), {})
        self._ending: set[tuple[float, Try]] = set()
        self._runtime = runtime
        self._at_work: set[Try] = set()
        self._waiting: set[tuple[float, Try]] = set()
        self._stirred = 0

    def begin_process(self, finished: set[tuple[str, str]]) -> None:
        """Begin a new process, in which these steps have ended already."""
        self.finished = finished
        self.lived.processes.append([])

    def replaces(self, step_id: str) -> bool:
        """Return False: waits and invokes are real."""
        return False

    def asked(self, call: Call) -> None:
        """Note a call of a step method."""
        self._stirred += 1
        line = calling_line(sys._getframe(1))
        self.lived.processes[-1].append(Asked(call, line))
        if call.was_quiet:
            self.lived.outside.append(f"before it asks for step {call.key!r} at {line}")

    def handler(self, step_id: str, handler: Handler) -> Handler:
        """Return the handler that is called in place of the given one."""
        act = self._act_async if handler.is_async or self._order is not None else self._act
        is_async = act == self._act_async
        return attrs.evolve(handler, function=lambda *args, **kwargs: act(handler), is_async=is_async)

    def _act(self, handler: Handler) -> Any:
        step = current_step()
        known = self._known(step, handler)
        if known is None:
            before = given(handler)
            try:
                value = handler.call()
            except ENDS:
                raise
            except BaseException as error:
                return self._keep(step, handler, before, suspended=False, error=error).give()
            if not inspect.isawaitable(value):
                return self._keep(step, handler, before, suspended=False, value=value).give()
            return self._awaited(step, handler, before, value)
        return self._ended(step, known) if known.suspended else known.give()

    async def _act_async(self, handler: Handler) -> Any:
        step = current_step()
        known = self._known(step, handler)
        if known is not None:
            return await self._ended(step, known)
        before = given(handler)
        try:
            value = handler.call()
        except ENDS:
            raise
        except BaseException as error:
            return await self._ended(step, self._keep(step, handler, before, suspended=False, error=error))
        if not inspect.isawaitable(value):
            return await self._ended(step, self._keep(step, handler, before, suspended=False, value=value))
        return await self._awaited(step, handler, before, value)

    async def _awaited(self, step: CurrentStep, handler: Handler, before: Given, value: Awaitable[Any]) -> Any:
        rounds: list[bool] = []
        mark = asyncio.get_running_loop().call_soon(rounds.append, True)
        trial = _try(step)
        self._at_work.add(trial)
        self._memory.parallel = max(self._memory.parallel, len(self._at_work))
        try:
            result = await value
        except ENDS:
            self._memory.slow.add(trial)
            raise
        except BaseException as error:
            suspended = bool(rounds) or trial in self._memory.slow
            done = self._keep(step, handler, before, suspended=suspended, error=error)
        else:
            suspended = bool(rounds) or trial in self._memory.slow
            done = self._keep(step, handler, before, suspended=suspended, value=result)
        finally:
            mark.cancel()
            self._at_work.discard(trial)
        return await self._ended(step, done)

    def _known(self, step: CurrentStep, handler: Handler) -> Done | None:
        if (step.run_id, step.key) in self.finished:
            self.lived.again.append(f"step {step.key!r} of run {step.run_id!r}")
        args = given(handler)
        before = self._args.setdefault(_try(step), args)
        if before != args:
            self.lived.other_args.append((step.run_id, step.key, ", ".join(before), ", ".join(args)))
        return self._memory.done.get(_try(step))

    def _keep(
        self,
        step: CurrentStep,
        handler: Handler,
        before: Given,
        *,
        suspended: bool,
        value: Any = None,
        error: BaseException | None = None,
    ) -> Done:
        """Remember the outcome of a try, and note changes to its arguments."""
        for change in changes(handler, before):
            self.lived.changed_args.append((step.run_id, step.key, *change))
        trying = CURRENT.get()
        nested = None if trying is None else trying.nested
        done = Done(len(self._memory.done), suspended, value, error, nested)
        return self._memory.done.setdefault(_try(step), done)

    async def _ended(self, step: CurrentStep, done: Done) -> Any:
        if done.suspended or self._order is not None:
            await self._turn(_try(step), done)
        return done.give()

    async def _turn(self, trial: Try, done: Done) -> None:
        """Wait until nothing else moves and this handler is the next to end."""
        place = (self._place(trial, done), trial)
        self._waiting.add(place)
        self._memory.parallel = max(self._memory.parallel, len(self._waiting))
        latest = self._runtime().loop.time() + SLOW_SECONDS
        try:
            while True:
                seen, runtime = self._stirred, self._runtime()
                await runtime.rounds.passed(ROUNDS)
                idle = all(session.delivery.is_idle for session in runtime.scheduler.sessions.values())
                idle = idle and (not self._at_work or runtime.loop.time() > latest)
                if place in self._ending:
                    return
                if idle and seen == self._stirred and place == min(self._waiting):
                    self._ending |= self._waiting if self._together else set()
                    return
        finally:
            self._waiting.discard(place)
            self._ending.discard(place)
            self._stirred += 1

    def _place(self, trial: Try, done: Done) -> float:
        if self._order is None:
            return done.number
        return -done.number if self._order == 0 else Random(f"{self._order}/{trial}").random()


def _try(step: CurrentStep) -> Try:
    return (step.run_id, step.key, step.attempt)
