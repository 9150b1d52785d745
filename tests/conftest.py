"""Give every test the same surroundings, and spare its children what proves nothing: compiling.

Separate because pytest reads it before it collects the tests, so that it counts for all of them.
Leaves to the `conftest.py` of the command the fixtures of its tests.

The property tests need hypothesis, which only the development extra installs: without it they are left out.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent

collect_ignore = (
    []
    if find_spec("hypothesis") is not None
    else [
        str(path.relative_to(HERE))
        for path in HERE.rglob("test_*.py")
        if "\nfrom hypothesis" in path.read_text(encoding="utf-8")
    ]
)


@pytest.fixture(autouse=True, scope="module")
def set_aside() -> None:
    """Let a collection of garbage look at what a module has made, not at the whole suite and all that came before."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    heed_signals()
    if sys.dont_write_bytecode:  # no __pycache__ in the tree, but not hundreds of children that compile it each, either
        compiled = tempfile.TemporaryDirectory(prefix="compiled-")
        config.add_cleanup(compiled.cleanup)
        os.environ |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled.name}


def heed_signals() -> None:
    """Heed the signals that the caller had pytest ignore, as `nohup` and a shell's `&` do: children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
