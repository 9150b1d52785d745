"""One event, three functions: whoever sends it knows none of them, and each succeeds or fails on its own.

A function's trigger is a name, a pattern, or a name with a condition. `send` returns when the event and the three runs
that it opened are kept, in one write.
"""

import asyncio

import durable


@durable.function("shop/order.placed")
async def charge(ctx: durable.Context) -> str:
    return await ctx.step.run("charge card", lambda: f"charged {ctx.event.data['amount']}")


@durable.function(durable.TriggerEvent("shop/order.placed", if_exp="event.data.amount > 1000"))
async def check_fraud(ctx: durable.Context) -> str:
    return await ctx.step.run("check", lambda: "looks fine")


@durable.function("shop/*", retries=1, backoff=durable.Backoff(first="50ms"))
async def count(ctx: durable.Context) -> str:
    return await ctx.step.run("tell the statistics", tell_statistics)


async def tell_statistics() -> str:
    raise ConnectionError("the statistics are down")


async def main() -> None:
    async with durable.Engine([charge, check_fraud, count]) as engine:
        for amount in (20, 5000):
            print(f"an order of {amount}")
            [event] = await engine.send("shop/order.placed", {"amount": amount})
            for run in await engine.runs():
                if run.id.startswith(event):
                    await show(engine, run.id)


async def show(engine: durable.Engine, run_id: str) -> None:
    run = await engine.run(run_id)
    try:
        print(f"    {(await run.info()).function_id}: {await run.result()}")
    except durable.RunFailed as failed:
        print(f"    {(await run.info()).function_id}: failed, {failed.error.message}")


if __name__ == "__main__":
    asyncio.run(main())
