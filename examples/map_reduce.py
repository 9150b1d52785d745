"""Map and reduce by `invoke`: one function calls another for each part, side by side, and adds up what they return.

Each part is a run of its own, with its own steps and retries. The parent's waiting and the child's opening are one
write, so no crash can lose a part or count it twice.
"""

import asyncio
from collections import Counter

import durable

VERSES = [
    "the owl and the pussycat went to sea",
    "they took some honey and plenty of money",
    "and hand in hand on the edge of the sand",
    "they danced by the light of the moon",
]


@durable.function
async def count_words(ctx: durable.Context) -> dict[str, int]:
    words = await ctx.step.run("split", ctx.event.data["verse"].split)
    return dict(Counter(words))


@durable.function
async def count_poem(ctx: durable.Context) -> dict[str, int]:
    async with asyncio.TaskGroup() as group:
        parts = [
            group.create_task(ctx.step.invoke("count", function=count_words, data={"verse": verse}))
            for verse in ctx.event.data["verses"]
        ]
    total = Counter[str]()
    for part in parts:
        total.update(part.result())
    return dict(total.most_common(4))


async def main() -> None:
    async with durable.Engine([count_poem, count_words]) as engine:
        words = await engine.invoke(count_poem, {"verses": VERSES})
        print("the most frequent words:", words)
        for run in reversed(await engine.runs()):
            print(f"  {run.function_id:12} {run.status}  {run.id}")


if __name__ == "__main__":
    asyncio.run(main())
