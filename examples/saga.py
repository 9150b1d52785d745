"""A saga: what was done is undone when a later step fails, last thing first.

A step that is out of tries raises `StepError`, to be caught like any exception. The undoing is steps, too: here the
process dies in the middle of it, and it goes on.
"""

import asyncio

import durable
from durable.testing import Dies, Lab


@durable.function("trip/ordered", retries=1)
async def book_trip(ctx: durable.Context) -> str:
    city = ctx.event.data["city"]
    booked: list[str] = []
    try:
        for part in ("flight", "hotel", "car"):
            await ctx.step.run(f"book {part}", book, part, city)
            booked.append(part)
    except durable.StepError as error:
        for part in reversed(booked):
            await ctx.step.run(f"cancel {part}", cancel, part, city)
        return f"{city}: no trip, {error.message}; cancelled {' and '.join(reversed(booked))}"
    return f"{city}: booked {', '.join(booked)}"


async def book(part: str, city: str) -> None:
    print(f"    book the {part} in {city}, try {durable.current_step().attempt + 1}")
    if (part, city) == ("car", "Oslo"):
        raise LookupError("there are no cars left in Oslo")


async def cancel(part: str, city: str) -> None:
    print(f"    cancel the {part} in {city}")


async def main() -> None:
    async with Lab([book_trip], stubs={"cancel hotel": Dies("before")}) as lab:
        for city in ("Rome", "Oslo"):
            print(f"a trip to {city} is ordered")
            [run] = await lab.send("trip/ordered", {"city": city})
            print(await lab.result(run))
        print(f"the process died before the hotel was cancelled: {lab.calls['cancel hotel']} calls, one cancellation")


if __name__ == "__main__":
    asyncio.run(main())
