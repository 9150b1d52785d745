"""Write one run's entries as JSON lines, and read them back.

Separate because such a file outlives versions of the library: its first line says which format it has.
Leaves to `views.info` the choice of a run, to `testing.replaying` the checks that are made with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from durable.stores.store import Entry

FORMAT = "durable run"
VERSION = 1


def write_lines(run: str, function: str, entries: Iterable[Entry]) -> str:
    """Return a first line that describes the run, then one line for each entry."""
    lines = [json.dumps({"format": FORMAT, "version": VERSION, "run": run, "function": function})]
    for entry in entries:
        ending = {"ends_run": True} if entry.ends_run else {}
        lines.append(json.dumps({"kind": entry.kind, "body": entry.body, **ending}))
    return "\n".join(lines) + "\n"


def read_lines(text: str, *, what: str) -> tuple[str, list[Entry]]:
    """Return the function's id and the entries that `write_lines` wrote; `what` names the file.

    Raises:
        ValueError: not such a file, of another version, or cut short within a line.
    """
    try:
        head, *rest = [json.loads(line) for line in text.splitlines() if line]
        if head["format"] != FORMAT:
            raise ValueError(f"its format is {head['format']!r}")
        if head["version"] != VERSION:
            raise ValueError(f"it has version {head['version']!r}, this is for version {VERSION}")
        return str(head["function"]), [_entry(str(head["run"]), line) for line in rest]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{what} is not a run that RunInfo.export wrote: {type(error).__name__}: {error}") from error


def _entry(run: str, line: dict[str, Any]) -> Entry:
    return Entry(run, str(line["kind"]), str(line["body"]), bool(line.get("ends_run", False)))
