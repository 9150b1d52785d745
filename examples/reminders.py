"""A schedule for each customer, made while the program runs: at their own hour, in their own time zone.

A schedule is recorded: it goes on after a restart, without being asked. Making it again with the same id replaces it;
an equal one goes on as it is. Here a `Lab` with a virtual clock lets the days pass at once.
"""

import asyncio

import durable
from durable.testing import Lab

CUSTOMERS = {
    "ada": ("0 9 * * *", "Europe/London"),
    "bo": ("30 7 * * MON-FRI", "Asia/Tokyo"),
    "cleo": ("0 18 * * FRI", "America/New_York"),
}


@durable.function
async def remind(ctx: durable.Context) -> str:
    name, at = ctx.event.data["name"], ctx.event.data["scheduled_at"]
    return await ctx.step.run("mail", send_mail, name, f"{at:%a %d %H:%M} UTC")


async def send_mail(name: str, at: str) -> str:
    print(f"    {at}: a mail to {name}")
    return at


async def main() -> None:
    async with Lab([remind]) as lab:
        for name, (cron, zone) in CUSTOMERS.items():
            await lab.engine.schedule(remind, cron, id=f"reminder-{name}", tz=zone, data={"name": name})
        for one in await lab.engine.schedules():
            print(f"{one.id}: {one.cron} in {one.tz}, next at {one.next_at:%a %d %H:%M} UTC")
        await lab.advance("2d")

        print("the process crashes; Ada wants no more mails, and Bo's wait for a holiday to pass")
        await lab.crash()
        await lab.engine.unschedule("reminder-ada")
        await lab.engine.pause(remind)
        await lab.advance("3d")
        await lab.engine.resume(remind)  # of the mails that were missed, each customer gets the last
        await lab.settle()
        print("mails sent:", lab.calls["mail"])


if __name__ == "__main__":
    asyncio.run(main())
