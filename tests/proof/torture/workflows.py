"""Generate workflows of functions that call, signal, wake and cancel each other.

Separate because these are for the model, which knows their results. The programs of `tests.proof.replay.programs` use
more of asyncio, but only show that a replay repeats its run.
Leaves to `cases` the playing and the comparison.

Every duration is drawn from a million seconds, and an operation that touches another run, or may come first, begins
with a sleep. So two things happen at one instant only if one leads to the other, and the instants decide the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from durable import (
    Backoff,
    Cancel,
    Context,
    Event,
    Function,
    NonRetriableError,
    Step,
    Timeouts,
    TriggerEvent,
    current_step,
    function,
)
from durable.journal.rules.misuse import misuse
from tests.proof.replay.programs import Part
from tests.proof.torture.bounds import EVENTS, bounded, crowds, held, steering
from tests.proof.torture.cases import Case, Move
from tests.proof.torture.oddities import (
    check_data,
    failing_filter,
    misused,
    odd_data,
    odd_error,
    odd_id,
    told_of,
)

SIGNALS = 2
SECONDS = 1_000_000
LEAVES = (
    "step",
    "step",
    "step",
    "sleep",
    "sleep",
    "wait",
    "wait",
    "send",
    "signal",
    "await_signal",
    "invoke",
    "misuse",
)
COUNTS = {"loop": 1, "try": 2, "cancel": 2, "cleanup": 2, "background": 2}
TREES = ("sequence", "sequence", "gather", "race", "race", "group", "order", *COUNTS)
Begin = Callable[[], Any]
NESTS = ("nested", "swallows")
MANNERS = {
    "step": ("async", "async", "sync", "slow", "flaky", "failing", "final", "odd", "changes", "nested", "swallows"),
    "wait": ("any", "any", "match", "if_exp", "fails"),
    "misuse": ("caught", "caught", "caught", "left"),
    "await_signal": ("fail", "replace"),
    "invoke": ("", "timeout"),
    "race": ("join", "leave"),
    "gather": ("raise", "return"),
    "loop": ("count", "until"),
}


def random_case(seed: str) -> Case:
    """Return the case of a seed."""
    random = Random(seed)
    count = random.choice((1, 2, 3, 4))
    flow, bounds = Random(f"{seed}/flow"), Random(f"{seed}/bounds")
    is_bounded = bounds.random() < 0.5
    functions = [_function(random, flow, bounds if is_bounded else None, number, count) for number in range(count)]
    moves = [Move(0, "start", "f0", {"k": random.randrange(2), **_odd(random)}, id="r")]
    for number in range(random.randrange(8)):
        at, k = random.randrange(SECONDS), random.randrange(2)
        kind = random.choice(("send", "send", "send", "signal", "start", "cancel", "retry"))
        match kind:
            case "send":
                name, delay = f"e/{random.randrange(EVENTS)}", random.choice((None, None, random.randrange(SECONDS)))
                moves.append(Move(at, "send", name, {"n": number, "k": k, **_odd(random)}, f"m{number}", delay))
            case "signal":
                moves.append(Move(at, "signal", f"s{random.randrange(SIGNALS)}", {"n": number, **_odd(random)}))
            case "start":
                moves.append(Move(at, "start", f"f{random.randrange(len(functions))}", {"k": k}, f"r{number}"))
            case _:
                moves.append(Move(at * 8 if kind == "retry" else at, kind, "r"))
    if is_bounded:
        moves += crowds(bounds, SECONDS)
        moves += steering(bounds, SECONDS, [move for move in moves if move.kind == "send"], count)
    return Case(seed, functions, tuple(sorted(moves, key=lambda move: move.at)), 100 * SECONDS)


def _odd(random: Random) -> dict[str, Any]:
    number = random.randrange(SECONDS)
    return {"z": number, "odd": odd_data(number)} if random.random() < 0.3 else {}


def _check(data: Mapping[str, Any]) -> None:
    if "z" in data:
        check_data(data["z"], data["odd"])


def _function(random: Random, flow: Random, bounds: Random | None, number: int, count: int) -> Function[Any]:
    later = [*range(number + 1, count)] * 4 + [*range(count, EVENTS + 1)]  # nothing goes round for ever
    program = Part("sequence", "", 0, tuple(_part(random, random.choice((2, 4, 8)), later) for _ in range(2)))
    again = random.random() < 0.2
    name = f"f{number}"

    async def failed(ctx: Context) -> Any:
        return await ctx.step.run(f"{name} failed", lambda: ctx.event.name)

    triggers = [f"e/{number - 1}"] if number else []
    cancel = [Cancel("e/2", match=random.choice((None, "data.k")))] if random.random() < 0.2 else []
    if random.random() < 0.2:  # which never hold
        cancel.append(Cancel("e/1", if_exp=failing_filter(random.randrange(SECONDS))))
        triggers.append(TriggerEvent("e/1", if_exp=failing_filter(random.randrange(SECONDS), name="event")))

    @function(
        triggers,
        id=name,
        idempotency=failing_filter(random.randrange(SECONDS), name="event") if random.random() < 0.2 else None,
        retries=random.choice((0, 1, 2)),
        backoff=Backoff(first=random.randrange(1, SECONDS // 4), max="9000d", jitter=0),
        on_failure=failed if random.random() < 0.3 else None,
        cancel=cancel,
        timeouts=Timeouts(
            start=bounds.randrange(1, 2 * SECONDS) if bounds is not None and bounds.random() < 0.3 else None,
            finish=random.randrange(6 * SECONDS) if random.random() < 0.2 else None,
        ),
        **held(flow, seconds=SECONDS, has_cancel=bool(cancel)),
        **(bounded(bounds, seconds=SECONDS) if bounds is not None else {}),
    )
    async def played(ctx: Context) -> Any:
        try:
            _check(ctx.event.data)
            value = await Act(ctx, name).play(program, name)
        except Exception:
            await ctx.step.sleep(f"{name} fails", 1)  # whatever was cancelled comes to its end before the function does
            raise
        await ctx.step.sleep(f"{name} ends", 1)
        if again and ctx.attempt == 0:
            raise RuntimeError("the first attempt fails")
        return value

    return played


def _part(random: Random, size: int, later: Sequence[int]) -> Part:
    kind = random.choice(LEAVES if size <= 1 else TREES)
    number, manner = random.randrange(SECONDS), random.choice(MANNERS.get(kind, ("",)))
    if size <= 1 and kind in ("step", "sleep", "misuse"):
        return Part(kind, manner, number)
    if size <= 1:
        to = (Part("to", "", random.choice(later)),) if later and kind in ("send", "invoke") else ()
        leaf = Part(kind, manner, number, to) if to or kind not in ("send", "invoke") else Part("step", "sync", number)
        return Part("sequence", "", 0, (Part("sleep", "", random.randrange(SECONDS)), leaf))
    count = COUNTS.get(kind) or random.choice((2, 2, 3))
    return Part(kind, manner, number, tuple(_part(random, (size - 1) // count, later) for _ in range(count)))


class Act:
    """One execution of one program; ids are paths, so no two steps share one at once."""

    def __init__(self, ctx: Context, name: str) -> None:
        self.ctx, self.step, self.name = ctx, ctx.step, name

    async def play(self, part: Part, path: str) -> Any:
        path = path if part.parts else odd_id(path, part.number)
        value = await getattr(self, f"_{part.kind}")(part, path)
        return [value, int(self.ctx.now().timestamp()) % 10**9] if not part.parts else value

    def plays(self, part: Part, path: str) -> list[Begin]:
        return [partial(self.play, under, f"{path}.{number}") for number, under in enumerate(part.parts)]

    def plays_late(self, part: Part, path: str) -> list[Begin]:
        """The parts, each of which begins with a sleep of its own."""

        async def late(number: int, begin: Begin) -> Any:
            await self.step.sleep(f"{path} starts {number}", 1 + (part.number * (number + 3) ** 5) % 100_003)
            return await begin()

        return [partial(late, *one) for one in enumerate(self.plays(part, path))]

    # Steps.

    async def _step(self, part: Part, path: str) -> Any:
        if part.manner == "changes":
            return await self.step.run(path, _changes, [part.number])
        value = await self.step.run(path, self._nests(part, path) if part.manner in NESTS else _handler(part))
        if part.manner != "odd":
            return value
        check_data(part.number, value)
        return part.number  # odd data may be as deep as any: a list around it, which is returned, would be too deep

    def _nests(self, part: Part, path: str) -> Callable[[], Any]:
        async def nests() -> Any:
            try:
                return await self.step.sleep(f"{path} inside", 1)
            except Exception:
                if part.manner == "nested":
                    raise
                return "as if nothing had been"

        return nests

    async def _misuse(self, part: Part, path: str) -> str:
        """Where it is told is the engine's to say; on the model only what comes of it is known."""
        if not isinstance(self.step, Step):
            told = told_of(part.number)
        else:
            told = misused(self.step, path, part.number)
        if part.manner == "left":
            raise misuse(RuntimeError(told))
        return told

    async def _sleep(self, part: Part, path: str) -> None:
        await self.step.sleep(path, part.number)

    async def _wait(self, part: Part, path: str) -> Any:
        rule = {
            "match": {"match": "data.k"},
            "if_exp": {"if_exp": "async.data.k == event.data.k"},
            "fails": {"if_exp": failing_filter(part.number)},
        }.get(part.manner, {})
        name, timeout = f"e/{part.number % EVENTS}", 4 * part.number
        event = await self.step.wait_for_event(path, event=name, timeout=timeout, **rule)
        if event is None:
            return None
        _check(event.data)
        return event.data["n"]

    async def _await_signal(self, part: Part, path: str) -> Any:
        name, timeout = f"s{part.number % SIGNALS}", part.number
        signal = await self.step.wait_for_signal(path, signal=name, timeout=timeout, on_conflict=part.manner)  # type: ignore[arg-type]
        if signal is None:
            return None
        _check(signal.data)
        return signal.data["n"]

    async def _send(self, part: Part, path: str) -> None:
        data = {"n": path, "k": part.number % 2, "z": part.number, "odd": odd_data(part.number)}
        await self.step.send_event(path, Event(f"e/{part.parts[0].number - 1}", data))

    async def _signal(self, part: Part, path: str) -> bool:
        return bool(
            await self.step.send_signal(path, f"s{part.number % SIGNALS}", {"n": path, "z": 5, "odd": odd_data(5)})
        )

    async def _invoke(self, part: Part, path: str) -> Any:
        timeout = part.number if part.manner == "timeout" else None
        to = f"f{part.parts[0].number}"
        return await self.step.invoke(path, function=to, data={"k": part.number % 2}, timeout=timeout)

    # Ways to put them together.

    async def _sequence(self, part: Part, path: str) -> list[Any]:
        return [await begin() for begin in self.plays(part, path)]

    async def _gather(self, part: Part, path: str) -> list[Any]:
        results = await asyncio.gather(
            *[one() for one in self.plays(part, path)], return_exceptions=part.manner == "return"
        )
        return [_named(one) if isinstance(one, BaseException) else one for one in results]

    async def _group(self, part: Part, path: str) -> list[Any]:
        results = []
        async with asyncio.TaskGroup() as group:
            for one in self.plays(part, path):
                results.append(group.create_task(_caught(one)))
        return [task.result() for task in results]

    async def _race(self, part: Part, path: str) -> Any:
        tasks = [asyncio.create_task(_caught(one)) for one in self.plays_late(part, path)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winners = [number for number, task in enumerate(tasks) if task in done]
        for task in tasks:
            task.cancel()
        if part.manner == "join" and pending:
            await asyncio.wait(pending)
        return [[number, tasks[number].result()] for number in winners]

    async def _order(self, part: Part, path: str) -> list[Any]:
        ended = []
        for one in asyncio.as_completed([asyncio.create_task(_caught(one)) for one in self.plays_late(part, path)]):
            ended.append(await one)
        return ended

    async def _loop(self, part: Part, path: str) -> list[Any]:
        values: list[Any] = []
        body = part.parts[0]
        for number in range(3):  # in straight-line code the same ids again: they are counted
            below = f"{path}.again" if _is_straight(body) else f"{path}.{number}"
            values.append(await _caught(partial(self.play, body, below)))
            if part.manner == "until" and len(str(values)) % 2:
                break
        return values

    async def _try(self, part: Part, path: str) -> Any:
        first, second = self.plays(part, path)
        try:
            return await first()
        except Exception as error:
            return [_named(error), await second()]

    async def _cancel(self, part: Part, path: str) -> Any:
        first, second = self.plays_late(part, path)
        task = asyncio.create_task(_caught(first))
        value = await _caught(second)
        task.cancel()
        await asyncio.wait([task])
        return [value, "cancelled" if task.cancelled() else task.result()]

    async def _cleanup(self, part: Part, path: str) -> Any:
        first, second = self.plays(part, path)
        values = []
        try:
            values.append(await first())
        finally:
            values.append(await second())
        return values

    async def _background(self, part: Part, path: str) -> Any:
        first, second = self.plays_late(part, path)
        side = asyncio.create_task(_caught(first))
        main = await second()
        return [main, side.result() if side.done() else "still going"]


def _is_straight(part: Part) -> bool:
    return part.kind in ("sequence", "try", *LEAVES) and all(map(_is_straight, part.parts))


def _handler(part: Part) -> Callable[[], Any]:
    def work() -> Any:
        attempt = current_step().attempt
        if part.manner == "odd" and attempt <= part.number % 3:
            raise odd_error(part.number)
        if part.manner == "failing" or (part.manner == "flaky" and attempt <= part.number % 2):
            raise OSError(f"try {attempt}")
        if part.manner == "final":
            raise NonRetriableError("never")
        return odd_data(part.number) if part.manner == "odd" else part.number

    async def slow() -> Any:
        for _ in range(part.number % 40 if part.manner == "slow" else 0):
            await asyncio.sleep(0)
        return work()

    return work if part.manner == "sync" else slow


def _changes(items: list[int]) -> list[int]:
    items.append(len(items))
    return items


async def _caught(begin: Begin) -> Any:
    try:
        return await begin()
    except Exception as error:
        return _named(error)


def _named(error: BaseException) -> str:
    return getattr(error, "name", type(error).__name__)
