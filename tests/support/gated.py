"""Hold up what a store keeps.

Separate because a real disk is as fast as it is: what must wait for it is seen only while it is held up.
Leaves to the tests what they ask meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Any

import durable


class Gated(durable.DictStore):
    """Keeps nothing while its gate is shut."""

    immediate = False

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, entries: Any) -> None:
        await self.gate.wait()
        await super().append(entries)
