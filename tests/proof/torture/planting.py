"""Plant a fault in a copy of the tree, and run its tests there.

Separate because the table of faults is to be read without it.
Leaves to `faults` the list of faults. Nothing in the checkout is touched: the copy is in a temporary folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs

from tests.support.places import ROOT

TORTURE = "tests/proof/torture/test_engine.py"


@attrs.frozen
class Fault:
    """A fault is one wrong line: in `file`, `old` becomes `new`.

    `tests` are quick tests that may find it.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = (TORTURE, "-k", "not memory")


@attrs.frozen
class Verdict:
    """A verdict names the test that found a fault, or None, and the seconds that this took."""

    fault: Fault
    found_by: str | None
    seconds: float


def judged(fault: Fault) -> Verdict:
    """Plant a fault in a copy of its own and ask its tests."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fault-") as folder:
        place = Path(folder)
        for name in ("durable", "tests"):
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", place)
        plant(fault, place / "durable" / fault.file)
        environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=60", *fault.tests]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    return Verdict(fault, _finder(done) if done.returncode else None, time.monotonic() - begun)


def _finder(done: subprocess.CompletedProcess[str]) -> str:
    """Return the test that failed; a test that never ended is weak evidence, and marked."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if found is None:
        return f"pytest ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-200:]}"
    return f"{found.group(1)}{' BY ITS TIMEOUT' if 'Timeout (>' in done.stdout else ''}"


def plant(fault: Fault, path: Path) -> None:
    """Put a fault into a file.

    Raises:
        AssertionError: the file no longer has the line.
    """
    text = path.read_text()
    assert fault.old in text, f"fault {fault.name!r}: {fault.file} no longer has {fault.old!r}"
    path.write_text(text.replace(fault.old, fault.new, 1))
