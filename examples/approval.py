"""An approval with a timeout: wait two days for somebody to say yes, then give up.

`wait_for_event` returns the event, or None when nobody answered in time; the function is an `if` away from both.
"""

import asyncio

import durable
from durable.testing import Lab


@durable.function("trip/requested")
async def book_trip(ctx: durable.Context) -> str:
    city = ctx.event.data["city"]
    await ctx.step.run("ask the boss", print, f"    May somebody travel to {city}?")
    approval = await ctx.step.wait_for_event("approval", event="trip/approved", match="data.city", timeout="2d")
    if approval is None:
        return f"nobody answered: the trip to {city} is off"
    booking = await ctx.step.run("book", book, city)
    return f"{approval.data['by']} said yes: booked {booking}"


async def book(city: str) -> str:
    return f"train to {city}, seat 61"


async def main() -> None:
    async with Lab([book_trip]) as lab:
        [paris] = await lab.send("trip/requested", {"city": "Paris"})
        [oslo] = await lab.send("trip/requested", {"city": "Oslo"})

        await lab.advance("1d")
        print("after a day, the boss approves Paris")
        await lab.send("trip/approved", {"city": "Paris", "by": "Grace"})
        print("   ", await paris.result())

        await lab.advance("1d")
        print("after two days")
        print("   ", await oslo.result())


if __name__ == "__main__":
    asyncio.run(main())
