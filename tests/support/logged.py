"""Leave out of what was logged the lines that every run has: that it failed, ended, was parked (R33).

Separate because a test of one warning means: nothing else is said, but what is said of any such run.
Leaves to `tests/rules/test_in_the_log.py` the lines that are left out here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable


def is_usual(record: logging.LogRecord) -> bool:
    """Whether a line is one that every such run has."""
    return record.module == "notices"


def unusual(records: Iterable[logging.LogRecord]) -> list[str]:
    """Return the other lines."""
    return [record.getMessage() for record in records if not is_usual(record)]
