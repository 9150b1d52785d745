"""What a handler does to its arguments is no result (R3): torture says so, and an engine in asyncio's debug mode."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

import durable
from durable import Context, Engine, StepError, StepOptions
from durable.scheduler.arguments import shown
from durable.stores.store import Entry
from durable.testing import Lab
from durable.testing.torture import lives
from durable.testing.torture.lives import Mortal
from tests.unit.testing.test_torture import line_of, report_of, slow, story_of

# C: what is changed, by what, and what is seen of it.


@attrs.define
class Cart:
    items: list[int] = attrs.field(factory=list)
    total: int = 0


@dataclasses.dataclass
class Order:
    lines: dict[str, int] = dataclasses.field(default_factory=dict)


def changed(value: Any) -> Any:
    """Change a value in place, deep inside where it is deep."""
    match value:
        case Cart() if value.items:
            value.items.append(9)
        case Cart():
            value.total = 7
        case Order():
            value.lines["new"] = 1
        case dict() if value and isinstance(next(iter(value.values())), list):
            next(iter(value.values())).clear()
        case dict():
            value["new"] = 1
        case set():
            value.add("new")
        case bytearray():
            value.extend(b"new")
        case tuple():
            changed(value[0])
        case list() if value and isinstance(value[0], (list, dict, Cart)):
            changed(value[0])
        case _:
            value.append("new")
    return None


MADE: dict[str, Callable[[], Any]] = {
    "a list": list,
    "a list in a list": lambda: [[1]],
    "a dict": dict,
    "a list in a dict": lambda: {"a": [1, 2]},
    "a set": set,
    "a list in a tuple": lambda: ([1], 2),
    "a deque": deque,
    "bytes": lambda: bytearray(b"a"),
    "an attrs class": Cart,
    "a list in an attrs class": lambda: Cart([1]),
    "attrs classes in a list": lambda: [Cart([1])],
    "a dataclass": Order,
}


def function_of(make: Callable[[], Any], manner: str, *, looks: bool = True) -> durable.Function[Any]:
    """A function whose handler changes what it is given."""

    def blocking(value: Any, *, more: Any = None) -> Any:
        return changed(more if more is not None else value)

    async def asynchronous(value: Any) -> Any:
        await asyncio.sleep(0)
        return changed(value)

    def failing(value: Any) -> Any:
        changed(value)
        raise ValueError("after it has changed it")

    @durable.function(retries=0)
    async def changing(ctx: Context) -> Any:
        value = make()
        if manner == "blocking":
            await ctx.step.run("add", blocking, value)
        elif manner == "by name":
            await ctx.step.run("add", blocking, 1, more=value)
        elif manner == "a lambda":
            await ctx.step.run("add", lambda one: asynchronous(one), value)
        elif manner == "failing":
            try:
                await ctx.step.run(StepOptions("add", retries=1), failing, value)
            except StepError:
                pass
        else:
            await ctx.step.run("add", asynchronous, value)
        return shown(value) if looks else None

    return changing


MANNERS = ["blocking", "by name", "async", "a lambda", "failing"]


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("made", MADE)
def test_torture_says_that_a_handler_changes_its_arguments(made: str, manner: str) -> None:
    """R3: which step, which argument, what it was and is, at which line, and what to do."""
    story = story_of(function_of(MADE[made], manner))
    name = "argument 'more'" if manner == "by name" else "argument 1"
    assert "function 'changing' is not deterministic: step 'add' changes its arguments" in story
    assert f"step 'add' was given, at {__file__}:" in story and f"as its {name}: " in story
    assert "and its handler has made of it: " in story and "give it a copy, and return what is to be kept" in story


def test_it_says_so_also_where_nothing_comes_of_it() -> None:
    """The next try would see it in this process, and not after a crash."""
    story = story_of(function_of(list, "blocking", looks=False))
    assert "step 'add' changes its arguments" in story and "[]\n" in story and '["new"]' in story


def test_a_handler_that_returns_another_is_deterministic() -> None:
    def added(items: list[int]) -> list[int]:
        return [*items, len(items)]

    @durable.function
    async def growing(ctx: Context) -> list[int]:
        items: list[int] = []
        for _ in range(3):
            items = await ctx.step.run("add", added, items)
        return items

    assert report_of(growing).endings == 1


class Client:
    """What is no data may change as it likes."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def get(self) -> int:
        self.calls.append("get")
        return len(self.calls)


def test_what_is_no_data_may_change_as_it_likes() -> None:
    def fetched(client: Client, lock: Any) -> int:
        return client.get() and 1

    @durable.function
    async def fetching(ctx: Context) -> int:
        return await ctx.step.run("fetch", fetched, Client(), asyncio.Lock())

    assert report_of(fetching).steps == 1


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"hands off {name}")


def test_what_cannot_be_looked_at_is_shown_by_its_class() -> None:
    knot: list[Any] = []
    knot.append(knot)
    assert "Hostile" in shown([1, Hostile()]) and "..." in shown([knot, object()])
    assert len(shown([object()] * 100_000)) < 10**6


# A race's outcome as an argument.


def racing(ctx: Context, *names: str) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(ctx.step.run(name, slow, number)) for number, name in enumerate(names, 1)]


@durable.function
async def hands_on(ctx: Context) -> Any:
    """The winner goes to a step."""
    racers = racing(ctx, "a", "b", "c")
    done, pending = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
    winners = [number for number, racer in enumerate(racers) if racer in done]
    told = await ctx.step.run("tell", slow, {"winners": winners, "pending": len(pending)})
    rest = [await one for one in racers]
    return [winners, told, await ctx.step.run("all", slow, [rest, winners])]


@durable.function
async def branches(ctx: Context) -> Any:
    """A queue between tasks: what comes first is handed to a step that both orders have."""
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def producer(number: int) -> None:
        queue.put_nowait(await ctx.step.run(f"make {number}", slow, number))

    async with asyncio.TaskGroup() as group:
        for number in (2, 1, 3):
            group.create_task(producer(number))
        came = [await queue.get() for _ in range(3)]
        return [came, [await ctx.step.run("take", slow, one) for one in came]]


@pytest.mark.parametrize("function", [hands_on, branches], ids=lambda one: one.id)
def test_a_races_outcome_may_be_handed_to_a_step(function: durable.Function[Any]) -> None:
    """R5: another order has another winner, and so other arguments; in one order they are always the same."""
    report = report_of(function)
    assert report.orders == 5 and report.endings > 1


def test_chance_among_the_arguments_is_still_found_in_any_order() -> None:
    numbers = iter(range(10**6))

    @durable.function
    async def chancy(ctx: Context) -> Any:
        racers = racing(ctx, "a", "b")
        done, _ = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
        await ctx.step.run("tell", slow, [len(done), next(numbers)])
        return [await one for one in racers]

    story = story_of(chancy)
    assert f"step 'tell' called its handler with ([1,0]), at {line_of(chancy, 4)}" in story
    assert "asked for: step 'tell' with ([1,1])" in story


# Places are not told by the number of a batch.


class Joining(Mortal):
    """A store to which, in every second life, two batches come as one, as where the machine stood still meanwhile."""

    lives = 0

    def __init__(self, budget: int | None) -> None:
        super().__init__(budget)
        Joining.lives += 1
        self._joins = Joining.lives % 2 == 0

    async def append(self, entries: Sequence[Entry]) -> None:
        before = self.written
        await super().append(entries)
        if self._joins and before == 1:
            self.written = before


@pytest.mark.parametrize("function", [hands_on, branches], ids=lambda one: one.id)
def test_a_batch_more_or_less_is_no_difference(
    function: durable.Function[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a batch names another place then: what was recorded by then says where it is."""
    monkeypatch.setattr(lives, "Mortal", Joining)
    assert report_of(function).endings > 1


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("longer", [0, 1])
def test_a_clock_that_decides_is_found_at_any_hour(odd: int, longer: int) -> None:
    """Whether the way that it takes first is the longer one, or the shorter."""

    @durable.function
    async def by_the_hour(ctx: Context) -> Any:
        await ctx.step.run("a", slow, 1)
        if int(time.time()) // 3600 % 2 == odd:
            await ctx.step.sleep("b", 1)
            if longer:
                await ctx.step.run("c", slow, 1)

    assert "time.time()" in story_of(by_the_hour)


@pytest.mark.parametrize("more", range(0, 40, 5))
def test_the_tasks_of_the_test_itself_are_not_counted(more: int) -> None:
    """Else their number would say in which order a function's tasks stand in a set."""
    order: list[str] = []

    async def nothing() -> None: ...

    async def drive(lab: Lab, _run: Any) -> None:
        await asyncio.gather(*[asyncio.create_task(nothing()) for _ in range(more)])
        await lab.send("go")

    @durable.function
    async def ordered(ctx: Context) -> Any:
        async def named(name: str) -> str:
            return name

        await ctx.step.wait_for_event("w", event="go", timeout="1h")
        tasks = {asyncio.create_task(named(name)) for name in "abcde"}
        order.append("".join([await task for task in tasks]))
        return await ctx.step.run("s", slow, 1)

    report_of(ordered, drive=drive)
    assert set(order) == {"abcde", "edcba"}, order


# In debug mode.


def test_an_engine_in_debug_mode_warns(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio.run(debug=True), PYTHONASYNCIODEBUG=1 and python -X dev are one to the loop."""

    functions = [
        durable.function(id=f"{made} {manner}", retries=0)(function_of(MADE[made], manner).code)
        for made in MADE
        for manner in MANNERS
    ]

    async def story(threads: bool) -> None:
        async with Lab(functions, threads=threads) as lab:
            for function in functions:
                await lab.result(await lab.start(function, id=f"r {function.id}"))

    for debug in (True, False):
        for threads in (True, False):
            caplog.clear()
            with caplog.at_level(logging.WARNING, "durable"):
                asyncio.run(story(threads), debug=debug)
            told = [record.getMessage() for record in caplog.records if "while its handler ran" in record.getMessage()]
            runs = {one.partition("' changed its ")[0] for one in told}
            assert len(runs) == (len(functions) if debug else 0)
            assert all("step 'add' of run 'r " in one and "give the handler a copy" in one for one in told)


def test_python_in_development_mode_warns(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import durable\n"
        "@durable.function\n"
        "async def adding(ctx):\n"
        "    items = []\n"
        "    await ctx.step.run('add', lambda one: one.append(1), items)\n"
        "    return items\n"
        "print(durable.run(adding, id='r'))\n"
    )
    root = Path(durable.__file__).parent.parent
    for flags, environment, is_told in (
        (["-X", "dev"], {}, True),
        ([], {"PYTHONASYNCIODEBUG": "1"}, True),
        ([], {}, False),
    ):
        command = [sys.executable, *flags, str(script)]
        done = subprocess.run(
            command, env={"PYTHONPATH": str(root), **environment}, capture_output=True, text=True, check=True
        )
        assert done.stdout == "[1]\n"
        assert ("step 'add' of run 'r' changed its argument 1" in done.stderr) is is_told


def test_a_value_is_the_same_in_debug_mode() -> None:
    """What is watched returns, raises and is cancelled as ever."""

    @durable.function
    async def working(ctx: Context) -> list[Any]:
        cancelled = asyncio.ensure_future(ctx.step.run("c", slow, 10_000))
        await ctx.step.run("a", slow, 1)
        cancelled.cancel()
        with pytest.raises(StepError, match="invalid literal"):
            await ctx.step.run(StepOptions("b", retries=0), int, "x")
        return [await ctx.step.run("d", lambda one: slow(one), 1), cancelled.cancelled() or cancelled.cancelling()]

    async def story() -> None:
        async with Engine([working]) as engine:
            assert await engine.invoke(working) == [1, 1]

    asyncio.run(story(), debug=True)


@pytest.mark.parametrize("handler", [slow, len, lambda: 1, Client], ids=["async", "built in", "lambda", "class"])
def test_a_call_that_fails_by_its_arguments_is_not_retried_in_debug_mode_either(handler: Callable[..., Any]) -> None:
    """R13a: what is watched is called from another line of durable's."""

    @durable.function
    async def calling(ctx: Context) -> Any:
        return await ctx.step.run("call", handler, 1, 2, 3)

    async def story() -> None:
        async with Lab([calling]) as lab:
            run = await lab.start(calling)
            with pytest.raises(durable.RunFailed, match="TypeError"):
                await lab.result(run)
            assert (await run.info()).steps["call"].attempts == 1

    asyncio.run(story(), debug=True)
    asyncio.run(story(), debug=False)
