"""Of the planted faults: those in when a run is given what is recorded of it.

Separate because one table would be too long to read.
Leaves to `faults` to plant them.
"""

from __future__ import annotations

from tests.torture.planting import Fault

OF_DELIVERY = [
    Fault(
        "let what comes late wait for a cancelling",
        "delivery.py",
        "        elif self._deliver_late():\n            return",
        "        elif not self._is_held() and self._deliver_late():\n            return",
        ("tests/test_cancelling.py",),
    ),
    Fault(
        "let what comes late wait for the turns after it",
        "delivery.py",
        "        elif self._deliver_late():\n            return",
        "        elif self.delivered == self._last and self._deliver_late():\n            return",
        ("tests/test_cancelling.py", "tests/test_delivery.py"),
    ),
]
