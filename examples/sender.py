"""Two processes, one store: this program sends an event and a signal to another one, which has the engine.

What is sent is durable when `send` returns, and is taken exactly once: at once by the engine that runs, otherwise by
the next one that opens the store. A signal is for the run that waits for it by then.
"""

import asyncio
import subprocess
import sys
import tempfile

import durable


@durable.function("order/placed")
async def fulfil(ctx: durable.Context) -> None:
    order = ctx.event.data["order"]
    packed = ctx.step.wait_for_signal("packed", signal=f"packed {order}", timeout="1d")  # it waits from this call on
    await ctx.step.run("ask", print, f"please pack order {order}", flush=True)
    answer = await packed
    await ctx.step.run("ship", print, f"order {order} is shipped: {answer and answer.data['by']} packed it", flush=True)


async def serve(store: str) -> None:
    async with durable.Engine([fulfil], store=store):
        await asyncio.Event().wait()


async def order(store: str) -> None:
    async with durable.Engine([fulfil], store=store):
        pass  # the first engine that opens a store makes it
    async with durable.Sender(store) as sender:
        for _ in range(2):  # whoever is not sure sends again: the id is taken once
            await sender.send("order/placed", {"order": 7}, id="order-7")


async def pack(store: str) -> None:
    async with durable.Sender(store) as sender:
        await sender.send_signal("packed 7", {"by": "Ann"})


def show(store: str) -> None:
    asyncio.run(order(store))
    print("order 7 is sent, twice; no engine runs")
    print("another process opens the store")
    with subprocess.Popen([sys.executable, __file__, store], stdout=subprocess.PIPE, text=True) as engine:
        for line in engine.stdout or ():
            print("   ", line, end="")
            asyncio.run(pack(store)) if "please" in line else engine.kill()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            show(f"{folder}/shop.db")
