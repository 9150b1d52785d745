"""Play any program in one coroutine function, and note what it sees.

Separate because for the engine this is user code: nothing here knows that it may be a replay.
Leaves to `replaying` the running, to `programs` the list of operations.

Every way in which asyncio lets steps run side by side is an operation here. All steps share one id, so that only keys
tell them apart. Two executions that saw the same (winners, orders, values, errors, `ctx.now()`) have the same notes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import anyio

from durable import Context, Event, NonRetriableError, StepOptions, current_step
from tests.proof.replay.programs import Part

ID = "s"


class Witness(Protocol):
    """Who takes down what one process does. `rounds(most)` is how long a handler is to take in this process; where
    `only_replays`, one that is called does not end at all."""

    only_replays: bool

    def note(self, ctx: Context, text: str) -> None: ...

    def called(self, key: str) -> None: ...

    def rounds(self, most: int) -> int: ...


def named(error: BaseException) -> str:
    """Return an error as a note shows it: its class and text, or those of the errors in a group."""
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}({', '.join(named(one) for one in error.exceptions)})"
    return f"{type(error).__name__}({error})"


class Play:
    """One execution of one program. Every method plays one kind of part and returns what came of it."""

    def __init__(self, ctx: Context, witness: Witness) -> None:
        self.ctx = ctx
        self.step = ctx.step
        self.witness = witness

    def note(self, *words: object) -> None:
        now = self.ctx.now()
        self.witness.note(self.ctx, f"{' '.join(map(str, words))} at {now.timestamp() % 1e6:g}")

    async def play(self, part: Part, path: str) -> Any:
        try:
            value = await getattr(self, f"_{part.kind}")(part, path)
        except Exception as error:
            self.note(path, part.kind, "raises", named(error))
            raise
        self.note(path, part.kind, "gives", value)
        return value

    def plays(self, part: Part, path: str) -> list[Coroutine[Any, Any, Any]]:
        return [self.play(under, place) for under, place in _places(part, path)]

    def tasks(self, part: Part, path: str) -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(one) for one in self.plays(part, path)]

    async def _program(self, part: Part, path: str) -> list[Any]:
        values = []
        for one, under in enumerate(part.parts):
            try:
                values.append(await self.play(under, f"{path}{one}"))
            except Exception as error:
                values.append(named(error))
        if part.manner == "again" and self.ctx.attempt == 0:
            raise RuntimeError("the first attempt fails")
        return values

    # Leaves.

    async def _step(self, part: Part, path: str) -> Any:
        return await self.run(part)

    def run(self, part: Part) -> Coroutine[Any, Any, Any]:
        options = StepOptions(f"{ID}:1" if part.manner == "explicit" else ID, retries=1)
        return self.step.run(options, self._handler(part))

    def _handler(self, part: Part) -> Callable[[], Any]:
        def begin() -> Any:
            step = current_step()
            self.witness.called(step.key)
            if self.witness.only_replays:
                return _endless()
            if part.manner == "failing" or (part.manner == "flaky" and step.attempt == 0):
                raise (NonRetriableError if part.manner == "failing" else OSError)(step.key)
            return step.key

        async def work() -> str:
            if part.manner != "inline":
                for _ in range(self.witness.rounds(part.number)):
                    await asyncio.sleep(0)
            return await begin() if self.witness.only_replays else begin()

        return begin if part.manner == "sync" else work

    async def _sleep(self, part: Part, path: str) -> None:
        await self.step.sleep(ID, part.number)

    async def _wait(self, part: Part, path: str) -> Any:
        event = await self.step.wait_for_event(ID, event=f"e/{part.number}", timeout=part.number + 2)
        return event and event.data["n"]

    async def _send(self, part: Part, path: str) -> Any:
        return len(await self.step.send_event(ID, Event(f"e/{part.number}", {"n": path})))

    async def _pause(self, part: Part, path: str) -> None:
        for _ in range(part.number):
            await asyncio.sleep(0)

    async def _fail(self, part: Part, path: str) -> None:
        raise ValueError(path)

    async def _drop(self, part: Part, path: str) -> None:
        for coroutine in (self.step.sleep(ID, part.number), self.step.run(ID, lambda: None)):
            coroutine.close()

    # One after the other.

    async def _sequence(self, part: Part, path: str) -> list[Any]:
        return [await self.play(under, place) for under, place in _places(part, path)]

    async def _loop(self, part: Part, path: str) -> list[Any]:
        return [await self.play(part.parts[0], f"{path}.0") for _ in range(part.number)]

    async def _try(self, part: Part, path: str) -> Any:
        try:
            return await self.play(part.parts[0], f"{path}.0")
        except Exception as error:
            return [named(error), await self.play(part.parts[1], f"{path}.1")]

    async def _cleanup(self, part: Part, path: str) -> Any:
        try:
            return await self.play(part.parts[0], f"{path}.0")
        except asyncio.CancelledError:
            if part.manner == "finally":
                await self.play(part.parts[1], f"{path}.1")
                raise
            return await self.play(part.parts[1], f"{path}.1")

    async def _late(self, part: Part, path: str) -> Any:
        called: Any = self.step.sleep(ID, part.number)
        if part.manner == "run":
            called.close()
            called = self.run(part)
        elif part.manner == "wait":
            called.close()
            called = self.step.wait_for_event(ID, event="e/0", timeout=part.number)
        try:
            first = await self.play(part.parts[0], f"{path}.0")
            second = await called
        finally:
            called.close()
        return [first, str(second and getattr(second, "data", second))]

    # Side by side.

    async def _gather(self, part: Part, path: str) -> list[Any]:
        results = await asyncio.gather(*self.plays(part, path), return_exceptions=part.manner == "return")
        return [named(one) if isinstance(one, BaseException) else one for one in results]

    async def _steps(self, part: Part, path: str) -> list[Any]:
        step = Part("step", "async", 8)
        if part.manner == "parallel":
            return list(await self.ctx.group.parallel([lambda: self.run(step)] * part.number))
        return await asyncio.gather(*[self.run(step) for _ in range(part.number)])

    async def _race(self, part: Part, path: str) -> list[Any]:
        tasks = self.tasks(part, path)
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winners = [number for number, task in enumerate(tasks) if task in done]
        self.note(path, "won by", winners)
        if part.manner != "leave":
            for number, task in enumerate(tasks):
                if number not in winners:
                    task.cancel()
        if part.manner == "join" and pending:
            await asyncio.wait(pending)
        return [tasks[number].result() for number in winners if not _failed(tasks[number])]

    async def _group(self, part: Part, path: str) -> list[Any]:
        tasks = []
        async with asyncio.TaskGroup() as group:
            for one in self.plays(part, path):
                try:
                    tasks.append(group.create_task(one))
                except RuntimeError:  # an eager task has failed already, and the group takes no more
                    one.close()
        return [task.result() for task in tasks]

    async def _anyio(self, part: Part, path: str) -> list[Any]:
        ended: list[Any] = []

        async def one(under: Part, place: str) -> None:
            ended.append([place, await self.play(under, place)])
            if part.manner == "first":
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for under, place in _places(part, path):
                group.start_soon(one, under, place)
        return ended

    async def _completed(self, part: Part, path: str) -> list[Any]:
        values = []
        for one in asyncio.as_completed(self.tasks(part, path)):
            try:
                values.append(await one)
            except Exception as error:
                values.append(named(error))
        return values

    async def _queue(self, part: Part, path: str) -> list[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue(1 if part.manner == "bounded" else 0)
        taken: list[Any] = []

        async def produce(under: Part, place: str) -> None:
            try:
                await queue.put(await self.play(under, place))
            except Exception as error:
                await queue.put(named(error))

        async def consume(number: int) -> None:
            while (item := await queue.get()) is not queue:
                taken.append([number, item, await self.run(Part("step", "async", 3))])

        async with asyncio.TaskGroup() as group:
            for number in range(part.number):
                group.create_task(consume(number))
            await asyncio.gather(*[produce(*one) for one in _places(part, path)])
            for _ in range(part.number):
                await queue.put(queue)
        return taken

    async def _background(self, part: Part, path: str) -> list[Any]:
        side = asyncio.create_task(self.play(part.parts[0], f"{path}.0"))
        main = await self.play(part.parts[1], f"{path}.1")
        if part.manner == "await":
            return [main, await side]
        if part.manner == "cancel":
            side.cancel()
            await asyncio.wait([side])
        return [main, side.done()]

    async def _nest(self, part: Part, path: str) -> Any:
        return await self.nested(part, f"{path}.0", part.number)

    async def nested(self, part: Part, path: str, depth: int) -> Any:
        if depth == 0:
            return [await self.run(Part("step", "async", 3)), await self.play(part.parts[0], path)]
        one = self.nested(part, path, depth - 1)
        match part.manner:
            case "gather":
                return (await asyncio.gather(one))[0]
            case "group":
                async with asyncio.TaskGroup() as group:
                    inner = group.create_task(one)
                return inner.result()
            case "wait":
                inner = asyncio.create_task(one)
                await asyncio.wait([inner])
                return inner.result()
            case _:
                return await asyncio.create_task(one)

    async def _deep(self, part: Part, path: str) -> list[Any]:
        # No task of the function's own calls a step here: every step is called by this one, below nested gathers.
        async with asyncio.TaskGroup() as group:
            for _ in part.parts:
                nested: Any = self.run(Part("step", "async", 8))
                for _ in range(part.number):
                    nested = asyncio.gather(nested)
                group.create_task(_awaited(nested)).add_done_callback(lambda _: self.note(path, "one is done"))
        return await asyncio.gather(*self.plays(part, path))

    async def _limited(self, part: Part, path: str) -> list[Any]:
        limit = asyncio.Semaphore(part.number)

        async def one(under: Part, place: str) -> Any:
            async with limit:
                return await self.play(under, place)

        return await asyncio.gather(*[one(*under) for under in _places(part, path)])

    async def _shield(self, part: Part, path: str) -> Any:
        return await asyncio.shield(asyncio.create_task(self.play(part.parts[0], f"{path}.0")))

    async def _flag(self, part: Part, path: str) -> list[Any]:
        flag = asyncio.Event()

        async def after() -> Any:
            await flag.wait()
            return await self.play(part.parts[1], f"{path}.1")

        async def before() -> Any:
            try:
                return await self.play(part.parts[0], f"{path}.0")
            finally:
                flag.set()

        return await asyncio.gather(before(), *[after() for _ in range(part.number)])


async def _endless() -> Any:
    await asyncio.get_running_loop().create_future()


async def _awaited(one: Any) -> Any:
    return await one


def _places(part: Part, path: str) -> list[tuple[Part, str]]:
    return [(under, f"{path}.{number}") for number, under in enumerate(part.parts)]


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None
