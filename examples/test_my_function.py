"""Tests of a function as you would write them: no files, no waiting, and a crash wherever you want one.

    pytest examples/test_my_function.py

The two lines about anyio are for this file alone: the README says what to write for a whole project.
"""

import subprocess
import sys

import pytest

import durable
from durable.testing import Dies, Lab, torture

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@durable.function("invoice/sent")
async def remind(ctx: durable.Context) -> str:
    invoice = ctx.event.data["invoice"]
    for number in range(1, 3):
        paid = await ctx.step.wait_for_event("paid", event="invoice/paid", match="data.invoice", timeout="14d")
        if paid is not None:
            return f"paid after {number - 1} reminders"
        await ctx.step.run("mail", mail, f"reminder {number} for invoice {invoice}")
    return "given to the lawyers"


async def mail(text: str) -> None:
    raise AssertionError(f"no test sends a mail: {text}")


async def test_who_pays_at_once_gets_no_reminder() -> None:
    async with Lab([remind]) as lab:
        [run] = await lab.send("invoice/sent", {"invoice": 7})
        await lab.send("invoice/paid", {"invoice": 7})
        assert await run.result() == "paid after 0 reminders"


async def test_who_never_pays_gets_two_reminders() -> None:
    async with Lab([remind], stubs={"mail": None}) as lab:
        [run] = await lab.send("invoice/sent", {"invoice": 7})
        assert await lab.result(run) == "given to the lawyers"  # four weeks, skipped
        assert lab.calls["mail"] == 2


async def test_a_process_that_dies_before_it_mails_mails_later() -> None:
    async with Lab([remind], stubs={"mail": [Dies("before"), None, None]}) as lab:
        [run] = await lab.send("invoice/sent", {"invoice": 7})
        assert await lab.result(run) == "given to the lawyers"


async def test_it_goes_on_the_same_after_any_crash() -> None:
    await torture(remind, {"invoice": 7}, drive=lambda lab, run: lab.send("invoice/paid", {"invoice": 7}))


if __name__ == "__main__":
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__]))
