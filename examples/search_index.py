"""A search index that follows a document while it is edited: one run for many edits, with the last of them.

A debounce opens the run when the edits of a document have ceased for a while, at the latest so long after the first.
"""

import asyncio

import durable
from durable.testing import Lab

INDEX: dict[str, str] = {}


@durable.function("doc/edited", debounce=durable.Debounce("30s", timeout="2m", key="event.data.doc"))
async def reindex(ctx: durable.Context) -> str:
    return await ctx.step.run("index", index, ctx.event.data["doc"], ctx.event.data["text"])


async def index(doc: str, text: str) -> str:
    INDEX[doc] = text
    return f"{doc}: {text!r}"


async def edit(lab: Lab, doc: str, *texts: str) -> None:
    for text in texts:
        await lab.send("doc/edited", {"doc": doc, "text": text})
        await lab.advance("20s")


async def main() -> None:
    async with Lab([reindex]) as lab:
        begin = lab.clock.now()
        print("a note is edited three times in a minute, and the process dies")
        await edit(lab, "note", "d", "du", "dune")
        await lab.crash()
        for held in await lab.engine.held():
            print(f"    held: {held.events[0].data}, opens at {(held.due - begin).seconds} s")
        await lab.advance("10s")
        print(f"    indexed: {INDEX}")
        print("a book is edited for three minutes without a pause")
        await edit(lab, "book", *(f"chapter {number}" for number in range(1, 10)))
        print("the editor is in a hurry for the rest")
        [run] = await lab.engine.flush(reindex, "book")
        print(f"    indexed: {await lab.result(run)}")
        for info in reversed(await lab.engine.runs()):
            print(f"    run at {(info.opened_at - begin).seconds} s: {info.output}")
        _, *replaced = (await lab.engine.why(run.id)).text.splitlines()
        print(f"    that one stands for {len(replaced)} edits before it")


if __name__ == "__main__":
    asyncio.run(main())
