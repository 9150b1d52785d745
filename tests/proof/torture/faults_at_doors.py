"""List faults in the checks of users' arguments and of the place of a call.

Separate from `faults` only for its length.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

TEXT = ("tests/rules/test_text.py", "-k", "dict")
USE = ("tests/unit/engine/test_doors_use.py",)

AT_DOORS = [
    Fault("count characters for bytes", "events/words.py", "    if not found.isascii():\n", "    if False:\n", TEXT),
    Fault("let names be of any length", "events/words.py", "NAME_BYTES = 1_024", "NAME_BYTES = 1 << 30", TEXT),
    Fault(
        "take a bool for a count",
        "events/words.py",
        "if kind is bool or not issubclass(kind, int):",
        "if not issubclass(kind, int):",
        ("tests/rules/test_numbers_and_instants.py",),
    ),
    Fault(
        "keep an instant of a subclass",
        "timers/durations.py",
        "    if type(when) is datetime and when.tzinfo is UTC:\n",
        "    if isinstance(when, datetime) and when.tzinfo is UTC:\n",
        ("tests/rules/test_numbers_and_instants.py",),
    ),
    Fault(
        "spell out what a message holds as it is",
        "timers/spelling.py",
        'text.encode("utf-8", "backslashreplace").decode()',
        "text",
        ("tests/unit/timers/test_spelling.py",),
    ),
    Fault(
        "let an id break its line",
        "timers/spelling.py",
        "    if text.isprintable():\n",
        "    if True:\n",
        ("tests/rules/test_said_in_the_log.py", "tests/rules/test_said_in_errors.py"),
    ),
    Fault(
        "take a percent sign in an id for a format",
        "functions/context.py",
        'self._prefix.replace("%", "%%") if args else self._prefix',
        "self._prefix",
        ("tests/rules/test_said_in_the_log.py",),
    ),
    Fault(
        "seal what Python shows of a value",
        "stores/file/checksums.py",
        "_quoted(str.__str__(value)) if isinstance(value, str) else",
        "repr(value) if isinstance(value, str) else",
        ("tests/unit/stores/test_checksums.py",),
    ),
    Fault(
        "believe a row that nothing vouches for",
        "stores/file/witness.py",
        "return values if named and is_there and is_told else None",
        "return values",
        ("tests/unit/stores/test_older.py",),
    ),
    Fault(
        "write an entry down as it is given",
        "stores/store.py",
        '            what = f"an entry of run {shown(self.run)}"\n',
        "            return\n",
        ("tests/unit/stores/test_entries.py",),
    ),
    Fault(
        "let functions of one list replace each other",
        "functions/registry.py",
        "if known is not one and not is_twin(known, one):",
        "if known is None:",
        USE,
    ),
    Fault(
        "take in half of a function that is refused",
        "functions/registry.py",
        "            if known is not None and not is_same(known, one):\n",
        "            self.functions[one.id] = one\n            if known is not None and not is_same(known, one):\n",
        USE,
    ),
    Fault(
        "let a function's own code ask the engine",
        "functions/current.py",
        "return None if body is None or CURRENT.get() is not None or body.main.done() else body",
        "return None",
        USE,
    ),
    Fault(
        "take a handler for its function's own code",
        "functions/current.py",
        "body is None or CURRENT.get() is not None or body.main.done()",
        "body is None or body.main.done()",
        USE,
    ),
    Fault(
        "take a task that outlived its function for that",
        "functions/current.py",
        "CURRENT.get() is not None or body.main.done()",
        "CURRENT.get() is not None",
        USE,
    ),
    Fault(
        "ask for the idempotency of a start with an id",
        "journal/rules/openings.py",
        "claimant = None if is_named else",
        "claimant = None if False else",
        USE,
    ),
    Fault(
        "take a falsy option for the default",
        "engine/equipment.py",
        "    if limits is None:\n",
        "    if not limits:\n",
        USE,
    ),
]
