"""Onboarding that follows what people do: activity shortens a wait, leaving ends the run wherever it is.

`cancel=` names an event that stops the run; `match` sees to it that only the right run stops. No step needs to ask.
"""

import asyncio

import durable
from durable.testing import Lab


@durable.function("user/signed.up", cancel=[durable.Cancel("user/left", match="data.user")])
async def onboard(ctx: durable.Context) -> str:
    user = ctx.event.data["user"]
    await ctx.step.run("welcome", mail, user, "welcome!")
    for reminder in range(1, 4):
        project = await ctx.step.wait_for_event(
            "first project", event="project/created", match="data.user", timeout="3d"
        )
        if project is not None:
            await ctx.step.run("congratulate", mail, user, f"{project.data['name']} is a fine name!")
            return f"active after {reminder - 1} reminders"
        await ctx.step.run("remind", mail, user, f"reminder {reminder}: make your first project")
    return "gave up"


async def mail(user: str, text: str) -> None:
    print(f"    mail to {user}: {text}")


async def main() -> None:
    async with Lab([onboard]) as lab:
        runs = {user: await lab.send("user/signed.up", {"user": user}) for user in ("ada", "bob", "eve")}
        print("a day later ada makes a project, bob leaves")
        await lab.advance("1d")
        await lab.send("project/created", {"user": "ada", "name": "Engine"})
        await lab.send("user/left", {"user": "bob"})
        print("weeks pass")
        await lab.advance("2w")
        for user, [run] in runs.items():
            info = await run.info()
            print(f"{user}: {info.status}, {info.output or info.reason}")


if __name__ == "__main__":
    asyncio.run(main())
