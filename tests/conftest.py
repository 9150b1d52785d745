"""The property tests need hypothesis, which only the development extra installs: without it they are left out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

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
