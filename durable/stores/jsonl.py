"""Write a run's entries as JSON lines, and read them back.

Separate because such a file outlives versions of the library: its first line says which format it has.
Leaves to `views.info` the choice of a run, to `testing.replaying` the checks that are made with it, to
`journal.adopting` those of a run that comes into another store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from zlib import crc32

from durable.stores.store import Entry

FORMAT = "durable run"
VERSION = 1


def write_lines(run: str, function: str, entries: Iterable[Entry]) -> str:
    """Return a first line that describes the run, then one line for each entry.

    Each entry's line has a checksum of all up to it, and the last one the number of them.
    """
    head = {"format": FORMAT, "version": VERSION, "run": run, "function": function}
    lines, crc, kept = [json.dumps(head)], _checksum(head), list(entries)
    for number, entry in enumerate(kept, 1):
        line: dict[str, Any] = {"kind": entry.kind, "body": entry.body}
        line |= {"ends_run": True} if entry.ends_run else {}
        line |= {"lines": number} if number == len(kept) else {}
        crc = _checksum(line, crc)
        lines.append(json.dumps({**line, "crc": crc}))
    return "\n".join(lines) + "\n"


def read_lines(text: str, *, what: str) -> tuple[str, list[Entry]]:
    """Return the function's id and the entries that `write_lines` wrote; `what` names the file.

    Raises:
        ValueError: not such a file, of another version, of several runs, damaged or cut short.
    """
    runs = _runs(text, what)
    if len(runs) > 1:
        raise ValueError(f"{what} holds {len(runs)} runs: give each a file of its own")
    [(head, entries)] = runs
    return str(head["function"]), entries


def read_runs(text: str, *, what: str) -> dict[str, list[Entry]]:
    """Return the entries of the runs whose lines stand one after another, by the ids of the runs.

    Raises:
        ValueError: as for `read_lines`, or a run stands there twice.
    """
    found = _runs(text, what)
    runs = {str(head["run"]): entries for head, entries in found}
    if len(runs) < len(found):
        raise ValueError(f"{what} holds a run twice: write each once")
    return runs


def _runs(text: str, what: str) -> list[tuple[dict[str, Any], list[Entry]]]:
    """Return each run's first line and its entries."""
    try:
        lines = [json.loads(line) for line in text.splitlines() if line]
        heads = [number for number, line in enumerate(lines) if "format" in line]
        if not heads or heads[0]:
            raise ValueError("its first line does not say which format it has")
        ends = [*heads[1:], len(lines)]
        return [_run(lines[at], lines[at + 1 : end]) for at, end in zip(heads, ends, strict=True)]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{what} is not a run that RunInfo.export wrote: {type(error).__name__}: {error}: name a file that it, or "
            "`durable export`, wrote"
        ) from error


def _run(head: dict[str, Any], lines: list[dict[str, Any]]) -> tuple[dict[str, Any], list[Entry]]:
    if head["format"] != FORMAT:
        raise ValueError(f"its format is {head['format']!r}")
    if head["version"] != VERSION:
        raise ValueError(f"it has version {head['version']!r}, this is for version {VERSION}")
    if not isinstance(head["function"], str):
        raise ValueError(f"its function is {head['function']!r}")
    _check(head, lines)
    return head, [_entry(str(head["run"]), line) for line in lines]


def _check(head: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    """Check that no line is changed or missing; earlier releases wrote no checksums."""
    crc = _checksum(head)
    for number, line in enumerate(lines, 2):
        crc = _checksum({name: value for name, value in line.items() if name != "crc"}, crc)
        if line.get("crc", crc) != crc:
            raise ValueError(f"line {number} of run {head['run']!r} does not match its checksum: it is damaged")
    if lines and "crc" in lines[0] and lines[-1].get("lines") != len(lines):
        raise ValueError(f"it is cut short: lines of run {head['run']!r} are missing at the end")


def _checksum(line: dict[str, Any], before: int = 0) -> int:
    return crc32(json.dumps(line).encode(), before)


def _entry(run: str, line: dict[str, Any]) -> Entry:
    return Entry(run, str(line["kind"]), str(line["body"]), bool(line.get("ends_run", False)))
