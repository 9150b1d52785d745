"""A paginated fetch in a plain `while` loop, from a source that fails now and then.

Each page is a step, so what was fetched is never fetched again: a failure retries one page. The step ids are the same
in every round; the runtime counts them: "page", "page:1", "page:2" ...
"""

import durable

PAGES = {"": (["ant", "bee"], "p2"), "p2": (["cat", "dog"], "p3"), "p3": (["eel"], None)}
failures = ["timed out", "503 busy"]  # what the source answers before it has a good moment


@durable.function(retries=5, backoff=durable.Backoff(first="50ms"))
async def collect(ctx: durable.Context) -> list[str]:
    animals: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await ctx.step.run("page", fetch, cursor)
        animals += page["animals"]
        cursor = page["next"]
    return animals


async def fetch(cursor: str) -> dict[str, list[str] | str | None]:
    step = durable.current_step()
    print(f"fetch page {cursor or 'p1'}, try {step.attempt + 1}", end=": ")
    if cursor == "p2" and failures:
        print(failures[0])
        raise ConnectionError(failures.pop(0))
    animals, following = PAGES[cursor]
    print(*animals)
    return {"animals": animals, "next": following}


if __name__ == "__main__":
    # With store="pages.db" and an id, running the script again after Ctrl-C would go on at the page it was at.
    print("collected:", durable.run(collect))
