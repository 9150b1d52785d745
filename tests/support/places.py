"""Where the library and its tests lie, for whoever starts a process of its own."""

from __future__ import annotations

from pathlib import Path

import durable

ROOT = Path(durable.__file__).parent.parent
