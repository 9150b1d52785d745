"""Check that a store gives texts and instants back as they were.

They are of every shape, and stand in every field.

Separate because the same table goes through each field: what one takes and another does not is found nowhere else.
Leaves to `contract` the running of the checks.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import attrs

from durable.stores import Entry, RunQuery
from durable.testing.contract.trial import MINUTE, NOON, Promise, Trial, listed

OF_TEXT: list[Promise] = []
promise = listed(OF_TEXT)

_SHAPES = {
    "with_nul": "a\0b\0",
    "with_line_breaks": "a\nb\r\nc\rd\u2028e\x85\n",
    "with_escapes": "\x1b[31m\x07\x08\x7f",
    "with_quotes": 'it\'s "quoted" \\ `so` -- ; ? :x @y',
    "with_wildcards": "%s _ * 100% {0} [a-z] $1",
    "with_white_space": " \t a ",
    "beyond_ascii": "žluťoučký 日本語 עברית a\u0301 á",
    "beyond_the_basic_plane": "\U0001f600\U0010ffff",
    "of_a_hundred_kilobytes": "0123456789" * 10_000,
}
_HALVES = ("\ud800", "\ud83d\ude00")


class _Odd(str):
    """An odd string gives wrong answers about itself."""

    def __str__(self) -> str:
        return "another"

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 7


class _Instant(datetime):
    """An instant of a subclass of datetime, as some libraries have them."""


def _enum_of(text: str) -> str:
    made = enum.StrEnum("made", {"ONE": text})
    return made(text)


_SUBCLASSES: dict[str, Callable[[str], str]] = {"an_enum": _enum_of, "a_subclass": _Odd}
_ELSEWHERE = timezone(timedelta(hours=-7, minutes=-30))


def of_text() -> Iterator[tuple[str, Promise]]:
    """Yield each check of texts and instants, with its name."""
    for body in OF_TEXT:
        yield body.__name__, body
    for name, text in _SHAPES.items():
        yield f"the_id_of_a_run_comes_back_{name}", partial(_id_comes_back, text)
        yield f"the_words_of_a_row_come_back_{name}", partial(_words_come_back, text)
    for name, of in _SUBCLASSES.items():
        yield f"{name}_of_str_comes_back_as_a_plain_one", partial(_is_plain_again, of)
    for name, at in (("elsewhere", NOON.astimezone(_ELSEWHERE)), ("of_a_subclass", _instant(NOON))):
        yield f"an_instant_{name}_is_the_same_in_utc", partial(_is_the_same_instant, at)


def _instant(when: datetime) -> datetime:
    return _Instant(when.year, when.month, when.day, when.hour, when.minute, tzinfo=UTC)


async def _id_comes_back(text: str, trial: Trial) -> None:
    entries = [trial.opened(text), trial.step(text), trial.opened("other"), trial.closed("other")]
    await trial.store.append(entries)
    for _ in range(2):
        assert await trial.history(text) == entries[:2]
        assert await trial.unfinished() == entries[:2]
        assert await trial.find(RunQuery(status="open")) == [trial.row(text)]
        await trial.reopen()
    await trial.store.append([trial.closed(text)])
    assert await trial.unfinished() == []
    assert await trial.store.prune(NOON + 2 * MINUTE) >= 2
    assert (await trial.history(text), await trial.found()) == ([], [])


async def _words_come_back(text: str, trial: Trial) -> None:
    words: dict[str, Any] = {"function": f"{trial.name}{text}", "event": f"{trial.name}/{text}", "error": text}
    row = attrs.evolve(trial.row(status="failed"), **words)
    ended = Entry(trial.run(), f"Kind{text}", text, ends_run=True, row=row)
    await trial.store.append([trial.opened("other"), ended])
    for _ in range(2):
        assert await trial.history() == [ended]
        for field in ("function", "event"):
            assert await trial.store.find(RunQuery(**{field: words[field]})) == [row]
        await trial.reopen()


async def _is_plain_again(of: Callable[[str], str], trial: Trial) -> None:
    """Check that a string of a subclass is kept as plain text."""
    row = trial.row(status="failed")
    status: Any = of("failed")
    odd = attrs.evolve(
        row, id=of(row.id), function=of(row.function), event=of(row.event), error=of("Boom"), status=status
    )
    body = "a body"
    await trial.store.append([Entry(of(row.id), of("RunClosed"), of(body), ends_run=True, row=odd)])
    for _ in range(2):
        [entry] = await trial.history()
        texts = [entry.run, entry.kind, entry.body]
        [found] = await trial.find(RunQuery(event=of(row.event)))
        texts += [found.id, found.function, found.event, found.error or "", found.status or ""]
        assert texts == [row.id, "RunClosed", body, row.id, row.function, row.event, "Boom", "failed"]
        assert {type(text) for text in texts} == {str}
        await trial.reopen()


async def _is_the_same_instant(at: datetime, trial: Trial) -> None:
    ended = attrs.evolve(trial.row(status="completed"), opened_at=at, ended_at=at)
    await trial.store.append([Entry(trial.run(), "RunClosed", "end", ends_run=True, row=ended), trial.fact(at)])
    for _ in range(2):
        [row], [fact] = await trial.find(), await trial.unfinished(at - MINUTE)
        found = [row.opened_at, row.ended_at, fact.keep_until]
        assert found == [NOON] * 3 and {(type(one), one and one.tzinfo) for one in found} == {(datetime, UTC)}
        await trial.reopen()
    assert await trial.unfinished(at) == []
    await trial.store.prune(at)
    assert len(await trial.history()) == 1
    await trial.store.prune(at + MINUTE)
    assert await trial.history() == []


@promise
async def a_run_with_an_id_that_no_store_holds_has_no_history(trial: Trial) -> None:
    await trial.store.append([trial.step()])
    for half in _HALVES:
        assert await trial.history(half) == []


@promise
async def names_that_differ_little_are_different_functions(trial: Trial) -> None:
    names = ["f", "F", "f ", " f", "f\0", "f%", "_", "%", "á", "a\u0301", "1", "01", "'f'"]
    rows = [attrs.evolve(trial.row(name), function=f"{trial.name}{name}") for name in names]
    await trial.store.append([attrs.evolve(trial.opened(name), row=row) for name, row in zip(names, rows, strict=True)])
    await trial.reopen()
    for row in rows:
        assert await trial.store.find(RunQuery(function=row.function)) == [row]


@promise
async def a_limit_may_be_larger_than_any_count(trial: Trial) -> None:
    await trial.store.append([trial.opened()])
    for limit in (1 << 31, 1 << 63, 10**30):
        assert await trial.found(RunQuery(limit=limit)) == [trial.run()]


@promise
async def many_large_entries_are_kept_as_one_batch(trial: Trial) -> None:
    entries = [trial.step(body=f"{number}" + "x" * 100_000) for number in range(200)]
    await trial.store.append(entries)
    await trial.reopen()
    assert await trial.history() == await trial.unfinished() == entries


@promise
async def a_body_of_sixteen_mebibytes_is_kept(trial: Trial) -> None:
    await trial.store.append([trial.step(body="ž" * (8 << 20)), trial.step(body="behind")])
    await trial.reopen()
    assert [(len(entry.body), entry.body[:2]) for entry in await trial.history()] == [(8 << 20, "žž"), (6, "be")]


@promise
async def a_run_of_many_entries_is_read_whole(trial: Trial) -> None:
    entries = [trial.opened(), *[trial.step(body=f"{number}") for number in range(5_000)], trial.closed()]
    for at in range(0, len(entries), 1_000):
        await trial.store.append(entries[at : at + 1_000])
    await trial.reopen()
    assert await trial.history() == entries
