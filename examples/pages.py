"""A paginated fetch in a plain `while` loop, from a source that fails now and then.

Each page is a step, so what was fetched is never fetched again: a failure retries one page. The step ids are the same
in every round; the runtime counts them: "page", "page:1", "page:2" ...
"""

from typing import NamedTuple

import durable


class Page(NamedTuple):
    animals: list[str]
    following: str | None


PAGES = {"p1": Page(["ant", "bee"], "p2"), "p2": Page(["cat", "dog"], "p3"), "p3": Page(["eel"], None)}
failures = ["timed out", "503 busy"]  # what the source answers before it has a good moment


@durable.function(retries=5, backoff=durable.Backoff(first="50ms"))
async def collect(ctx: durable.Context) -> list[str]:
    animals: list[str] = []
    cursor: str | None = "p1"
    while cursor is not None:
        page = await ctx.step.run("page", fetch, cursor)
        animals += page.animals
        cursor = page.following
    return animals


async def fetch(cursor: str) -> Page:
    print(f"fetch page {cursor}, try {durable.current_step().attempt + 1}", end=": ")
    if cursor == "p2" and failures:
        print(failures[0])
        raise ConnectionError(failures.pop(0))
    print(*PAGES[cursor].animals)
    return PAGES[cursor]


if __name__ == "__main__":
    # With store="pages.db" and an id, running the script again after Ctrl-C would go on at the page it was at.
    print("collected:", durable.run(collect))
