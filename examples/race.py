"""A person may answer yes or no, and either ends the wait: a race of two waits, in plain asyncio.

The loser is cancelled, which is recorded: its wait is freed and never takes an event. The race has the same winner
after a crash, as `asyncio.wait` replays exactly.
"""

import asyncio

import durable
from durable.testing import Lab


@durable.function("draft/finished")
async def publish(ctx: durable.Context) -> str:
    def answer(word: str) -> asyncio.Task[durable.Event | None]:
        return asyncio.create_task(
            ctx.step.wait_for_event(word, event=f"draft/{word}", match="data.title", timeout="7d"), name=word
        )

    answers = {answer("accepted"), answer("rejected")}
    first, others = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    for other in others:
        other.cancel()
    winner = first.pop()
    event = winner.result()
    if event is None:
        return "no answer in a week"
    return await ctx.step.run("tell the author", tell, winner.get_name(), event.data["why"])


async def tell(word: str, why: str) -> str:
    return f"{word}: {why}"


async def main() -> None:
    async with Lab([publish]) as lab:
        runs = {title: await lab.send("draft/finished", {"title": title}) for title in ("Dunes", "Tides", "Winds")}
        await lab.send("draft/rejected", {"title": "Dunes", "why": "too dry"})
        await lab.send("draft/accepted", {"title": "Tides", "why": "it flows"})
        await lab.send("draft/rejected", {"title": "Tides", "why": "too late: the wait for this is freed"})
        await lab.crash()
        await lab.advance("7d")
        for title, [run] in runs.items():
            print(f"{title}: {await run.result()}")


if __name__ == "__main__":
    asyncio.run(main())
