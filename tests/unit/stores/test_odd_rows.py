"""Rows that nobody wrote, under a checksum that is right: no listing dies of one, nothing hangs on one (R30)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, FileStore, StoreCorruptError, StoreError
from durable.engine.opened import inside
from durable.stores.store import Entry
from durable.testing import Lab

SECONDS = 1.0  # of this thread's time, for what takes no longer than for any other row


@durable.function("go")
async def ended(ctx: Context) -> Any:
    await asyncio.gather(ctx.step.run("a", str), ctx.step.run("b", str))
    await ctx.step.sleep("s", "1h")
    return ctx.event.data


@durable.function
async def lives(ctx: Context) -> None:
    await asyncio.gather(ctx.step.run("a", str), ctx.step.run("b", str))
    await ctx.step.sleep("s", "30000d")


@durable.function
async def other(ctx: Context) -> None:
    await ctx.step.sleep("other", "30000d")


FUNCTIONS = [ended, lives, other]


async def _lived() -> list[Entry]:
    """Return the entries of a run that has ended, of one that goes on, and of one that nobody touches."""
    store = DictStore()
    async with Lab(FUNCTIONS, store=store) as lab:
        await lab.start(ended, {"n": 1}, id="ended")
        await lab.advance("2h")
        await lab.start(lives, {"n": 1}, id="lives")
        await lab.start(other, id="whole")
        runs = [info.id for info in await lab.engine.runs()]
        found = [entry for run in runs for entry in await inside(lab.engine, "a test").history.entries(run)]
        rows = {row.id: row for row in await store.find(durable.RunQuery())}
    return [_with_row(entry, rows) for entry in found]


def _with_row(entry: Entry, rows: Any) -> Entry:
    has_row = entry.kind in ("RunOpened", "RunClosed")
    return Entry(
        entry.run, entry.kind, entry.body, entry.ends_run, entry.keep_until, rows[entry.run] if has_row else None
    )


ENTRIES = asyncio.run(_lived())


async def _store(kind: str, folder: Path, run: str, of: str, change: Callable[[str], str]) -> Any:
    """Return a store that holds the entries, with the bodies of one kind of one run changed."""
    entries = [
        Entry(one.run, one.kind, change(one.body), one.ends_run, one.keep_until, one.row)
        if (one.run, one.kind) == (run, of)
        else one
        for one in ENTRIES
    ]
    assert entries != ENTRIES, "nothing was changed"
    store = DictStore() if kind == "dict" else FileStore(folder / "x.db")
    await store.open()
    await store.append(entries)
    await store.close()
    return store if kind == "dict" else FileStore(folder / "x.db")


def value(text: str) -> Callable[[str], str]:
    """Return what puts a text in the place of a body's value."""
    return lambda body: f"{body.partition(chr(10))[0]}\n{text}" if "\n" in body else body


def word(old: str, new: str) -> Callable[[str], str]:
    """Return what puts a word in the place of another."""
    return lambda body: body.replace(old, new)


VALUES = {
    "no JSON": "hello",
    "cut": '{"a":',
    "two values": "1 2",
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep tags": '{"~tuple":' * 3_000 + "1" + "}" * 3_000,
    "two tags": '{"~tuple":[],"~x":1}',
    "an unknown tag": '{"~nope":1}',
    "an unknown tag inside": '{"a":[{"~nope":1}]}',
    "an unknown class": '{"~=Gone":{"a":1}}',
    "a loose unknown tag": '{"~loose":{"~nope":1}}',
    "no date": '{"~datetime":"x"}',
    "a list as a key": '{"~dict":[[1],2]}',
    "an odd dict": '{"~dict":[1]}',
    "no Base64": '{"~bytes":"%%"}',
    "half a surrogate pair": '"\\ud800"',
    "long digits": "1" * 4_301,
}


async def _looks(engine: Engine, run: str) -> list[Any]:
    """Ask for everything that is shown of runs, and return what the listing said."""
    began = time.thread_time()
    found = await engine.runs()
    await asyncio.wait_for(engine.settled(), 10)
    assert {info.id for info in found} == {"ended", "lives", "whole"}
    for info in found:
        assert str(info) and repr(info)
    try:
        info = await engine.info(run)
    except StoreCorruptError as error:
        assert "damaged" in str(error) or "contradict" in str(error)
    else:
        assert str(info) and repr(info)
    assert time.thread_time() - began < SECONDS
    return found


@pytest.mark.parametrize("kind", ["dict", "file"])
@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("of", ["StepClosed", "RunClosed", "RunOpened"])
def test_a_value_that_cannot_be_read_is_shown_as_far_as_it_can_be(
    of: str, name: str, kind: str, tmp_path: Path
) -> None:
    """`info` shows it or says StoreCorruptError, `runs` shows it in its row, and all other runs whole."""

    async def story() -> None:
        store = await _store(kind, tmp_path, "ended", of, value(VALUES[name]))
        async with Engine(FUNCTIONS, store=store) as engine:
            found = {info.id: info for info in await _looks(engine, "ended")}
            assert found["ended"].status == "completed" and found["ended"].function_id == "ended"
            assert found["whole"].steps and found["lives"].steps
            if of == "RunOpened" and name != "an unknown class":
                error = found["ended"].error
                assert error is not None and error.name == "StoreCorruptError" and "cannot be shown" in error.message

    asyncio.run(story())


def test_what_is_no_text_of_the_codecs_is_shown_as_it_stands(tmp_path: Path) -> None:
    async def story() -> None:
        store = await _store("dict", tmp_path, "ended", "RunClosed", value("hello"))
        async with Engine(FUNCTIONS, store=store) as engine:
            assert (await engine.info("ended")).output == "hello"

    asyncio.run(story())


WORDS = [
    ("ended", "StepClosed", '"turn":1', '"turn":9999999999999999999999'),
    ("ended", "StepClosed", '"turn":1', '"turn":-1'),
    ("ended", "StepClosed", '"turn":1', '"turn":0'),
    ("ended", "StepClosed", '"turn":1', '"turn":true'),
    ("ended", "StepClosed", '"tries":1', '"tries":-99999999999999999999'),
    ("ended", "StepClosed", "2030-01-01", "0001-01-01"),
    ("ended", "StepClosed", "2030-01-01", "9999-12-31"),
    ("ended", "StepClosed", '"kind":"run"', '"kind":"nap"'),
    ("ended", "StepClosed", '"run":"ended"', '"run":"whole"'),
    ("ended", "RunOpened", "2030-01-01", "0001-01-01"),
    ("ended", "RunOpened", "2030-01-01", "9999-12-31"),
    ("ended", "RunOpened", '"function":"ended"', '"function":"other"'),
    ("ended", "RunOpened", '"function":"ended"', '"function":"gone"'),
    ("ended", "RunClosed", "2030-01-01", "0001-01-01"),
    ("ended", "RunClosed", '"completed"', '"over"'),
    ("lives", "RunOpened", "2030-01-01", "0001-01-01"),
    ("lives", "RunOpened", "2030-01-01", "9999-12-31"),
    ("lives", "RunOpened", '"function":"lives"', '"function":"other"'),
    ("lives", "RunOpened", '"function":"lives"', '"function":"gone"'),
    ("lives", "StepOpened", "2030-01-01", "0001-01-01"),
    ("lives", "StepOpened", '"key":"s"', '"key":"t"'),
    ("lives", "StepClosed", '"key":"a"', '"key":"t"'),
    ("lives", "StepClosed", '"kind":"run"', '"kind":"sleep"'),
    ("lives", "StepClosed", '"turn":1', '"turn":2'),
    ("lives", "StepClosed", '"tries":1', '"tries":99999999999999999999'),
]


@pytest.mark.parametrize("kind", ["dict", "file"])
@pytest.mark.parametrize(("run", "of", "old", "new"), WORDS)
def test_a_field_that_nobody_wrote_is_shown_or_refused_and_nothing_hangs(
    run: str, of: str, old: str, new: str, kind: str, tmp_path: Path
) -> None:
    """A run of which the records say what its code does not is a DriftError, parked, or goes on; it holds nobody up."""

    async def story() -> None:
        store = await _store(kind, tmp_path, run, of, word(old, new))
        async with Engine(FUNCTIONS, store=store) as engine:
            await _looks(engine, run)
            assert (await engine.info("whole")).status == "waiting"

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["dict", "file"])
@pytest.mark.parametrize("turn", ["9999999999999999999999", "100000000", "4", "-1", "0", '"1"', "1.5", "true"])
def test_a_turn_that_cannot_follow_is_damage_and_not_waited_for(turn: str, kind: str, tmp_path: Path) -> None:
    """R30: outcomes are delivered turn by turn, so one in a turn far away would keep its run busy for ever."""

    async def story() -> None:
        store = await _store(kind, tmp_path, "lives", "StepClosed", word('"turn":1', f'"turn":{turn}'))
        with pytest.raises(StoreCorruptError, match="StepClosed"):
            await Engine(FUNCTIONS, store=store).open()

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["dict", "file"])
@pytest.mark.parametrize("expression", ["((", "event.data.(", "nothing(1)", "other.data.n == 1"])
def test_a_wait_for_what_cannot_be_read_is_damage(expression: str, kind: str, tmp_path: Path) -> None:
    """R30: a filter that does not parse was checked when the wait was made: nobody wrote this one."""
    until = "2030-02-01T00:00:00.000000+00:00"
    wait = f'"wait":{{"event":"e","until":"{until}","expression":"{expression}","_type":"ForEvent"}}'

    async def story() -> None:
        def change(body: str) -> str:
            head, _, rest = body.partition('"wait":')
            return head + wait + rest[rest.index("}") + 1 :]

        store = await _store(kind, tmp_path, "lives", "StepOpened", change)
        with pytest.raises(StoreCorruptError, match="StepOpened"):
            await Engine(FUNCTIONS, store=store).open()

    asyncio.run(story())


def test_a_store_that_fails_is_no_row_that_cannot_be_shown(tmp_path: Path) -> None:
    """R31: what is of the store as a whole is said as that."""

    class Failing(DictStore):
        failing = False

        async def history(self, run: str) -> Any:
            if self.failing:
                raise StoreError("the disk is gone")
            async for entry in super().history(run):
                yield entry

    async def story() -> None:
        store = Failing()
        async with Engine([ended], store=store) as engine:
            await engine.start(ended, id="r")
            store.failing = True
            with pytest.raises(StoreError, match="the disk is gone"):
                await engine.runs()
            store.failing = False

    asyncio.run(story())


def test_a_run_shows_numbers_of_any_length_and_clocks_that_were_set_back() -> None:
    """`str` and `repr` of what the codec keeps: an int of more digits than Python prints; steps before their run."""

    @durable.function
    async def long(ctx: Context) -> int:
        await ctx.step.run("a", lambda: 10**5_000)
        return 10**5_000

    async def story() -> None:
        async with Lab([long]) as lab:
            run = await lab.start(long, {"n": 10**5_000})
            assert await lab.result(run) == 10**5_000
            info = await run.info()
            assert str(info) and "cannot be shown" in repr(info) and repr(info.steps["a"])

    asyncio.run(story())
