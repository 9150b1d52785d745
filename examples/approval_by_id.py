"""Hundreds of runs wait, and each answer must reach the right one: by a field of the event, or by a signal.

`match="data.invoice"` compares that path in the event that opened the run and in the new one. A signal needs no
comparing: its name is the address, and the sender hears which run received it.
"""

import asyncio

import durable
from durable.testing import Lab


@durable.function("invoice/received")
async def pay_by_event(ctx: durable.Context) -> str:
    paid = await ctx.step.wait_for_event("approval", event="invoice/approved", match="data.invoice", timeout="30d")
    return f"invoice {ctx.event.data['invoice']}: {'paid' if paid else 'not paid'}"


@durable.function("invoice/received")
async def pay_by_signal(ctx: durable.Context) -> str:
    name = f"approve invoice {ctx.event.data['invoice']}"
    answer = await ctx.step.wait_for_signal("approval", signal=name, timeout="30d")
    return f"{name}: {answer.data['by'] if answer else 'nobody did'}"


async def main() -> None:
    async with Lab([pay_by_event, pay_by_signal]) as lab:
        runs = [await lab.send("invoice/received", {"invoice": number}) for number in range(1, 101)]
        print(f"{sum(map(len, runs))} runs wait")

        await lab.send("invoice/approved", {"invoice": 42})
        by_event, by_signal = runs[41]
        print("an event: ", await by_event.result())

        receiver = await lab.signal("approve invoice 42", {"by": "Grace"})
        assert receiver == by_signal.id
        print("a signal: ", await by_signal.result())
        print("once more:", await lab.signal("approve invoice 42", {"by": "Alan"}), "- nobody waits for it now")

        waiting = await lab.engine.runs(status="waiting", limit=1000)
        print(f"{len(waiting)} runs go on waiting")


if __name__ == "__main__":
    asyncio.run(main())
