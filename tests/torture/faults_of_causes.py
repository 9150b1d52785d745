"""Faults in what follows from a cause, and in what a guest's filter, hook or log may do.

Separate because the list of all faults is long.
Leaves to `faults` to plant them.
"""

from __future__ import annotations

from tests.torture.planting import Fault

OF_CAUSES = [
    Fault(
        "let what a filter raises out of the bus",
        "bus.py",
        "                self._complain_of(one.expression, what, key, error)\n",
        "                raise\n",
        ("tests/test_guests.py",),
    ),
    Fault(
        "let the filters of one event burn without end",
        "expressions/scope.py",
        "return min(FUEL, SURE + self.left)",
        "return FUEL",
        ("tests/test_guests.py",),
    ),
    Fault(
        "let what a log raises into the rules",
        "log.py",
        "            self._tell_failure(error, msg)",
        "            raise",
        ("tests/test_log.py", "-k", "store_fails or annotation"),
    ),
    Fault(
        "keep half a cause",
        "journal.py",
        "            for put_back in reversed(retractions):\n                put_back()\n",
        "",
        ("tests/test_whole_causes.py",),
    ),
    Fault(
        "put back only who waited for events",
        "retraction.py",
        "            return (_entry(state.signals, wait.signal),)",
        "            return ()",
        ("tests/test_whole_causes.py",),
    ),
    Fault(
        "leave no room for what is put around a value",
        "codec/enclosing.py",
        "ROOM = 16",
        "ROOM = 0",
        ("tests/test_depth.py",),
    ),
    Fault(
        "forget the id of an event that is still to come",
        "causes.py",
        "if coming is not None:",
        "if False:",
        ("tests/test_rules_listening.py",),
    ),
    Fault(
        "take a step that was cancelled for one that is pending",
        "session.py",
        "return [key for key in self.calls if key not in facts or facts[key].outcome is None]",
        "return list(self.calls)",
        ("tests/test_rules_otherwise.py",),
    ),
    Fault(
        "let a listing die of one row",
        "listing.py",
        "            one = row_info(row, status_of(row.id), error)",
        "            raise",
        ("tests/test_odd_rows.py",),
    ),
    Fault(
        "wait for a turn that nobody wrote",
        "ledger.py",
        "if record.turn is not None and record.turn > self.open_turn + 1:",
        "if False:",
        ("tests/test_odd_rows.py", "-k", "turn"),
    ),
]
