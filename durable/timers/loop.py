"""Find asyncio's event loop, or say what to do where there is none.

Separate because each way in asks for it first, and Python's own error, "no running event loop", names no remedy.
Leaves to the callers everything that is done with the loop.
"""

from __future__ import annotations

import asyncio


def asyncio_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        RuntimeError: there is none, as under trio.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "durable runs on asyncio, and no event loop of asyncio runs here: call it from asyncio.run(main()), not "
            "from trio. For tests with anyio's plugin, write the fixture that tells it the backend: "
            "`@pytest.fixture` `def anyio_backend(): return 'asyncio'`"
        ) from None
