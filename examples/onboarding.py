"""A function that sleeps for days: a welcome mail, a tip after three days, a question after another week.

The sleeps are kept in the store, so the program may stop and start in between. Here a `Lab` with a virtual clock lets
the ten days pass at once, and crashes the process in the middle.
"""

import asyncio

import durable
from durable.testing import Lab


@durable.function("user/signed.up")
async def onboard(ctx: durable.Context) -> str:
    address = ctx.event.data["address"]
    await ctx.step.run("welcome", send_mail, address, "Welcome!")
    await ctx.step.sleep("let them look around", "3d")
    await ctx.step.run("tip", send_mail, address, "Did you know ...?")
    await ctx.step.sleep("let them use it", "1w")
    await ctx.step.run("question", send_mail, address, "How do you like it?")
    return f"{address} is on board since {ctx.now():%d %B}"


async def send_mail(address: str, text: str) -> None:
    print(f"    mail to {address}: {text}")


async def main() -> None:
    async with Lab([onboard]) as lab:
        print(f"{lab.clock.now():%d %B}: Ada signs up")
        [run] = await lab.send("user/signed.up", {"address": "ada@example.org"})

        await lab.advance("3d")
        print(f"{lab.clock.now():%d %B}: the process crashes, and starts again")
        await lab.crash()

        print("           the days pass")
        print("          ", await lab.result(run))
        print("mails sent:", dict(lab.calls))


if __name__ == "__main__":
    asyncio.run(main())
