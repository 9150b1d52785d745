"""An API that allows three calls in ten seconds for each customer: no try begins too early, and a 429 is minded.

A throttle of tries counts the calls of handlers, of all runs of a key and their retries. It is exact, also after a
crash: each call is recorded before it is made. A run sleeps or waits meanwhile as it likes: only calls count.
"""

import asyncio
from collections import defaultdict

import durable
from durable.testing import Lab

CALLS: dict[str, list[str]] = defaultdict(list)
LIMIT = durable.Throttle(3, "10s", key="event.data.customer", counts="steps")


@durable.function("customer/changed", throttle=LIMIT)
async def sync(ctx: durable.Context) -> str:
    customer = ctx.event.data["customer"]
    await ctx.step.run("fetch", call, customer)
    await ctx.step.run("update", call, customer)
    return "in sync"


async def call(customer: str) -> str:
    CALLS[customer].append(f"{LAB.clock.now():%M:%S}")
    if customer == "bob" and len(CALLS["bob"]) == 1:  # the API has its own view now and then
        raise durable.RetryAfterError("429 Too Many Requests", "30")  # the text of its Retry-After header
    return "200 OK"


LAB = Lab([sync])


async def main() -> None:
    async with LAB as lab:
        for customer in ("ada", "ada", "ada", "ada", "bob"):
            await lab.send("customer/changed", {"customer": customer})
        print(f"four changes of ada and one of bob: {dict(CALLS)}")
        print("the process dies, and goes on")
        await lab.crash()
        await lab.advance("1m")
        for customer, times in CALLS.items():
            print(f"    calls for {customer} at {', '.join(times)}")
        outputs = [info.output for info in await lab.engine.runs()]
        print(f"{outputs.count('in sync')} runs are in sync")


if __name__ == "__main__":
    asyncio.run(main())
