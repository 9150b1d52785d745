"""List workflows whose steps run side by side, in gathers, races, groups, loops and queues.

Separate because one list would be too long to read.
Leaves to `corpus` the making of a case.
"""

from __future__ import annotations

import asyncio
from typing import Any

from durable import Context, StepError, StepOptions
from tests.proof.torture.corpus import blocking, broken, case, first_of, flaky, one, send, slow

# Side by side.


@case([1, 2, 3])
async def a_gather(ctx: Context) -> Any:
    return await asyncio.gather(*[ctx.step.run("a", one, number) for number in (1, 2, 3)])


@case([1, 2])
async def a_parallel_group(ctx: Context) -> Any:
    return list(await ctx.group.parallel([lambda: ctx.step.run("a", one, 1), lambda: ctx.step.run("a", slow, 2)]))


@case([[0, 10], [1, 11], [2, 12]])
async def a_gather_over_branches_with_the_same_ids(ctx: Context) -> Any:
    """Branches which use the same ids must not exchange results, whichever of them is faster."""

    async def branch(number: int) -> Any:
        for _ in range(3 - number):
            await asyncio.sleep(0)
        first = await ctx.step.run("a", slow if number % 2 else one, number)
        await ctx.step.sleep("b", 30 - number)
        return [first, await ctx.step.run("c", one, number + 10)]

    return await asyncio.gather(*[branch(number) for number in range(3)])


@case(["OSError", 2])
async def a_gather_in_which_one_fails(ctx: Context) -> Any:
    results = await asyncio.gather(
        ctx.step.run(StepOptions("a", retries=0), flaky), ctx.step.run("b", slow, 2), return_exceptions=True
    )
    return [getattr(result, "name", result) for result in results]


@case(("failed", "ValueError"))
async def a_gather_whose_error_fails_the_run_while_others_go_on(ctx: Context) -> Any:
    return await asyncio.gather(ctx.step.run(StepOptions("a", retries=0), broken), ctx.step.sleep("b", "1d"))


@case([1, 2])
async def a_task_group(ctx: Context) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ctx.step.run("a", one, number)) for number in (1, 2)]
    return [task.result() for task in tasks]


@case([[1, None]])
async def a_race_of_sleeps(ctx: Context) -> Any:
    return await first_of(ctx.step.sleep("a", 20), ctx.step.sleep("b", 10))


@case([[0, 5]], send(10, "e", "1", n=5))
async def a_race_of_a_wait_and_a_sleep(ctx: Context) -> Any:
    async def wait() -> Any:
        return (await ctx.step.wait_for_event("a", event="e", timeout="1d")).data["n"]

    return await first_of(wait(), ctx.step.sleep("b", 60))


@case([[1, None], 5], send(70, "e", "1", n=5))
async def a_race_that_the_wait_loses_frees_the_event_for_the_next_wait(ctx: Context) -> Any:
    """An orphaned wait eats the next event."""
    first = await first_of(ctx.step.wait_for_event("a", event="e", timeout="1d"), ctx.step.sleep("b", 60))
    event = await ctx.step.wait_for_event("c", event="e", timeout="1d")
    return [first[0], event.data["n"]]


@case([[1, "a"], [0, "b"], [1, "a"]])
async def a_race_in_a_loop(ctx: Context) -> Any:
    """The race's winner changes."""
    won = []
    for first, second in ((20, 10), (5, 15), (9, 3)):

        async def run(name: str, seconds: int) -> str:
            await ctx.step.sleep("nap", seconds)
            return await ctx.step.run("say", one, name)

        (winner,) = await first_of(run("b", first), run("a", second))
        won.append(winner)
    return won


@case([[1, 2], [0, 3]])
async def a_race_of_handlers_of_which_one_waits_for_a_retry(ctx: Context) -> Any:
    tasks = [asyncio.ensure_future(ctx.step.run("a", flaky)), asyncio.ensure_future(ctx.step.run("b", slow, 2))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1 and tasks[1] in done
    for task in pending:
        task.cancel()
    return [[1, tasks[1].result()], [0, await ctx.step.run("a", one, 3)]]


@case([2, 1])
async def the_order_of_completion(ctx: Context) -> Any:
    async def branch(number: int) -> int:
        await ctx.step.sleep("a", 30 - 10 * number)
        return number

    tasks = [asyncio.create_task(branch(number)) for number in (1, 2)]
    return [await one for one in asyncio.as_completed(tasks)]


@case([1, "late"])
async def a_task_that_goes_on_beside_the_function(ctx: Context) -> Any:
    async def side() -> str:
        await ctx.step.sleep("s", 30)
        return await ctx.step.run("t", one, "late")

    task = asyncio.create_task(side())
    return [await ctx.step.run("a", one), await task]


@case("done")
async def a_task_that_is_left_behind(ctx: Context) -> str:
    task = asyncio.create_task(ctx.step.sleep("s", "9d"))
    await ctx.step.sleep("a", 10)
    return "done" if not task.done() else "early"


@case(["cancelled", 1])
async def a_task_that_is_cancelled(ctx: Context) -> Any:
    task = asyncio.create_task(ctx.step.wait_for_event("s", event="e", timeout="9d"))
    await ctx.step.sleep("a", 10)
    task.cancel()
    await asyncio.wait([task])
    return ["cancelled" if task.cancelled() else "?", await ctx.step.run("b", one)]


@case([1, 2, "cleaned"])
async def a_cleanup_after_a_cancelling_is_recorded(ctx: Context) -> Any:
    values: list[Any] = []

    async def side() -> None:
        try:
            await ctx.step.sleep("s", "9d")
        finally:
            values.append(await ctx.step.run("clean", one, "cleaned"))

    task = asyncio.create_task(side())
    values.append(await ctx.step.run("a", one))
    await ctx.step.sleep("b", 5)
    values.append(await ctx.step.run("c", one, 2))
    task.cancel()
    await asyncio.wait([task])
    return values


# Loops and conditions.


@case([1, 2, 3])
async def a_loop_of_steps_and_sleeps(ctx: Context) -> Any:
    values = []
    for number in (1, 2, 3):
        values.append(await ctx.step.run("a", one, number))
        await ctx.step.sleep("b", number)
    return values


@case([5, 6, None], send(10, "e", "1", n=5), send(20, "e", "2", n=6))
async def a_loop_of_waits(ctx: Context) -> Any:
    values = []
    while not values or values[-1] is not None:
        event = await ctx.step.wait_for_event("a", event="e", timeout=60)
        values.append(event and event.data["n"])
    return values


@case(["ValueError"] * 2 + [1])
async def a_loop_with_try(ctx: Context) -> Any:
    values = []
    for number in range(3):
        try:
            values.append(await ctx.step.run("a", one if number == 2 else broken))
        except StepError as error:
            values.append(error.name)
    return values


@case([["a", 1], ["b", 2], ["c", 3]])
async def branches_that_loop(ctx: Context) -> Any:
    async def branch(name: str, times: int) -> Any:
        for _ in range(times):
            last = await ctx.step.run("same", one, [name, times])
            await ctx.step.sleep("nap", times)
        return last

    return await asyncio.gather(branch("a", 1), branch("b", 2), branch("c", 3))


@case([0, 1, 2, 3, 4, 5, 6, 7])
async def nested_gathers(ctx: Context) -> Any:
    async def under(depth: int, number: int) -> list[int]:
        if depth == 0:
            return [await ctx.step.run("leaf", one, number)]
        first, second = await asyncio.gather(under(depth - 1, 2 * number), under(depth - 1, 2 * number + 1))
        return first + second

    return await under(3, 0)


@case([1, 2, 1])
async def the_same_handler_under_the_users_own_numbers(ctx: Context) -> Any:
    return [await ctx.step.run(name, one, value) for name, value in (("a", 1), ("a:1", 2), ("a", 1))]


@case([0, 1, 2, 3])
async def a_queue_between_tasks(ctx: Context) -> Any:
    queue: asyncio.Queue[Any] = asyncio.Queue(1)

    async def produce() -> None:
        for number in range(4):
            await queue.put(await ctx.step.run("make", one, number))

    async def consume() -> list[Any]:
        return [await ctx.step.run("use", blocking, await queue.get()) for _ in range(4)]

    return (await asyncio.gather(produce(), consume()))[1]


@case([1, 1])
async def a_semaphore(ctx: Context) -> Any:
    limit = asyncio.Semaphore(1)

    async def branch() -> Any:
        async with limit:
            await ctx.step.sleep("s", 5)
            return await ctx.step.run("a", one)

    return await asyncio.gather(branch(), branch())


@case(["main", "side"])
async def a_side_task_that_has_begun_but_not_called(ctx: Context) -> Any:
    async def side() -> Any:
        await asyncio.sleep(0)
        return await ctx.step.run("s", one, "side")

    task = asyncio.create_task(side())
    return [await ctx.step.run("a", one, "main"), await task]


@case([1, 2, 3])
async def a_task_deep_below_that_has_yet_to_call_a_step(ctx: Context) -> Any:
    async def deep(level: int) -> Any:
        return await (asyncio.create_task(deep(level - 1)) if level else ctx.step.run("deep", one, 3))

    await ctx.step.run("a", one)
    side = asyncio.create_task(deep(25))
    return [await ctx.step.run("b", one), await ctx.step.run("c", one, 2), await side]
