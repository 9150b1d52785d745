"""Readings that are written by the hundred, not one by one: one run for several events.

A batch opens its run when it is full, or a while after its first event with what has come. What is urgent goes alone.
Each sensor hub has batches of its own, and no reading is lost or written twice when the process dies.
"""

import asyncio

import durable
from durable.testing import Lab

TABLE: list[float] = []
BATCHES = durable.Batch(100, "10s", key="event.data.hub", if_exp="event.data.value < 90")


@durable.function("sensor/read", batch_events=BATCHES)
async def insert(ctx: durable.Context) -> str:
    values = [event.data["value"] for event in ctx.events]
    count = await ctx.step.run("insert", write, values)
    return f"hub {ctx.event.data['hub']}: {count} rows"


async def write(values: list[float]) -> int:
    TABLE.extend(values)
    return len(values)


async def main() -> None:
    async with Lab([insert]) as lab:
        begin = lab.clock.now()
        readings = [{"hub": "north" if n % 3 else "south", "value": n % 80} for n in range(260)]
        await lab.send([durable.Event("sensor/read", data) for data in readings])
        print(f"260 readings came, {len(TABLE)} are written")
        await lab.advance("4s")
        await lab.send("sensor/read", {"hub": "south", "value": 99})
        print("the process dies while the others are held")
        await lab.crash()
        for held in await lab.engine.held(insert):
            print(f"    hub {held.key}: {len(held.events)} held, till {(held.due - begin).seconds} s")
        await lab.advance("6s")
        for info in reversed(await lab.engine.runs()):
            print(f"    run at {(info.opened_at - begin).seconds} s, {info.output}")
        print(f"{len(TABLE)} are written")


if __name__ == "__main__":
    asyncio.run(main())
