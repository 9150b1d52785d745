"""Check that a store keeps the promises of the Store protocol.

Separate because a store may live in another package; nothing here needs pytest, or an engine.
Leaves to each store's author how to simulate a death of the process and damage to the medium: see below.

    @pytest.mark.parametrize("check", store_contract(lambda: MyStore("x.db")), ids=str)
    def test_my_store_keeps_the_contract(check):
        check()

The lambda may name the same place at every call, as here, or a fresh one (`lambda: DictStore()`). Each check uses runs
and facts of its own and looks at no others. Checks about a second opener find out by themselves which kind it is.

Only a store's author knows what a death of the process leaves of it, and what can be damaged in it. Without the
following two arguments these promises stay unchecked. `reopen_after_death`: what was acknowledged is there although
`close` was not called. `damage`: a torn tail opens as an earlier whole state, and any other damage is refused.

    def reopen_after_death(store):      # open; here everything is in one file
        return MyStore(shutil.copy(store.path, tempfile.mkdtemp()))

    def damage(store, part):            # "tail": open, what was written last is cut short; "body": closed, the rest
        content = Path(store.path).read_bytes()
        for place in (1, 30, 100):
            copy = Path(tempfile.mkdtemp()) / "copy.db"
            copy.write_bytes(content[:-place] if part == "tail" else content[:place] + b"?" + content[place + 1 :])
            yield MyStore(copy)

    store_contract(lambda: MyStore("x.db"), reopen_after_death=reopen_after_death, damage=damage)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import attrs

from durable.stores import Entry, RunQuery
from durable.testing.contract.of_entries import OF_ENTRIES
from durable.testing.contract.of_finding import OF_FINDING
from durable.testing.contract.of_loss import OF_DAMAGE, OF_DEATHS, Damage, ReopenAfterDeath
from durable.testing.contract.of_runs import OF_RUNS
from durable.testing.contract.of_text import of_text
from durable.testing.contract.of_ways import OF_WAYS
from durable.testing.contract.trial import MINUTE, NOON, MakeStore, Promise, Trial

_LIMIT_S = 60


@attrs.frozen
class Check:
    """A check tests one promise of a store when it is called.

    It raises an AssertionError if the store breaks the promise. `str(check)` is its name. Inside a running event loop
    use `await check.run()`. Each call makes, opens and closes a store of its own.
    """

    name: str
    body: Promise
    make_store: MakeStore

    def __str__(self) -> str:
        return self.name

    def __call__(self) -> None:
        asyncio.run(self.run())

    async def run(self) -> None:
        """Run the check; it fails if it takes longer than a minute."""
        trial = Trial(self.make_store)
        async with asyncio.timeout(_LIMIT_S):
            await trial.store.open()
            try:
                await self.body(trial)
            finally:
                await trial.store.close()


def store_contract(
    make_store: MakeStore, *, reopen_after_death: ReopenAfterDeath | None = None, damage: Damage | None = None
) -> list[Check]:
    """Return the checks of a store, one for each promise.

    The checks can be called one by one, in any order.

    Args:
        make_store: a callable without arguments that returns a store that is not open. It is over the same place at
            every call, or over a new and empty one. A place may hold other data, if no one else has it open.
        reopen_after_death: takes an open store, with an append acknowledged or under way. Returns a store that is not
            open, over a copy of what the place would hold if the process had died now. Without it, the list lacks the
            checks of durability.
        damage: takes a store and a part, "tail" or "body". Yields stores that are not open, each over a copy of the
            place that is damaged in that part. "tail": the store is open and its appends are acknowledged; what was
            written last is cut short or garbled; each yielded store must open. "body": the store is closed; something
            is changed or missing that the store promises to detect; each yielded store must be refused with StoreError
            or read the same, and at least one be refused. Without it, the list lacks the checks of damage.
    """
    checks = [Check(name, body, make_store) for name, body in _checks()]
    if reopen_after_death is not None:
        checks += [Check(body.__name__, partial(body, reopen_after_death), make_store) for body in OF_DEATHS]
    if damage is not None:
        checks += [Check(body.__name__, partial(body, damage), make_store) for body in OF_DAMAGE]
    return checks


def _checks() -> Iterator[tuple[str, Promise]]:
    for body in (*OF_ENTRIES, *OF_RUNS, *OF_FINDING, *OF_WAYS):
        yield body.__name__, body
    yield from of_text()
    for name, text in _TEXTS.items():
        yield f"a_body_comes_back_{name}", partial(_body_comes_back, text)
        yield f"a_body_comes_back_after_reopening_{name}", partial(_body_is_kept, text)
    for name, entry in _ENTRIES.items():
        yield f"an_entry_comes_back_with_{name}", partial(_entry_comes_back, entry)
    for name, (query, ids) in _QUERIES.items():
        yield f"find_{name}", partial(_finds, query, ids)
    for name, delta in _KEPT.items():
        yield f"a_fact_kept_{name}", partial(_fact_is_kept, delta)


_TEXTS = {
    "when_empty": "",
    "with_line_breaks": "a\nb\r\nc\rd\u2028e\n",
    "with_nul": "a\0b\0",
    "with_quotes": 'it\'s "quoted" \\ `so` -- ; %s ? :x',
    "beyond_ascii": "žluťoučký 日本語 עברית \u0301",
    "beyond_the_basic_plane": "\U0001f600\U0010ffff",
    "of_four_mebibytes": "0123456789abcdef" * (4 << 16),
    "of_four_mebibytes_beyond_ascii": "é" * (2 << 20),
}
_ENTRIES: dict[str, Callable[[Trial], Entry]] = {
    "no_more_than_a_body": lambda trial: trial.step(),
    "its_end": lambda trial: Entry(trial.run(), "RunClosed", "{}", ends_run=True),
    "its_row": lambda trial: trial.opened(),
    "the_row_of_an_ended_run": lambda trial: trial.closed(status="failed"),
    "microseconds": lambda trial: trial.opened(at=NOON + timedelta(microseconds=1)),
    "the_last_instant": lambda trial: trial.opened(at=datetime.max.replace(tzinfo=UTC) - MINUTE),
    "an_instant_before_1970": lambda trial: trial.opened(at=datetime(1903, 5, 6, 7, 8, 9, 999_999, tzinfo=UTC)),
}
_QUERIES: dict[str, tuple[RunQuery, list[int]]] = {
    "names_every_run_newest_first": (RunQuery(), [4, 3, 2, 1]),
    "names_open_runs": (RunQuery(status="open"), [4, 1]),
    "names_completed_runs": (RunQuery(status="completed"), [2]),
    "names_failed_runs": (RunQuery(status="failed"), [3]),
    "names_no_run_of_a_status_that_none_has": (RunQuery(status="cancelled"), []),
    "names_runs_by_event": (RunQuery(event="{name}/e"), [4, 3, 2, 1]),
    "names_no_run_of_another_event": (RunQuery(event="{name}/other"), []),
    "joins_its_conditions": (RunQuery(event="{name}/e", status="open"), [4, 1]),
    "stops_at_its_limit": (RunQuery(limit=2), [4, 3]),
    "applies_its_limit_after_the_conditions": (RunQuery(status="open", limit=2), [4, 1]),
    "with_limit_zero_names_none": (RunQuery(limit=0), []),
}
_KEPT = {
    "until_later_is_unfinished": timedelta(microseconds=1),
    "until_now_is_past": timedelta(0),
    "until_earlier_is_past": -timedelta(microseconds=1),
}


async def _body_comes_back(text: str, trial: Trial) -> None:
    await trial.store.append([trial.step(body=text)])
    assert [entry.body for entry in await trial.history()] == [text]


async def _body_is_kept(text: str, trial: Trial) -> None:
    await trial.store.append([trial.step(body=text)])
    await trial.reopen()
    assert [entry.body for entry in await trial.history()] == [text]


async def _entry_comes_back(entry_of: Callable[[Trial], Entry], trial: Trial) -> None:
    await trial.store.append([entry_of(trial)])
    assert await trial.history() == [entry_of(trial)]
    await trial.reopen()
    assert await trial.history() == [entry_of(trial)]


async def _finds(query: RunQuery, ids: Sequence[int], trial: Trial) -> None:
    await trial.store.append([trial.opened(which, NOON + which * MINUTE) for which in (1, 2, 3, 4)])
    await trial.store.append([trial.closed(2), trial.closed(3, "failed")])
    if query.event is not None:
        query = attrs.evolve(query, event=query.event.format(name=trial.name))
    assert await trial.found(query) == [trial.run(which) for which in ids]
    await trial.reopen()
    assert await trial.found(query) == [trial.run(which) for which in ids]


async def _fact_is_kept(delta: timedelta, trial: Trial) -> None:
    await trial.store.append([trial.fact(NOON + delta)])
    expected = [trial.fact(NOON + delta)] if delta > timedelta(0) else []
    assert await trial.unfinished(NOON) == expected
    await trial.reopen()
    assert await trial.unfinished(NOON) == expected
