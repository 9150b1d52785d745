"""Define a reference engine that keeps the rules of runs, steps, events and time.

It stores nothing, is not fast, and is for tests only.

Separate because an oracle must not share code with the engine that it judges, except the words of `facts`.
Leaves to `cases` the driving, and the comparison.

The model runs the same functions on plain asyncio. An event asks every open step; time is a list of alarms. A step is
known by its id and count, so ids must not be used twice at once. Outcomes of one instant may reach a function in
several orders: each of them takes as many rounds of the loop as `random` says, and several models show all the orders.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from datetime import datetime
from functools import partial
from random import Random
from typing import Any

import attrs

from durable import Event, Function, Signal
from durable.errors import NestedStepError, RecordedError
from durable.functions import policy_of
from durable.functions.context import Group
from durable.functions.current import CURRENT, Trying
from durable.journal.codec.failures import raised
from durable.journal.rules.retries import FINAL, FINAL_FOR_RUN, is_final
from durable.timers.durations import duration
from tests.proof.torture.doors import Doors
from tests.proof.torture.facts import Fact, ModelRun, Time, matches, named, rounds
from tests.proof.torture.waiting import Waiting


class Execution:
    """One call of a run's function: its context and its steps."""

    def __init__(self, model: Model, run: ModelRun) -> None:
        self.model, self.of, self.step, self.group, self.run_id = model, run, self, Group(), run.id
        self.event, self.attempt, self.over = run.event, run.attempt, False
        self.latest = run.admitted_at or run.opened_at
        self.counts: Counter[str] = Counter()
        self.asked: set[str] = set()
        self.works: dict[str, asyncio.Task[None]] = {}
        self.futures: dict[str, asyncio.Future[None]] = {}
        # In a context of its own: it may begin in its turn, when the handler of another has just ended.
        self.main = asyncio.create_task(run.function.code(self), context=Context())  # type: ignore[arg-type]
        self.main.add_done_callback(self._ended)
        self.tasks: set[Any] = {self.main, asyncio.create_task(self._deliver())}

    def now(self) -> datetime:
        return self.latest

    def run(self, id: str, handler: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        return self._act("run", id, lambda fact: self._work(fact, self._try(partial(handler, *args), id, fact)))

    def sleep(self, id: str, span: Any) -> Awaitable[Any]:
        return self._wait("sleep", id, self.model.time.now + duration(span))

    def wait_for_event(self, id: str, *, timeout: Any, **rule: Any) -> Awaitable[Any]:
        return self._wait("wait_for_event", id, self.model.time.now + duration(timeout), **rule)

    def wait_for_signal(self, id: str, *, timeout: Any, **rule: Any) -> Awaitable[Any]:
        return self._wait("wait_for_signal", id, self.model.time.now + duration(timeout), **rule)

    def invoke(self, id: str, *, function: str, data: Any = None, timeout: Any = None) -> Awaitable[Any]:
        until = None if timeout is None else self.model.time.now + duration(timeout)
        return self._wait("invoke", id, until, function=function, data=data)

    def send_event(self, id: str, event: Event) -> Awaitable[Any]:
        """It has ended with what it sends, also where that ends its own run."""
        return self._act("send_event", id, lambda fact: fact.end([self.model.send(event)], None, self.model.time.now))

    def send_signal(self, id: str, signal: str, data: Any = None) -> Awaitable[Any]:
        return self._act("send_signal", id, lambda fact: self.model.close(fact, self.model.signal(signal, data)))

    def _wait(self, kind: str, id: str, until: datetime | None, **rule: Any) -> Awaitable[Any]:
        fact = self._claim(kind, id)
        if not self.over and (fact.status == "new" or (fact.status == "open" and fact.is_unasked)):
            fact.is_unasked = False
            fact.status, fact.until, fact.rule = "open", fact.until or until, rule  # a deadline that is known stands
            self.model.opened(fact)
        return self._taken(fact)

    def _act(self, kind: str, id: str, act: Callable[[Fact], None]) -> Awaitable[Any]:
        return self._taken(self._claim(kind, id), act)

    def _claim(self, kind: str, id: str) -> Fact:
        self.model.time.moved += 1
        trying = CURRENT.get()
        if trying is not None:
            trying.nested = NestedStepError(id)
            raise trying.nested
        limit = self.of.function.timeouts.finish
        if not self.over and not self.of.is_started:
            self.of.is_started, openings = True, self.of.openings
            if limit is not None:
                self.model.time.alarm(self.model.time.now + limit, lambda: self.model.time_out(self.of, openings))
        number, self.counts[id] = self.counts[id], self.counts[id] + 1
        key = f"{id}:{number}" if number else id
        self.asked.add(key)
        return Fact(self.of, key, kind) if self.over else self.of.steps.setdefault(key, Fact(self.of, key, kind))

    async def _taken(self, fact: Fact, act: Callable[[Fact], None] | None = None) -> Any:
        if self.over:
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        self.tasks.add(asyncio.current_task())
        if act is not None and fact.status in ("new", "open"):
            fact.status = "open"
            act(fact)
        try:
            await self._future(fact)
        except asyncio.CancelledError:
            if not self.over and fact.status == "open":
                fact.status, fact.at = "cancelled", self.model.time.now
                if fact.key in self.works:
                    self.works.pop(fact.key).cancel()
            raise
        if fact.error is not None:
            raise raised(RecordedError(*fact.error), fact.key)
        return fact.value

    def _future(self, fact: Fact) -> asyncio.Future[None]:
        return self.futures.setdefault(fact.key, asyncio.get_running_loop().create_future())

    async def _deliver(self) -> None:
        """Hand the outcomes out, one after the other; those that had come when nobody asked, all that are asked for."""
        recorded, place, late = len(self.of.order), 0, list[Fact]()
        while True:
            while place == len(self.of.order) and not self._asked(late):
                await asyncio.sleep(0)
            await rounds(40 if late or place < recorded else self.model.time.random.choice((0, 1, 3, 20)))
            come = self._asked(late)
            if not come:
                late, place = [*late, self.of.order[place]], place + 1
                come = self._asked(late[-1:])
            for fact in come:
                late.remove(fact)
                self.latest = max(self.latest, fact.at or self.latest)
                if not self._future(fact).done():
                    self._future(fact).set_result(None)
            self.model.time.moved += 1

    def _asked(self, facts: list[Fact]) -> list[Fact]:
        return [fact for fact in facts if fact.key in self.asked]

    def _work(self, fact: Fact, tries: Coroutine[Any, Any, None]) -> None:
        self.works[fact.key] = asyncio.create_task(tries)

    async def _try(self, call: Callable[[], Any], name: str, fact: Fact) -> None:
        while fact.status == "open":
            while fact.until is not None and self.model.time.now < fact.until:
                await asyncio.sleep(0)
            await self._turn(fact)
            await rounds(self.model.time.random.choice((0, 0, 1, 45)))
            self.model.calls[name] += 1
            trying = Trying(self.run_id, fact.key, fact.tries, self.model)
            CURRENT.set(trying)
            try:
                value = call()
                value = await value if inspect.isawaitable(value) else value
                if trying.nested is not None:
                    raise trying.nested
                self.model.close(fact, value)
            except Exception as error:
                fact.until, fact.tries = self.model.again(self.of, error, fact.tries, FINAL), fact.tries + 1
                if fact.until is None:
                    self.model.close(fact, error=named(error))

    async def _turn(self, fact: Fact) -> None:
        """Wait until a try may begin."""
        come = asyncio.Event()
        leave = self.model.tries.asks(self.of, come.set)
        try:
            await come.wait()
        finally:
            leave()

    def stop(self) -> None:
        self.over = True
        for task in (*self.tasks, *self.works.values()):
            task.cancel()

    def _ended(self, main: asyncio.Task[Any]) -> None:
        if not self.over:
            self.stop()
            error = asyncio.CancelledError() if main.cancelled() else main.exception()
            self.model.returned(self.of, error, None if error else main.result())


class Model:
    """All runs, their events and their time."""

    def __init__(self, functions: list[Function[Any]], now: datetime, random: Random) -> None:
        self.functions = {one.id: one for given in functions for one in (given, given.on_failure) if one is not None}
        self.time = Time(now, random)
        self.calls: Counter[str] = Counter()
        self.runs: list[ModelRun] = []
        self.executions: dict[ModelRun, Execution] = {}
        self.ids, self.to_come = set[str](), set[str]()
        self.doors = Doors(self)
        self.starts, self.tries = Waiting(self.time, "runs"), Waiting(self.time, "steps")

    def open(self, name: str, event: Event, parent: Fact | None = None, id: str = "") -> ModelRun:
        now = self.time.now
        run = ModelRun(id or f"m{len(self.runs)}", self.functions[name], event, now, now, parent)
        self.runs.append(run)
        self.queue(run)
        return run

    def queue(self, run: ModelRun) -> None:
        """Let a run begin in its turn, if that comes in time."""
        self.starts.asks(run, lambda: self.begin(run))
        self.hurry(run)

    def hurry(self, run: ModelRun) -> None:
        """End a run when it has not started in time."""
        if run.function.timeouts.start is None or run.is_started or run.status != "open":
            return
        openings, due = run.openings, self.starts.due_to_start(run)

        def ring() -> None:
            if run.openings == openings and not run.is_started and self.starts.due_to_start(run) == due:
                self.end(run, "cancelled")

        if due is not None:
            self.time.alarm(due, ring)

    def resume(self, function: str) -> None:
        """Let the runs of a function begin again."""
        self.starts.resume(function)
        for run in self.runs:
            if run.function.id == function:
                self.hurry(run)

    def begin(self, run: ModelRun) -> None:
        if run.status == "open":
            self.executions[run] = Execution(self, run)

    def returned(self, run: ModelRun, error: BaseException | None, output: Any) -> None:
        due = None if error is None else self.again(run, error, run.attempt, FINAL_FOR_RUN)
        if error is None:
            self.end(run, "completed", output=output)
        elif due is None:
            self.end(run, "failed", error=named(error))
        else:
            run.attempt += 1
            for fact in [fact for fact in run.steps.values() if fact.status == "cancelled"]:
                fact.status, fact.tries, fact.at = "new", 0, None
            openings = run.openings
            self.time.alarm(due, lambda: self.begin(run) if run.openings == openings else None)

    def end(self, run: ModelRun, status: str, output: Any = None, error: tuple[str, str] | None = None) -> None:
        if run.status == "open":
            run.status, run.output, run.error, run.ended_at = status, output, error, self.time.now
            if run in self.executions:
                self.executions[run].stop()
            self.starts.ended(run)
            if run.parent is not None:
                self.close(run.parent, output, ("RunCancelled", "") if status == "cancelled" else error)
            if status == "failed" and run.function.on_failure is not None:
                self.open(run.function.on_failure.id, Event("durable/function.failed"))

    def time_out(self, run: ModelRun, openings: int) -> None:
        if run.openings == openings:
            self.end(run, "cancelled")

    def reopen(self, run: ModelRun) -> None:
        """Let a run go on that failed or was cancelled, and the children that it waited for (R32)."""
        run.status, run.output, run.error, run.ended_at = "open", None, None, None
        run.attempt, run.is_started, run.openings, run.since = 0, False, run.openings + 1, self.time.now
        for fact in [fact for fact in run.steps.values() if fact.status != "completed"]:
            child = fact.child if fact.status in ("open", "failed") else None
            if fact.status == "failed":
                run.order.remove(fact)
            fact.status, fact.error, fact.at, fact.until, fact.tries = "new", None, None, None, 0
            fact.is_unasked = False
            if child is not None:
                fact.status, fact.is_unasked = "open", True
                if child.status == "completed":
                    self.close(fact, child.output)
                elif child.status != "open":
                    self.reopen(child)
        self.queue(run)

    def opened(self, fact: Fact) -> None:
        until = fact.until
        self.time.alarm(until, lambda: self.expire(fact) if fact.until == until else None)
        if fact.kind == "invoke" and fact.rule["function"] not in self.functions:
            self.close(fact, error=("LookupError", ""))
        elif fact.kind == "invoke" and (fact.child is None or fact.child.status != "open"):
            event = Event("durable/function.invoked", fact.rule["data"])
            child = self.doors.open(self.functions[fact.rule["function"]], event, fact)
            if isinstance(child, str):
                self.close(fact, error=(child, ""))
            else:
                fact.child = child
        elif fact.kind == "wait_for_signal":
            for holder in [one for one in self.waiters(fact.rule["signal"]) if one is not fact]:
                replaces = fact.rule.get("on_conflict") == "replace"
                self.close(holder) if replaces else self.close(fact, error=("SignalConflictError", ""))

    def close(self, fact: Fact, value: Any = None, error: tuple[str, str] | None = None) -> None:
        if fact.status == "open" and fact.run.status == "open":
            fact.end(value, error, self.time.now)

    def expire(self, fact: Fact) -> None:
        self.close(fact, error=("InvokeTimeoutError", "") if fact.kind == "invoke" else None)

    def waits(self) -> list[Fact]:
        facts = [fact for run in self.runs if run.status == "open" for fact in run.steps.values()]
        return [fact for fact in facts if fact.status == "open" and fact.until and self.time.now < fact.until]

    def waiters(self, signal: str) -> list[Fact]:
        return [fact for fact in self.waits() if fact.rule.get("signal") == signal]

    def signal(self, signal: str, data: Any) -> bool:
        holders = self.waiters(signal)
        for fact in holders:
            self.close(fact, Signal(signal, data))
        return bool(holders)

    def send(self, event: Event) -> None:
        if event.id is None or event.id not in self.ids:
            self.ids.add(event.id or "")
            if event.ts is None or event.ts <= self.time.now:
                self.happen(event)
            else:
                self.to_come.add(str(event.id))
                self.time.alarm(event.ts, lambda: self.come(event))

    def come(self, event: Event) -> None:
        if event.id in self.to_come:
            self.to_come.discard(event.id)
            self.happen(event)

    def unsend(self, event: str) -> None:
        self.to_come.discard(event)
        self.doors.unsend(event)

    def happen(self, event: Event) -> None:
        answered = [fact for fact in self.waits() if "event" in fact.rule and matches(fact.rule, fact.run.event, event)]
        cancelled = [run for run in self.runs if run.is_cancelled_by(event)]
        for fact in answered:
            self.close(fact, event)
        for waiting in (self.starts, self.tries):
            waiting.forget(cancelled)
        for run in cancelled:
            self.end(run, "cancelled")
        for function in self.functions.values():
            if any(matches(attrs.asdict(one), event, event) for one in function.triggers):
                self.doors.come(function, event)

    def again(
        self, run: ModelRun, error: BaseException, attempt: int, final: tuple[type[BaseException], ...]
    ) -> datetime | None:
        policy = policy_of(run.function)
        due = self.time.now + policy.backoff.first * policy.backoff.factor**attempt
        self.time.alarm(due)
        return None if is_final(error, final) or attempt >= policy.retries else due
