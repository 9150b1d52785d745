"""A daemon: one engine for as long as the program serves, closed in order by SIGTERM, so that a deploy loses nothing.

`lifespan` is what a web framework asks for, as in `FastAPI(lifespan=lifespan)`; here `serve` stands for the framework.
Without a path it is a show: it starts the daemon, stops it in the middle of a run, and starts it again.
"""

import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import durable


@durable.function("user/signed.up")
async def welcome(ctx: durable.Context) -> None:
    name = ctx.event.data["name"]
    await ctx.step.run("welcome", print, f"    mail: welcome, {name}! Is this address yours?", flush=True)
    if await ctx.step.wait_for_event("answer", event="user/confirmed", match="data.name", timeout="7d"):
        await ctx.step.run("thank", print, f"    mail: thank you, {name}", flush=True)


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[dict[str, durable.Engine]]:
    async with durable.Engine([welcome], store=sys.argv[1]) as engine:  # goes on with every unfinished run
        yield {"engine": engine}  # a request's state


async def serve() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with lifespan(None) as state:
        engine = state["engine"]  # what a request would use
        await engine.settled()
        await engine.send("user/confirmed" if await engine.runs() else "user/signed.up", {"name": "Ada"})
        await stop.wait()
    print("    closed, in order", flush=True)


def show(store: str) -> None:
    for start in ("first", "second"):
        print(f"the {start} daemon", flush=True)
        with subprocess.Popen([sys.executable, __file__, store], stdout=subprocess.PIPE, text=True) as daemon:
            for line in daemon.stdout or ():
                print(line, end="")
                if "mail" in line:
                    daemon.terminate()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve())
    else:
        with tempfile.TemporaryDirectory() as folder:
            show(f"{folder}/daemon.db")
