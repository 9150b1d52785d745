"""An approval with a timeout: a hundred trips wait for somebody to say yes; who is not answered in time gives up.

`match="data.trip"` compares that path in the event that opened the run and in the new one. Waits are found by it, so
an answer reaches its run among a hundred thousand in no time. Whoever knows the run's name better than its data waits
for a signal: see `sender.py`.
"""

import asyncio

import durable
from durable.testing import Lab


@durable.function("trip/requested")
async def book_trip(ctx: durable.Context) -> str:
    trip = ctx.event.data["trip"]
    approval = await ctx.step.wait_for_event("approval", event="trip/approved", match="data.trip", timeout="2d")
    if approval is None:
        return f"trip {trip} is off: nobody answered"
    booking = await ctx.step.run("book", book, trip)
    return f"{approval.data['by']} said yes: booked {booking}"


async def book(trip: int) -> str:
    return f"trip {trip}, seat 61"


async def main() -> None:
    async with Lab([book_trip]) as lab:
        runs = {trip: await lab.send("trip/requested", {"trip": trip}) for trip in range(1, 101)}
        print(f"{len(await lab.engine.runs(status='waiting', limit=1000))} trips wait")

        await lab.advance("1d")
        await lab.send("trip/approved", {"trip": 42, "by": "Grace"})
        print("after a day:   ", await runs[42][0].result())
        print(f"{len(await lab.engine.runs(status='waiting', limit=1000))} trips wait")

        await lab.advance("1d")
        print("after two days:", await runs[7][0].result())
        print(f"{len(await lab.engine.runs(status='waiting', limit=1000))} trips wait")


if __name__ == "__main__":
    asyncio.run(main())
