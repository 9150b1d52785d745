"""Two web workers, one store: both send and read, one has the engine, the other takes over when that dies (kill -9).

`FastAPI(lifespan=lifespan)` is all that the framework for which `serve` stands here needs of this."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import durable


@durable.function("placed")
async def fulfil(ctx: durable.Context) -> str:
    return await ctx.step.run("pack", "order {} is packed by {}".format, ctx.event.data["order"], sys.argv[2])


async def stand_by(store: str) -> None:
    while True:
        with suppress(durable.StoreLockedError):  # another worker has it
            async with durable.Engine([fulfil], store=store):
                print(f"    {sys.argv[2]} has the engine", flush=True)
                await asyncio.Event().wait()
        await asyncio.sleep(0.2)


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[dict[str, Any]]:
    engine = asyncio.create_task(stand_by(sys.argv[1]))
    yield {"sender": durable.Sender(sys.argv[1]), "reader": durable.Reader(sys.argv[1])}  # a request's state
    engine.cancel()
    await asyncio.wait([engine])  # it closes in order


async def serve() -> None:
    async with lifespan(None) as state:
        while order := (await asyncio.to_thread(sys.stdin.readline)).strip():
            [event] = await state["sender"].send("placed", {"order": order})
            while not (runs := [run for run in await state["reader"].runs(event_id=event) if run.ended_at]):
                await asyncio.sleep(0.1)
            print(f"    {sys.argv[2]} answers: {runs[0].output}", flush=True)


def worker(folder: str, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, f"{folder}/x.db", name], stdin=-1, stdout=-1, text=True)


if __name__ == "__main__" and sys.argv[1:]:
    asyncio.run(serve())
elif __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, worker(folder, "a") as a:
        print(a.stdout.readline(), end="")
        b = worker(folder, "b")
        print("7", file=b.stdin, flush=True)
        print(b.stdout.readline(), end="")
        a.kill(), print(b.communicate("8")[0], end="")
