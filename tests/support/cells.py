"""Run cells as a notebook runs them, without a notebook.

Separate because the README's blocks and the example's cells are run in the same way.
Leaves to the tests the cells themselves.
"""

from __future__ import annotations

import ast
import asyncio
from typing import Any


async def cell(text: str, names: dict[str, Any]) -> Any:
    """Run a text with top-level await, as a notebook does, in a task of its own; return its last expression."""
    tree = ast.parse(text, "<cell>")
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.copy_location(ast.Assign([ast.Name("shown", ast.Store())], last.value), last)
    code = compile(ast.fix_missing_locations(tree), "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def run() -> None:
        running = eval(code, names)
        if running is not None:
            await running

    names["shown"] = None
    await asyncio.create_task(run())
    return names["shown"]
