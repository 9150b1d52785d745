"""Work that is done every night at half past two in Berlin, once, whatever happens to the process.

How far the ticks are done with is recorded with the runs that they open. Here a `Lab` with a virtual clock lets the
nights pass at once. The process dies in the middle of a night's work, and the laptop sleeps for four nights: with
missed="last", the default, one run makes up for all of them.
"""

import asyncio
from datetime import UTC, datetime

import durable
from durable.testing import Lab

NIGHTLY = durable.TriggerCron("30 2 * * *", tz="Europe/Berlin", missed="last")


@durable.function(NIGHTLY)
async def report(ctx: durable.Context) -> str:
    night = ctx.event.data["scheduled_at"]
    rows = await ctx.step.run("count", count_orders)
    await ctx.step.sleep("wait for the other shop", "20m")
    return await ctx.step.run("write", write_report, f"{night:%d %B}", rows)


async def count_orders() -> int:
    print("    counting orders")
    return 100


async def write_report(night: str, rows: int) -> str:
    return f"{night}: {rows} orders"


async def main() -> None:
    store = durable.DictStore()
    async with Lab([report], store=store, start=datetime(2030, 3, 29, 12, tzinfo=UTC)) as lab:
        await lab.advance("14h")
        print(f"{lab.clock.now():%d %B %H:%M} UTC: the process dies in the middle of the work, and starts again")
        await lab.crash()
        await lab.advance("1h")
        await lab.advance("1d")  # in the night of the 31st there is no half past two: it runs when the clocks were set
        for run in reversed(await lab.engine.runs()):
            print(f"    {run.id}: {run.output}")

    print("the laptop sleeps for four nights")
    async with Lab([report], store=store, start=datetime(2030, 4, 4, 8, tzinfo=UTC)) as lab:
        await lab.advance("1h")
        print("after six nights there are", len(runs := await lab.engine.runs()), "runs; the last:", runs[0].output)


if __name__ == "__main__":
    asyncio.run(main())
