"""List faults in the delivery of outcomes to a run, and in the events that it sends.

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

OF_OWN_EVENTS = ("tests/rules/test_own_events.py",)

OF_DELIVERY = [
    Fault(
        "let what comes late wait for a cancelling",
        "scheduler/delivery.py",
        "        elif self.late and self._deliver_late():\n            return",
        "        elif self.late and not self._is_held() and self._deliver_late():\n            return",
        ("tests/unit/scheduler/test_cancelling.py",),
    ),
    Fault(
        "let what comes late wait for the turns after it",
        "scheduler/delivery.py",
        "        elif self.late and self._deliver_late():\n            return",
        "        elif self.late and self.delivered == self._last and self._deliver_late():\n            return",
        ("tests/unit/scheduler/test_cancelling.py", "tests/unit/scheduler/test_delivery.py"),
    ),
    Fault(
        "let a run end before the step whose event ends it",
        "journal/rules/decisions.py",
        "if isinstance(record, RunClosed) and record.run == ledger.run:",
        "if False:",
        OF_OWN_EVENTS,
    ),
    Fault(
        "send anew under the id of what was sent before",
        "journal/ids.py",
        "#{number}{_again(reopenings)}",
        "#{number}",
        OF_OWN_EVENTS,
    ),
    Fault(
        "give a repeat in one send an id of its own",
        "journal/rules/decisions.py",
        "firsts.setdefault(given, self.repeat_of(id, event, now) or id)",
        "self.repeat_of(id, event, now) or id",
        OF_OWN_EVENTS,
    ),
]
