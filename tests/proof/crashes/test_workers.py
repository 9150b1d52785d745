"""Several web workers, one store: who has the engine, who takes over when it dies, and what a request comes to."""

from __future__ import annotations

import asyncio
import contextlib
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import durable
from tests.proof.crashes import ENVIRONMENT, ROOT

WORKER = """
import asyncio, os, sys
from contextlib import suppress
import durable

@durable.function("placed")
async def fulfil(ctx):
    order = await ctx.step.run("pack", lambda: ctx.event.data["order"])
    await ctx.step.wait_for_event("wait", event="collected", timeout="30d")
    return order

async def stand_by(store, log):
    while True:
        with suppress(durable.StoreLockedError):
            async with durable.Engine([fulfil], store=store):
                os.write(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), b"%d\\n" % os.getpid())
                await asyncio.Event().wait()
        await asyncio.sleep(0.05)

asyncio.run(stand_by(*sys.argv[1:]))
"""
WORKERS = 3


def until(said: Callable[[], Any]) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + 30
    while not (answer := said()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


def ask(application: Callable[..., Any], store: Path, path: str) -> str:
    """Ask a WSGI application as a server does."""
    told: list[str] = []
    body = application({"PATH_INFO": path, "shop.store": str(store)}, lambda status, _: told.append(status))
    assert told == ["200 OK"]
    return b"".join(body).decode()


def test_exactly_one_worker_takes_over_each_time_the_engine_is_killed(tmp_path: Path) -> None:
    """S10, R29: what was sent meanwhile, from plain WSGI, is taken once, and the runs go on."""
    store, log = tmp_path / "x.db", tmp_path / "log"
    application = runpy.run_path(str(ROOT / "examples" / "wsgi.py"))["application"]
    command = [sys.executable, "-c", WORKER, str(store), str(log)]
    with contextlib.ExitStack() as stack:
        workers: dict[int, subprocess.Popen[bytes]] = {}
        for _ in range(WORKERS):
            process = stack.enter_context(subprocess.Popen(command, env=ENVIRONMENT))
            stack.callback(process.kill)
            workers[process.pid] = process
        orders: list[str] = []
        for taken in range(1, WORKERS + 1):
            until(lambda taken=taken: log.exists() and len(log.read_text().splitlines()) == taken)  # type: ignore[misc]
            orders.append(ask(application, store, f"/place/{len(orders)}"))
            until(lambda: ask(application, store, orders[-1]) == "not yet" and _waiting(store) == len(orders))
            if taken < WORKERS:
                workers.pop(int(log.read_text().splitlines()[-1])).kill()  # who has it is alive, and is killed once
                orders.append(ask(application, store, f"/place/{len(orders)}"))  # with or without an engine
        asyncio.run(durable.Sender(store).send("collected"))
        for number, order in enumerate(orders):
            assert until(lambda order=order: _answer(application, store, order)) == str(number)  # type: ignore[misc]
    assert len(log.read_text().splitlines()) == WORKERS and len(orders) == 2 * WORKERS - 1
    assert len(asyncio.run(durable.Reader(store).runs())) == len(orders)


def _waiting(store: Path) -> int:
    return len(asyncio.run(durable.Reader(store).runs(status="waiting")))


def _answer(application: Callable[..., Any], store: Path, order: str) -> str:
    answer = ask(application, store, order)
    return "" if answer == "not yet" else answer


@pytest.fixture
def lifespan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The lifespan of the example, as worker "a" of a store that a deployment has made before."""

    async def make() -> None:
        async with durable.Engine([], store=tmp_path / "x.db"):
            pass

    asyncio.run(make())
    monkeypatch.setattr(sys, "argv", ["workers.py", str(tmp_path / "x.db"), "a"])
    return runpy.run_path(str(ROOT / "examples" / "workers.py"))["lifespan"]


def test_a_lifespan_gives_each_request_a_sender_and_a_reader(lifespan: Any, tmp_path: Path) -> None:
    """S10: as any ASGI framework enters it."""

    async def story() -> None:
        async with lifespan(None) as state:
            [event] = await state["sender"].send("placed", {"order": 7})
            while not (runs := [run for run in await state["reader"].runs(event_id=event) if run.ended_at]):
                await asyncio.sleep(0)
            assert runs[0].output == "order 7 is packed by a"
        async with durable.Engine([], store=tmp_path / "x.db"):  # closed in order: the lock is free
            pass

    asyncio.run(story())


def test_fastapi_takes_the_lifespan_as_it_is(lifespan: Any, tmp_path: Path) -> None:
    """S10: in an environment that has it; the test before this one is for all others."""
    fastapi = pytest.importorskip("fastapi")
    client = pytest.importorskip("fastapi.testclient").TestClient
    app = fastapi.FastAPI(lifespan=lifespan)

    async def place(order: int, request: Any) -> str:
        [event] = await request.state.sender.send("placed", {"order": order})
        return str(event)

    async def answer(event: str, request: Any) -> Any:
        return [run.output for run in await request.state.reader.runs(event_id=event) if run.ended_at]

    for one in (place, answer):
        one.__annotations__["request"] = fastapi.Request
    app.post("/orders/{order}")(place)
    app.get("/answers/{event}")(answer)
    with client(app) as asking:
        event = asking.post("/orders/7").json()
        assert until(lambda: asking.get(f"/answers/{event}").json()) == ["order 7 is packed by a"]
