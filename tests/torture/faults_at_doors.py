"""Faults to plant where something of a user's enters: text, counts, instants, options, calls from the wrong place.

Separate from `faults` only for its length.
Leaves planting them to `planting`.
"""

from __future__ import annotations

from tests.torture.planting import Fault

TEXT = ("tests/test_doors_text.py", "-k", "dict")
USE = ("tests/test_doors_use.py",)

AT_DOORS = [
    Fault("count characters for bytes", "words.py", "    if not found.isascii():\n", "    if False:\n", TEXT),
    Fault("let names be of any length", "words.py", "NAME_BYTES = 1_024", "NAME_BYTES = 1 << 30", TEXT),
    Fault(
        "take a bool for a count",
        "words.py",
        "if kind is bool or not issubclass(kind, int):",
        "if not issubclass(kind, int):",
        ("tests/test_doors_types.py",),
    ),
    Fault(
        "keep an instant of a subclass",
        "times.py",
        "    if type(when) is datetime and when.tzinfo is UTC:\n",
        "    if isinstance(when, datetime) and when.tzinfo is UTC:\n",
        ("tests/test_doors_types.py",),
    ),
    Fault(
        "spell out what a message holds as it is",
        "spelling.py",
        'text.encode("utf-8", "backslashreplace").decode()',
        "text",
        ("tests/test_spelling.py",),
    ),
    Fault(
        "let an id break its line",
        "spelling.py",
        "    if text.isprintable():\n",
        "    if True:\n",
        ("tests/test_doors_log.py", "tests/test_doors_said.py"),
    ),
    Fault(
        "take a percent sign in an id for a format",
        "context.py",
        'self._prefix.replace("%", "%%") if args else self._prefix',
        "self._prefix",
        ("tests/test_doors_log.py",),
    ),
    Fault(
        "seal what Python shows of a value",
        "stores/seal.py",
        "_quoted(str.__str__(value)) if isinstance(value, str) else",
        "repr(value) if isinstance(value, str) else",
        ("tests/test_stores_seal.py",),
    ),
    Fault(
        "believe a row that nothing vouches for",
        "stores/witness.py",
        "return values if named and is_there and is_told else None",
        "return values",
        ("tests/test_stores_older.py",),
    ),
    Fault(
        "write an entry down as it is given",
        "stores/store.py",
        '            what = f"an entry of run {shown(self.run)}"\n',
        "            return\n",
        ("tests/test_stores_entries.py",),
    ),
    Fault(
        "let functions of one list replace each other",
        "registry.py",
        "if listed.setdefault(one.id, one) is not one:",
        "if listed.setdefault(one.id, one) is None:",
        USE,
    ),
    Fault(
        "take in half of a function that is refused",
        "registry.py",
        "            if known is not None and known.origin != one.origin:\n",
        "            self.functions[one.id] = one\n            if known is not None and known.origin != one.origin:\n",
        USE,
    ),
    Fault(
        "let a function's own code ask the engine",
        "claims.py",
        "return None if body is None or CURRENT.get() is not None or body.main.done() else body",
        "return None",
        USE,
    ),
    Fault(
        "take a handler for its function's own code",
        "claims.py",
        "body is None or CURRENT.get() is not None or body.main.done()",
        "body is None or body.main.done()",
        USE,
    ),
    Fault(
        "take a task that outlived its function for that",
        "claims.py",
        "CURRENT.get() is not None or body.main.done()",
        "CURRENT.get() is not None",
        USE,
    ),
    Fault(
        "ask for the idempotency of a start with an id",
        "runtime.py",
        "claimant = None if is_named else",
        "claimant = None if False else",
        USE,
    ),
    Fault(
        "take a falsy option for the default",
        "equipment.py",
        "    if limits is None:\n",
        "    if not limits:\n",
        USE,
    ),
]
