"""A web application that is not async: `application` is plain WSGI, and a view of Flask or Django does the same.

A request sends, and does not wait for the engine: what it sent is durable when `send` returns. Another one reads what
has become of it. The engine is in another process. `ask` stands for the web server.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import durable


@durable.function("placed")
async def fulfil(ctx: durable.Context) -> str:
    return await ctx.step.run("pack", "order {} is packed".format, ctx.event.data["order"])


async def serve(store: str) -> None:
    async with durable.Engine([fulfil], store=store):
        print("the engine is open", flush=True)
        await asyncio.Event().wait()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    store, (_, what, name) = environ["shop.store"], environ["PATH_INFO"].split("/")
    if what == "place":
        [event] = asyncio.run(durable.Sender(store).send("placed", {"order": name}))
        answer = f"/order/{event}"
    else:
        runs = asyncio.run(durable.Reader(store).runs(event_id=name))
        answer = str(runs[0].output) if runs and runs[0].ended_at else "not yet"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]


def ask(store: str, path: str) -> str:
    return application({"PATH_INFO": path, "shop.store": store}, lambda *_: None)[0].decode()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/shop.db"
        with subprocess.Popen([sys.executable, __file__, store], stdout=subprocess.PIPE, text=True) as engine:
            print(engine.stdout.readline(), end="")
            order = ask(store, "/place/7")
            while (answer := ask(store, order)) == "not yet":
                time.sleep(0.05)
            print(answer)
            engine.kill()
