"""What stands around the README's blocks about looking into runs.

Separate because `test_readme` would be too long with all surroundings.
Leaves to `test_readme` the blocks.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

import durable
from durable.testing import Lab
from tests.support.cells import cell

ORDER = {"order_id": 7, "total": 12}


def a_reader(text: str, place: Path) -> None:
    @durable.function(retries=0)
    async def quick(ctx: durable.Context) -> int:
        return int(ctx.event.data["total"])

    async def story() -> None:
        async with durable.Engine([quick], store=place / "app.db") as engine:
            await engine.start(quick, ORDER, id="order-7")
            with pytest.raises(durable.RunFailed):
                await engine.invoke(quick, {"total": None}, id="order-8")
            names = {"durable": durable, "json": json}
            await cell(text, names)
            assert names["shipped"] == 12

    with redirect_stdout(StringIO()) as out:
        asyncio.run(story())
    assert "order-8 TypeError" in out.getvalue()


def a_why(text: str, _place: Path) -> None:
    @durable.function
    async def bill(ctx: durable.Context) -> None:
        await ctx.step.wait_for_event("paid", event="shop/paid", timeout="1d", match="data.order_id")

    async def story() -> None:
        async with Lab([bill]) as lab:
            await lab.start(bill, ORDER, id="order-7")
            await lab.send("shop/paid", {"order_id": "7"})
            await cell(text, {"engine": lab.engine})

    with redirect_stdout(StringIO()) as out:
        asyncio.run(story())
    assert out.getvalue() == "".join(line[2:] + "\n" for line in text.splitlines()[1:])
