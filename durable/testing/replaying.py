"""Replay exported runs against today's code, and report drift.

Separate because it runs no handlers: it only checks whether the code still asks for what is recorded.
Leaves to `RunInfo.export` the writing of the file, to `torture` the testing of code without recorded runs.

The record, without its end, is put into a store and recovered. Every finished step answers from the record. A handler
that is called all the same, because its step is new or had not ended, is not run: it hangs, and the replay ends when
everything is quiet.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from durable.engine import Engine, Runtime, inside, set_up
from durable.errors import DriftError, RecordedError
from durable.functions import Function, Handler, check_function, current_step
from durable.journal import (
    KEPT,
    Cancelled,
    EngineClosed,
    Record,
    RunClosed,
    RunOpened,
    RunRetried,
    StepClosed,
    read,
    records_in,
    write,
)
from durable.scheduler import QUIET, Call
from durable.stores import DictStore, Entry, read_lines
from durable.testing.clock import VirtualClock
from durable.testing.source_lines import awaited_line, calling_line, user_line
from durable.timers import after, shown
from durable.views import RunInfo

STILL_SECONDS = 5.0
_REMEDY = (
    "Unfinished runs that are recorded so would go on differently: ask for the recorded steps as before, and give what "
    "is new an id of its own"
)


class _Audience:
    """An audience notes step calls, and lets every handler hang."""

    def __init__(self) -> None:
        self.asked_at: dict[tuple[str, str], str] = {}
        self.called: list[tuple[str, str]] = []

    def replaces(self, step_id: str) -> bool:
        return False

    def asked(self, call: Call) -> None:
        self.asked_at[call.run, call.key] = calling_line(sys._getframe(1))

    def handler(self, step_id: str, handler: Handler) -> Handler:
        async def hang(*args: Any, **kwargs: Any) -> None:
            step = current_step()
            self.called.append((step.run_id, step.key))
            await asyncio.Event().wait()

        return attrs.evolve(handler, function=hang, is_async=True)


@attrs.frozen
class _Recorded:
    """A recorded run has its exported entries, and its ending apart from them.

    `ending` is None if the run had not ended.
    """

    run: str
    entries: list[Entry]
    records: list[Record]
    ending: RunClosed | None

    @property
    def at(self) -> datetime:
        """The latest instant that a record names, due attempts included."""
        return max(record.due if isinstance(record, RunRetried) else record.at for record in self.records)

    @property
    def finished(self) -> dict[str, StepClosed]:
        """The steps that ended in the last attempt, by key, in order."""
        finished: dict[str, StepClosed] = {}
        for record in self.records:
            if isinstance(record, RunRetried):
                finished.clear()
            elif isinstance(record, StepClosed):
                finished[record.key] = record
        return finished


async def replay(function: Function[Any], file: str | Path, *, functions: Iterable[Function[Any]] = ()) -> RunInfo:
    """Replay an exported run against today's code; no handler is run.

    Returns a picture of the replayed run.

    Args:
        function: the run's function, as today's code defines it.
        file: the path of a file that `RunInfo.export` wrote.
        functions: other functions that the run invoked.

    Raises:
        AssertionError: the code has drifted. It no longer asks for a recorded step, asks for it as another kind, cannot
            read its value, asks for more than an ended run has recorded, or ends the run differently. The message says
            what is recorded, what is asked for and at which line.
        ValueError: the file holds no run, or a run of another function.
    """
    check_function(function, "replay")
    if not isinstance(file, str | Path):
        raise TypeError(f"replay takes the path of a file that RunInfo.export wrote, not {shown(file)}")
    recorded = _read(function, Path(file))
    audience, clock = _Audience(), VirtualClock(recorded.at)
    logger = logging.Logger("durable.replay", logging.CRITICAL + 1)
    store = DictStore()
    await store.open()
    await store.append(recorded.entries)
    closed = EngineClosed(recorded.at)
    await store.append([Entry("", EngineClosed.__name__, write(closed), keep_until=after(closed.at, KEPT))])
    engine = Engine([function, *functions], store=store, clock=clock, logger=logger)
    set_up(engine, stand_in=audience, is_inline=True)
    async with engine:
        runtime = inside(engine, "replay")
        waiting = await _still(runtime, recorded.run)
        info = await engine.info(recorded.run)
        story = waiting or _drift(recorded, info, audience)
    if story is not None:
        title = f"run {recorded.run!r} of function {function.id!r}, recorded in {file}, no longer replays:"
        raise AssertionError(f"{title}\n{story}\n  {_REMEDY}")
    return info


def _read(function: Function[Any], file: Path) -> _Recorded:
    name, entries = read_lines(file.read_text(encoding="utf-8"), what=str(file))
    if name != function.id:
        raise ValueError(f"{file} is a run of function {name!r}, not of {function.id!r}")
    records = records_in(entries)
    if not records or not isinstance(records[0], RunOpened):
        raise ValueError(f"{file} does not begin with the opening of a run")
    ending = records[-1]
    if isinstance(ending, RunClosed):
        return _Recorded(records[0].run, entries[:-1], records[:-1], ending)
    return _Recorded(records[0].run, entries, records, None)


async def _still(runtime: Runtime, run: str) -> str | None:
    """Wait until the run has ended or is quiet.

    Returns None then, or a text if the run awaits something outside its steps.
    """
    # Whoever waits for rounds keeps the processor busy: its time passes with the clock's, but not without this process.
    deadline = time.process_time() + STILL_SECONDS
    while True:
        await runtime.rounds.passed(QUIET + 2)
        session = runtime.scheduler.sessions.get(run)
        if session is None or (session.calls and session.delivery.is_idle):
            return None
        if time.process_time() > deadline:
            return f"  it awaits something outside its steps, at {awaited_line(session.main)}"


def _drift(recorded: _Recorded, info: RunInfo, audience: _Audience) -> str | None:
    if info.error is not None and info.error.name == DriftError.__name__:
        return f"  {info.error.message}, at {user_line(info.error.stack)}"
    again = [key for run, key in audience.called if run == recorded.run and key in recorded.finished]
    if again:
        return f"  step {again[0]!r} is finished, but its handler is called: a bug of durable, please report it"
    gone = [one for one in recorded.finished.values() if _is_gone(one, audience)]
    new = _new(recorded, info, audience)
    if not gone and (recorded.ending is None or recorded.ending.status == "cancelled"):
        return None  # the record of a run that has not ended by itself may stop anywhere
    if not gone and recorded.ending is not None and (info.ended_at is not None or not new):
        return _other_ending(recorded.ending, info)
    was = f"step {gone[0].key!r} ({gone[0].kind}), ended at {gone[0].at}" if gone else _ended(recorded.ending)
    asks = [f"step {key!r} ({kind}) at {audience.asked_at.get((recorded.run, key))}" for key, kind in new]
    return f"  recorded:  {was}\n  asked for: {asks[0] if asks else _now(info)}"


def _is_gone(one: StepClosed, audience: _Audience) -> bool:
    if isinstance(one.outcome, Cancelled) and one.turn is None:
        return False
    return (one.run, one.key) not in audience.asked_at


def _new(recorded: _Recorded, info: RunInfo, audience: _Audience) -> list[tuple[str, str]]:
    """Return the steps that the code has begun, but that are not recorded."""
    known = {getattr(record, "key", None) for record in recorded.records}
    kinds = {key: step.kind for key, step in info.steps.items()}
    begun = [key for run, key in audience.called if run == recorded.run] + list(kinds)
    return [(key, kinds.get(key, "run")) for key in dict.fromkeys(begun) if key not in known]


def _other_ending(ending: RunClosed, info: RunInfo) -> str | None:
    last = read(info.record[-1].kind, info.record[-1].body)
    same = isinstance(last, RunClosed) and last.output == ending.output and _error(last.error) == _error(ending.error)
    if same or (isinstance(last, RunRetried) and _error(last.error) == _error(ending.error)):
        return None
    return f"  recorded:  {_ended(ending)}\n  and now:   {_now(info)}"


def _error(error: RecordedError | None) -> tuple[str, str] | None:
    return None if error is None else (error.name, error.message)


def _ended(ending: RunClosed | None) -> str:
    if ending is None:
        return "nothing more"
    return f"the run ended: {ending.status}: {ending.error or ending.reason or ending.output}"


def _now(info: RunInfo) -> str:
    last = read(info.record[-1].kind, info.record[-1].body)
    if isinstance(last, RunClosed):
        return _ended(last)
    return f"the run is {info.status}" + (f", its last attempt failed with {info.error}" if info.error else "")
