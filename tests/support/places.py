"""Name the folders of the library and its tests, for tests that start processes."""

from __future__ import annotations

from pathlib import Path

import durable

ROOT = Path(durable.__file__).parent.parent
