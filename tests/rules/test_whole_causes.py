"""A cause is written whole or not at all: whichever of its records cannot be kept, nothing has happened (R31, R18)."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

import durable
from durable import Cancel, Context, DictStore, Event, RecordedError, TriggerEvent
from durable.engine.opened import inside
from durable.functions import declaration_of
from durable.journal import entries as making
from durable.journal import rest_of
from durable.journal.codec.write import read
from durable.journal.lone import LONE
from durable.journal.records import (
    Cancelled,
    EngineClosed,
    MessageTaken,
    Record,
    RunClosed,
    RunOpened,
    RunResumed,
    RunRetried,
    RunStarted,
    StepClosed,
)
from durable.journal.rules.retraction import retraction
from durable.journal.rules.state import State
from durable.stores.jsonl import read_lines
from durable.testing import Lab
from tests.proof.golden.golden_runs import GOLDEN
from tests.support.lives import records as recorded
from tests.support.picture import order, picture
from tests.support.ways import WAYS, lab_of


class Refused(Exception):
    """What a test makes of a record that cannot be kept."""


class Breaking:
    """Lets the writing, or the folding, of one record fail: record number `at` from now on, counted from 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
        self.at = self.seen = 0
        if what == "written":
            for text in ("write", "opened_text", "ended_text", "waiting_text", "answered_text"):
                monkeypatch.setattr(making, text, partial(self._written, getattr(making, text)))
        else:
            fold = State.fold
            monkeypatch.setattr(State, "fold", lambda state, record: self._folded(fold, state, record))
            for name in ("open_run", "close_run", "open_step", "close_step"):
                monkeypatch.setattr(State, name, self._folding_lone(getattr(State, name)))

    def _folded(self, fold: Callable[[State, Any], None], state: State, record: Any) -> None:
        fold(state, record)
        self._counted()

    def _folding_lone(self, fold: Callable[[State, Any], Any]) -> Callable[[State, Any], Any]:
        def folded(state: State, cause: Any) -> Any:
            # Of a lone cause nothing is put back: what can fail in its folding fails before anything is changed.
            if isinstance(cause, LONE):
                self._counted()
            return fold(state, cause)

        return folded

    def _written(self, text: Callable[[Any], str], record: Any) -> str:
        self._counted()
        return text(record)

    def _counted(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise Refused(f"record {self.at}")

    def next(self, at: int) -> None:
        """Let the record of this number fail, and none after it."""
        self.at, self.seen = at, 0

    def never(self) -> None:
        """Let everything go well again."""
        self.at = 0


# A household of functions, so that most causes set off more than one thing.


@durable.function("order", idempotency="event.data.id", cancel=Cancel("stop", match="data.id"))
async def parent(ctx: Context) -> Any:
    return await ctx.step.invoke("child", function=child, data=dict(ctx.event.data))


@durable.function(cancel=Cancel("cut", if_exp="async.data.id == event.data.id"))
async def child(ctx: Context) -> Any:
    paid = ctx.step.wait_for_event("paid", event="paid", match="data.id", timeout="1h")
    more = ctx.step.wait_for_event("more", event="paid", if_exp="async.data.id == event.data.id", timeout="2h")
    asked = ctx.step.wait_for_signal(
        f"asked {ctx.event.data['id']}", signal="answer", timeout="1h", on_conflict="replace"
    )
    got = await asyncio.gather(paid, more, asked)
    return [one and one.data for one in got]


@durable.function(TriggerEvent("order", if_exp="event.data.id > 0"), retries=0)
async def fails(ctx: Context) -> None:
    await ctx.step.wait_for_event("paid", event="paid", timeout="1h")
    raise ValueError("no")


async def failed(ctx: Context) -> str:
    return ctx.event.data["error"]["message"]


@durable.function("order", retries=0, on_failure=failed)
async def tells(ctx: Context) -> None:
    await ctx.step.wait_for_event("paid", event="paid", timeout="1h")
    await ctx.step.send_event("both", [Event("told", {"id": 1}, id="t1"), Event("stop", {"id": 2})])
    raise ValueError("no")


@durable.function(["durable/function.*", "told"])
async def listens(ctx: Context) -> str:
    await ctx.step.sleep("s", "1d")
    return ctx.event.name


@durable.function(retries=0)
async def calls(ctx: Context) -> Any:
    steps = [ctx.step.invoke(id, function=fails, data={"id": 1}) for id in ("one", "two")]
    return await asyncio.gather(*steps)


@durable.function("order", rate_limit=durable.RateLimit(3, "1d", key="event.data.id"))
async def limited(ctx: Context) -> None:
    await ctx.step.sleep("s", "1d")


FUNCTIONS = [parent, child, fails, tells, listens, calls, limited]
Act = Callable[[Lab], Awaitable[object]]
ACTS: dict[str, Act] = {
    "events that open runs": lambda lab: lab.engine.send(
        [Event("order", {"id": 1}, id="a"), Event("order", {"id": 2})]
    ),
    "an event that answers waits": lambda lab: lab.engine.send("paid", {"id": 7, "by": "ann"}, id="p"),
    "an event that cancels a child": lambda lab: lab.engine.send("cut", {"id": 7}),
    "an event that cancels a parent": lambda lab: lab.engine.send("stop", {"id": 7}),
    "events that answer, open and cancel": lambda lab: lab.engine.send(
        [Event("paid", {"id": 7}), Event("order", {"id": 3}), Event("stop", {"id": 7}), Event("cut", {"id": 3})]
    ),
    "an event for later": lambda lab: lab.engine.send("order", {"id": 9}, id="x", ts=lab.clock.now().replace(hour=23)),
    "a signal": lambda lab: lab.engine.send_signal("answer", {"yes": [1]}),
    "a start": lambda lab: lab.engine.start(parent, {"id": 4}, id="started"),
    "a cancel by hand": lambda lab: lab.engine.cancel("r7"),
    "an end": lambda lab: _post(lab, "run_ended", "r7/child", "completed", output='"whole"'),
    "an end that is a failure": lambda lab: _post(lab, "run_ended", "t1", "failed", error=RecordedError("E", "no")),
    "a deadline": lambda lab: _post(lab, "deadline_passed", ("r7/child", "paid")),
    "an event that is due": lambda lab: _post(lab, "scheduled_event_due", *inside(lab.engine, "").state.scheduled),
    "a retry": lambda lab: lab.engine.retry("over"),
    "a retry of a parent and its children": lambda lab: lab.engine.retry("calls"),
}


async def _post(lab: Lab, decision: str, *args: Any, **keywords: Any) -> None:
    """Post what the rules decide by themselves."""
    runtime = inside(lab.engine, "a test")
    runtime.journal.post_all(getattr(runtime.decisions, decision)(*args, lab.clock.now(), **keywords))


async def _settled(lab: Lab) -> None:
    """Bring about runs in all sorts of states."""
    await lab.start(parent, {"id": 7}, id="r7")
    await lab.start(fails, {"id": 1}, id="f1")
    await lab.start(tells, {"id": 1}, id="t1")
    await lab.start(fails, {"id": 1}, id="over")
    await lab.start(calls, {"id": 1}, id="calls")
    await lab.engine.send("order", {"id": 8}, id="seen before")
    await lab.advance("10s")
    await lab.send("nothing", {}, id="y")
    await lab.engine.send("order", {"id": 6}, id="later", ts=lab.clock.now().replace(hour=22))


def entries(lab: Lab) -> object:
    store = lab._store
    return copy.deepcopy(store.mapping) if isinstance(store, DictStore) else None


@pytest.mark.parametrize("what", ["written", "folded"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("act", ACTS)
def test_a_record_that_cannot_be_kept_takes_its_whole_cause_along(
    act: str, way: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R31: the caller gets the error; state, queue and store are as they were; the engine lives, and so does the cause
    when it is asked for again; a restart agrees."""
    breaking = Breaking(monkeypatch, what)

    async def story() -> None:
        async with lab_of(way, FUNCTIONS, tmp_path) as lab:
            await _settled(lab)
            if act.startswith("a retry"):
                await lab.advance("1h")
            await lab.crash()
            tried = 0
            while True:
                tried += 1
                runtime = inside(lab.engine, "a test")
                before, listening, kept = picture(runtime.state), order(runtime.state), entries(lab)
                posted = runtime.journal.posted
                breaking.next(tried)
                try:
                    await ACTS[act](lab)
                except Refused:
                    breaking.never()
                else:
                    breaking.never()
                    break
                assert picture(runtime.state) == before
                assert order(runtime.state) == listening
                assert (runtime.journal.posted, runtime.journal._queue) == (posted, [])
                assert entries(lab) == kept
                await lab.settle()
                assert picture(runtime.state) == before, "what was refused went on nevertheless"
            assert tried > 1, "no record was broken"
            await lab.settle()
            after = picture(inside(lab.engine, "a test").state)
            await lab.crash()
            again = picture(inside(lab.engine, "a test").state)
            assert _without_marks(again) == _without_marks(after)

    asyncio.run(story())


def _without_marks(drawn: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is of a process alone, and what has run out: see `Ledger`."""
    marks = ("open_turn", "delivered", "is_whole", "resumed_at", "deaths", "alone", "count")
    ledgers = {
        run: {name: ledger[name] for name in ledger if name not in marks} for run, ledger in drawn["ledgers"].items()
    }
    for ledger in ledgers.values():
        for facts in ledger["steps"].values():
            facts["openings"] = 0
    return {**drawn, "ledgers": ledgers, "ended": {}}


def _fold_of_everything(tmp_path: Path) -> list[list[Record]]:
    """Return the records of lives in which all sorts of things happen."""

    async def story() -> dict[str, Any]:
        async with Lab(FUNCTIONS) as lab:
            await _settled(lab)
            await lab.signal("answer", 1)
            for act in ("a cancel by hand", "events that open runs", "events that answer, open and cancel", "a start"):
                await ACTS[act](lab)
                await lab.advance("10m")
            await lab.crash()
            await lab.advance("1h")
            for run in ("over", "calls", "r7"):
                await lab.engine.retry(run)
            await lab.advance("30h")
            store = lab._store
            assert isinstance(store, DictStore)
            return dict(store.mapping)

    lives = [recorded(asyncio.run(story()))]
    for path in sorted(GOLDEN.glob("*.jsonl")):
        _, entries = read_lines(path.read_text(encoding="utf-8"), what=path.name)
        if path.stem != "inbox":
            lives.append([read(entry.kind, entry.body) for entry in entries])
    return lives


def _state() -> State:
    state = State(lambda about, text: None)
    for function in FUNCTIONS:
        state.declare(declaration_of(function))
        if function.on_failure is not None:
            state.declare(declaration_of(function.on_failure))
    return state


def _fold(state: State, record: Record) -> None:
    if isinstance(record, RunRetried) and record.reopened:
        with state.reopening([state.ended[record.run]]):
            state.fold(record)
    else:
        state.fold(record)


def _is_parked(state: State, number: int) -> None:
    """Park a run that waits in one step, as an engine does with those beyond its `resident`."""
    for run, ledger in list(state.ledgers.items()):
        waiting = [key for key, facts in ledger.steps.items() if facts.is_waiting]
        if len(waiting) == 1 and len(ledger.steps) == 1 and number % 2:
            state.park(run, waiting[0])


def _rests(state: State, at: datetime) -> list[Record]:
    """Return a record that a run rests, if one that waits in one step is there."""
    rests: list[Record] = [run.rest(at) for run in state.parked.values()]
    for ledger in state.ledgers.values():
        waiting = [key for key, facts in ledger.steps.items() if facts.is_waiting]
        if len(waiting) == 1:
            rests.append(rest_of(ledger, waiting[0], at))
    return rests[:1]


def _living(drawn: dict[str, Any], last: Record) -> dict[str, Any]:
    """Leave out the keys that have run out: each fold forgets some of them, and nobody misses those."""
    kept = {name: {key: one for key, one in drawn[name].items() if one[1] > last.at} for name in ("seen", "windows")}
    return {**drawn, **kept}


@pytest.mark.parametrize("parks", [False, True])
@pytest.mark.parametrize("most", [1, 2, 6])
def test_any_record_and_any_row_of_them_can_be_taken_back(parks: bool, most: int, tmp_path: Path) -> None:
    """`retraction` knows all that `State.fold` changes: a record that changes something new must be added there."""
    chance, kinds = random.Random(1), set()
    for life in _fold_of_everything(tmp_path):
        state, number = _state(), 0
        while number < len(life):
            row = life[number : number + chance.randint(1, most)]
            if parks:
                _is_parked(state, number)
            if number % 12 == 5:
                life[number:number] = _rests(state, row[0].at)
                row = life[number : number + len(row)]
            before, listening, taken = picture(state), order(state), []
            for record in row:
                kinds.add(type(record))
                taken.append(retraction(state, record))
                _fold(state, record)
            for put_back in reversed(taken):
                put_back()
            assert _living(picture(state), row[-1]) == _living(before, row[-1]), row
            assert order(state) == listening, row
            for record in row:
                _fold(state, record)
            number += len(row)
    assert kinds >= set(get_args(Record)) - {EngineClosed, MessageTaken, RunResumed, RunStarted}


def test_a_message_from_outside_that_cannot_be_taken_whole_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R31: nothing of it is in the state, it is named in the log, others pass it by, and the next opening takes it."""
    path = tmp_path / "x.db"

    async def send(engine: durable.Engine, heard: list[int]) -> None:
        async with durable.Sender(path) as sender:
            await sender.send([Event("told", {"n": 1}), Event("told", {"n": 2})])
            await sender.send("told", {"n": 3})
        while len(heard) < 1:
            await asyncio.sleep(0.01)

    async def story(broken: bool) -> list[int]:
        heard: list[int] = []

        @durable.function("told")
        async def hears(ctx: Context) -> None:
            heard.append(ctx.event.data["n"])

        async with durable.Engine([hears], store=path) as engine:
            if broken:
                write = making.write

                def breaks(record: Record) -> str:
                    if isinstance(record, RunOpened) and record.event.data["n"] == 2:
                        raise Refused("the second")
                    return write(record)

                monkeypatch.setattr(making, "write", breaks)
                await send(engine, heard)
                monkeypatch.undo()
            else:
                while len(heard) < 2:
                    await asyncio.sleep(0.01)
            await engine.settled()
            return heard

    async def made() -> None:
        async with durable.Engine([], store=path):
            pass

    asyncio.run(made())
    assert asyncio.run(story(True)) == [3]
    assert any("cannot be taken and stays there: Refused" in record.getMessage() for record in caplog.records)
    assert asyncio.run(story(False)) == [1, 2]


@pytest.mark.parametrize("kind", ["dict", "file"])
def test_an_entry_that_no_store_can_keep_is_the_error_of_who_posts_it(kind: str, tmp_path: Path) -> None:
    """R31: found before anything of its cause is queued, and never the store's failure: the engine goes on."""

    async def story() -> None:
        store: Any = DictStore() if kind == "dict" else tmp_path / "x.db"
        async with durable.Engine([parent], store=store) as engine:
            runtime = inside(engine, "a test")
            before, now = picture(runtime.state), runtime.clock.now()
            good = RunOpened("good", "parent", Event("order", {"id": 1}), now)
            for bad in (
                RunOpened("half \ud83d", "parent", Event("order", {"id": 1}), now),
                RunOpened("deep", "parent", Event("order", {"v": _nested(300)}), now),
                RunClosed("nobody", "completed", now),
                RunRetried("nobody", 0, now, None, now, reopened=True),
                StepClosed("nobody", "s", "run", Cancelled(), None, now),
            ):
                for post in (lambda: runtime.journal.post(bad), lambda: runtime.journal.post_all([good, bad])):  # noqa: B023
                    with pytest.raises((ValueError, KeyError, durable.CodecError)):
                        post()
                assert picture(runtime.state) == before and runtime.journal._queue == []
            run = await engine.start("parent", {"id": 1})
            assert {info.id.partition("/")[0] for info in await engine.runs()} == {run.id}

    asyncio.run(story())


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class Choosy(DictStore):
    """A store of somebody else's, which refuses what only it can know of: nothing was written, says its error."""

    async def append(self, entries: Any) -> None:
        if any("poison" in entry.body for entry in entries):
            raise ValueError("this store keeps no poison")
        await super().append(entries)


def test_a_store_that_refuses_what_only_it_knows_of_has_kept_nothing_of_the_cause() -> None:
    """R31: by then the poster has gone on, so the engine stops; nothing is half there, and a restart agrees."""

    @durable.function("go")
    async def first(ctx: Context) -> None: ...

    @durable.function("go")
    async def second(ctx: Context) -> None: ...

    async def story() -> None:
        store = Choosy()
        engine = durable.Engine([first, second], store=store)
        await engine.open()
        await engine.send("go", {"n": 1})
        with pytest.raises(durable.StoreError, match="ValueError: this store keeps no poison"):
            await engine.send("go", {"n": "poison"}, id="x")
        await engine.close()
        async with durable.Engine([first, second], store=DictStore(store.mapping)) as again:
            await again.settled()
            assert len(await again.runs()) == 2
            await again.send("go", {"n": "poison"}, id="x")
            assert len(await again.runs()) == 4

    asyncio.run(story())


def test_what_a_step_sends_and_its_end_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """R22: whichever record of it cannot be kept, nothing was sent; called again, the step sends it all."""

    @durable.function(retries=9)
    async def sends(ctx: Context) -> Any:
        return await ctx.step.send_event("s", [Event("told", {"n": 1}, id="1"), Event("told", {"n": 2}, id="2")])

    heard: list[int] = []

    @durable.function("told")
    async def hears(ctx: Context) -> None:
        heard.append(ctx.event.data["n"])

    async def story() -> None:
        breaking = Breaking(monkeypatch, "written")
        async with Lab([sends, hears]) as lab:
            for number in range(2, 7):  # the first is the opening of the run
                breaking.next(number)
                run = await lab.start(sends, id=f"{number}")
                assert breaking.seen > number, "nothing was broken"
                breaking.never()
                assert heard == []
            await lab.crash()
            assert heard == []
            assert len(await lab.result(run)) == 2
            assert sorted(heard) == [1, 2]

    asyncio.run(story())
