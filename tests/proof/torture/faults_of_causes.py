"""List faults in the decisions, and in the guarding of users' filters, hooks and logs.

Separate because the list of all faults is long.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

OF_CAUSES = [
    Fault(
        "let what a filter raises out of the bus",
        "events/bus.py",
        "            self._complain_of(one.expression, what, key, error)\n            return False\n",
        "            raise\n",
        ("tests/unit/events/test_guests.py",),
    ),
    Fault(
        "let the filters of one event burn without end",
        "events/expressions/scope.py",
        "return min(FUEL, SURE + self.left)",
        "return FUEL",
        ("tests/unit/events/test_guests.py",),
    ),
    Fault(
        "let what a log raises into the rules",
        "stores/log.py",
        "            self._tell_failure(error, msg)",
        "            raise",
        ("tests/unit/stores/test_log.py", "-k", "store_fails or annotation"),
    ),
    Fault(
        "keep half a cause",
        "journal/writer.py",
        "            for put_back in reversed(retractions):\n                put_back()\n",
        "",
        ("tests/rules/test_whole_causes.py",),
    ),
    Fault(
        "put back only who waited for events",
        "journal/rules/retraction.py",
        "            return (_entry(state.signals, wait.signal),)",
        "            return ()",
        ("tests/rules/test_whole_causes.py",),
    ),
    Fault(
        "leave no room for what is put around a value",
        "journal/codec/enclosing.py",
        "ROOM = 16",
        "ROOM = 0",
        ("tests/rules/test_depth.py",),
    ),
    Fault(
        "forget the id of an event that is still to come",
        "journal/rules/decisions.py",
        "if coming is not None:",
        "if False:",
        ("tests/rules/test_listening.py",),
    ),
    Fault(
        "take a step that was cancelled for one that is pending",
        "scheduler/session.py",
        "return [key for key in self.calls if key not in facts or facts[key].outcome is None]",
        "return list(self.calls)",
        ("tests/rules/test_otherwise.py",),
    ),
    Fault(
        "let a listing die of one row",
        "views/listing.py",
        "            one = row_info(row, None if status_of is None else status_of(row.id), error)",
        "            raise",
        ("tests/unit/stores/test_odd_rows.py",),
    ),
    Fault(
        "wait for a turn that nobody wrote",
        "journal/rules/ledger.py",
        "if turn is not None and turn > self.open_turn + 1:",
        "if False:",
        ("tests/unit/stores/test_odd_rows.py", "-k", "turn"),
    ),
    Fault(
        "take a send before all that is recorded is known",
        "engine/owner.py",
        "        if not self._has_recovered:\n",
        "        if False:\n",
        ("tests/unit/engine/test_opening.py",),
    ),
    Fault(
        "forget who has a store when another loop is refused it",
        "engine/neighbours.py",
        "        if is_open or place not in _OWNERS:\n",
        "        if True:\n",
        ("tests/unit/engine/test_opening.py",),
    ),
]
