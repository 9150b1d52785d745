"""List faults in the recording of runs that rest.

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

OF_RESTS = ("tests/unit/scheduler/test_resting.py",)

OF_RESTING = [
    Fault(
        "let a run rest that waits in one of several branches",
        "scheduler/resting.py",
        "key = session.waits_only_in",
        "key = next(iter(session.waits), None)",
        OF_RESTS,
    ),
    Fault(
        "let a run rest whose own clock runs",
        "scheduler/resting.py",
        "if key is not None and session not in busy:",
        "if key is not None:",
        OF_RESTS,
    ),
    Fault(
        "wake no run that rests by an event",
        "journal/rules/state.py",
        "            self._listen(parked, record.key, record.wait)\n",
        "",
        OF_RESTS,
    ),
    Fault(
        "cancel no run that rests",
        "journal/rules/state.py",
        "            self._listen_for_cancels(parked)\n            self._listen(parked",
        "            self._listen(parked",
        OF_RESTS,
    ),
    Fault(
        "forget the deadline of a run that rests",
        "scheduler/deadlines.py",
        "                self._arm_parked(run)\n",
        "                pass\n",
        OF_RESTS,
    ),
    Fault(
        "believe a rest that a later record has ended",
        "journal/rules/ledger.py",
        "if self.rested != self.count:",
        "if not self.rested:",
        OF_RESTS,
    ),
    Fault(
        "join the turn before the one after a rest",
        "journal/rules/parked.py",
        "        ledger.next_turn,\n",
        "        ledger.next_turn - 1,\n",
    ),
    Fault(
        "give a store with runs that rest the old format",
        "stores/file/writer.py",
        "                    schema.raise_format(connection, batch.format)\n",
        "",
        OF_RESTS,
    ),
]
