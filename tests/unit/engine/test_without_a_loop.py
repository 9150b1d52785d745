"""Calls where no loop of asyncio runs, as under trio: each way in says what durable runs on, and what to write."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, Engine, FileStore, Sender
from durable.testing import Lab, torture

REMEDY = "durable runs on asyncio, .* call it from asyncio.run.*def anyio_backend\\(\\): return 'asyncio'"


@durable.function
async def greet(ctx: Context) -> str:
    return "hello"


WAYS: dict[str, Callable[[Path], Coroutine[Any, Any, Any]]] = {
    "open an engine": lambda path: Engine([greet]).open(),
    "enter an engine": lambda path: Engine([greet]).__aenter__(),
    "open an engine on a file": lambda path: Engine([greet], store=path).open(),
    "open a store": lambda path: FileStore(path).open(),
    "enter a lab": lambda path: Lab([greet]).__aenter__(),
    "enter a lab on a file": lambda path: Lab([greet], store=FileStore(path)).__aenter__(),
    "enter a sender": lambda path: Sender(path).__aenter__(),
    "torture": lambda path: torture(greet),
}


@pytest.mark.parametrize("way", WAYS)
def test_where_no_loop_of_asyncio_runs_each_way_in_says_what_to_write(way: str, tmp_path: Path) -> None:
    """As trio does, this takes the coroutine one part further, and knows nothing of asyncio."""
    calling = WAYS[way](tmp_path / "x.db")
    with pytest.raises(RuntimeError, match=REMEDY) as caught:
        calling.send(None)
    assert caught.value.__suppress_context__
    assert list(tmp_path.iterdir()) == []
