"""Play a generated workflow as a function, and take down which handlers are called.

Separate because for the engine this is user code.
Leaves to `programs` what it must come to, to `forking` the runs of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs

from durable import Context, Event, Function, NonRetriableError, StepError, StepOptions, current_step, function
from tests.proof.forking.programs import ENDLESS, Part, worth

YEARS = "9000d"


@attrs.define
class Calls:
    """Which handlers were called: run, key of the step, name of the call."""

    made: list[tuple[str, str, str]] = attrs.field(factory=list)

    def of(self, run: str) -> list[str]:
        """Return the names of the calls of one run."""
        return [name for one, _, name in self.made if one == run]

    def name_of(self, run: str, key: str) -> str:
        """Return the name of the call of a step whose handler was called."""
        return next(name for one, other, name in self.made if (one, other) == (run, key))

    def note(self, name: str) -> None:
        step = current_step()
        self.made.append((step.run_id, step.key, name))


@function(id="child")
async def child(ctx: Context) -> int:
    """Return one more than it was invoked with."""
    return await ctx.step.run("one more", lambda: int(ctx.event.data["n"]) + 1)


def played(program: Part, calls: Calls) -> Function[Any]:
    """Return the function that plays a program."""

    @function(id="program", retries=1)
    async def program_(ctx: Context) -> Any:
        return await Play(ctx, calls, is_same=bool(program.number)).play(program, "")

    return program_


class Play:
    """One execution of a program. With `is_same` all steps share one id, so that only keys tell them apart."""

    def __init__(self, ctx: Context, calls: Calls, *, is_same: bool) -> None:
        self.ctx, self.step, self.calls, self.is_same = ctx, ctx.step, calls, is_same

    async def play(self, part: Part, again: str) -> Any:
        return await getattr(self, f"_{part.kind}")(part, again)

    async def all(self, part: Part, again: str) -> list[Any]:
        return [await self.play(under, again) for under in part.parts]

    async def _program(self, part: Part, again: str) -> list[Any]:
        values = await self.all(part, again)
        if part.manner == "again" and self.ctx.attempt == 0:
            raise RuntimeError("the first attempt fails")
        return values

    def id(self, part: Part, again: str, what: str = "") -> str:
        return "s" if self.is_same else f"{part.place}{again} {part.kind}{what}"

    async def _step(self, part: Part, again: str) -> Any:
        return await self.step.run(self.id(part, again), self._handler(part, f"{part.place}{again}"))

    def _handler(self, part: Part, name: str) -> Callable[[], Any]:
        def at_once() -> Any:
            self.calls.note(name)
            if part.kind == "failing":
                raise NonRetriableError(name)
            return worth(name)

        async def slowly() -> Any:
            for _ in range(0 if part.manner == "inline" else part.number):
                await asyncio.sleep(0)
            return at_once()

        return at_once if part.manner == "sync" else slowly

    async def _failing(self, part: Part, again: str) -> Any:
        try:
            return await self._step(part, again)
        except StepError:
            return "failed"

    async def _nap(self, part: Part, again: str) -> None:
        await self.step.sleep(self.id(part, again), part.number)

    async def _timeout(self, part: Part, again: str) -> Any:
        return await self.step.wait_for_event(self.id(part, again), event="never", timeout=part.number)

    async def _told(self, part: Part, again: str) -> Any:
        name = f"{self.ctx.run_id}/{part.place}{again}"
        wait = self.step.wait_for_event(self.id(part, again, " waits"), event=name, timeout="30d")
        await self.step.send_event(self.id(part, again, " sends"), Event(name, {"n": part.number}))
        event = await wait
        return event and event.data["n"]

    async def _invoke(self, part: Part, again: str) -> Any:
        return await self.step.invoke(self.id(part, again), function=child, data={"n": part.number})

    async def _chance(self, part: Part, again: str) -> int:
        return self.ctx.random.randrange(1000)

    _sequence = all

    async def _gather(self, part: Part, again: str) -> list[Any]:
        return await asyncio.gather(*[self.play(under, again) for under in part.parts])

    async def _group(self, part: Part, again: str) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.play(under, again)) for under in part.parts]
        return [task.result() for task in tasks]

    async def _race(self, part: Part, again: str) -> list[Any]:
        winner = part.number % len(part.parts)
        tasks = [
            asyncio.ensure_future(self.play(under, again) if number == winner else self._lose(part, under, again))
            for number, under in enumerate(part.parts)
        ]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert done == {tasks[winner]}
        if part.manner != "leave":
            for task in pending:
                task.cancel()
            await asyncio.wait(pending)
        return [winner, tasks[winner].result()]

    async def _lose(self, race: Part, part: Part, again: str) -> None:
        """Do a part, and then never end."""
        try:
            await self.play(part, again)
            await self._endless(part, again)
        finally:
            if race.manner == "finally":
                await self.step.run(self.id(part, again, " left"), lambda: self.calls.note(f"{part.place}{again} left"))

    async def _endless(self, part: Part, again: str) -> None:
        way = ENDLESS[part.number % len(ENDLESS)]
        if way in ("sleep", "both"):
            wait = self.step.sleep(self.id(part, again, " sleeps"), YEARS)
        else:
            wait = self.step.wait_for_event(self.id(part, again, " waits"), event="never", timeout=YEARS)
        try:
            if way in ("handler", "both"):
                hangs = StepOptions(self.id(part, again, " hangs"), timeout=YEARS)  # so that a Lab lets time pass
                await self.step.run(hangs, asyncio.Event().wait)
            await wait
        finally:
            wait.close()

    async def _background(self, part: Part, again: str) -> Any:
        under, main = part.parts
        cancels = part.manner == "cancel"
        side = asyncio.ensure_future(self._lose(part, under, again) if cancels else self.play(under, again))
        value = await self.play(main, again)
        if not cancels:
            return [value, await side]
        side.cancel()
        await asyncio.wait([side])
        return value

    async def _branch(self, part: Part, again: str) -> Any:
        way = await self._step(part, again)
        return [way, await self.play(part.parts[way % 2], again)]

    async def _loop(self, part: Part, again: str) -> list[Any]:
        return [await self.play(part.parts[0], f"{again}#{number}") for number in range(1 + part.number % 3)]

    async def _cleanup(self, part: Part, again: str) -> list[Any]:
        try:
            value = await self.play(part.parts[0], again)
        finally:
            last = await self._step(part, again)
        return [value, last]
