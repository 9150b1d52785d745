"""Do what a step cannot do without, and nothing else: the limit beside which a step of the library is measured.

Separate because a limit must not depend on the library.
Leaves to `units` the unit, to the library all layers, all rules but those below, every rare case and every error.

    python -m tests.bench.bare

prints units a step.

A step is called and counted, its call is an object that is awaited once, its handler runs in a context and under a task
of its own, its value is checked, written as JSON and given back as a copy; what is recorded has an instant for its
begin and one for its end, is folded into facts, and kept in a dict, item by item.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task  # type: ignore[attr-defined]
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from json.encoder import c_make_encoder, encode_basestring_ascii
from typing import Any

import attrs

from tests.bench.units import cpu_each, trivial, unit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_THREE = [f"{number:03}" for number in range(1_000)]
_ATOMS = frozenset({int, str, bool, float, type(None)})
_WRITE = c_make_encoder(None, None, encode_basestring_ascii, None, ":", ",", True, False, True)  # type: ignore[misc]
_CURRENT: ContextVar[Any] = ContextVar("current", default=None)


@attrs.define(eq=False, repr=False)
class _Facts:
    kind: str
    outcome: str
    turn: int | None
    at: datetime
    began: datetime
    tries: int = 1
    due: datetime | None = None
    error: Any = None
    wait: Any = None


@attrs.define(eq=False, repr=False)
class _Trying:
    run: Run
    key: str
    attempt: int
    is_over: bool = False


class Run:
    """A run has the facts of its steps, and the dict that keeps them."""

    def __init__(self, spare: asyncio.Task[Any]) -> None:
        self.loop, self.main, self.spare = asyncio.get_running_loop(), asyncio.current_task(), spare
        self.asked: dict[str, int] = {}
        self.calls: dict[str, Any] = {}
        self.steps: dict[str, _Facts] = {}
        self.kept: dict[str, Any] = {}
        self.second = (0, 0, "")
        self.changed, self.size, self.number = asyncio.Event(), 0, 0

    def step(self, name: str, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Step:
        """Count a step, and return its call."""
        if type(name) is not str or not name or not function.__code__.co_flags or _CURRENT.get() is not None:
            raise TypeError(name)
        count = self.asked.get(name)
        self.asked[name] = 1 if count is None else count + 1
        key = name if count is None else f"{name}:{count}"
        if key in self.steps or len(self.asked) > 1_000_000:
            raise ValueError(key)
        self.calls[key] = None
        return Step(self, key, function, args)

    def text(self, key: str, value: str, began: datetime, at: datetime) -> str:
        """Return the record of a step's end."""
        passed, (days, seconds, text) = at - _EPOCH, self.second
        if seconds != passed.seconds or days != passed.days:
            text = (_EPOCH + timedelta(passed.days, passed.seconds)).isoformat()[:19] + "."
            self.second = passed.days, passed.seconds, text
        end, begin = passed.microseconds, began.microsecond
        return (
            f'{{"run":"01HFQ8Z7M5T0","key":{encode_basestring_ascii(key)},"kind":"run","outcome":{{"_type":"Ok"}},'
            f'"turn":null,"at":"{text}{_THREE[end // 1_000]}{_THREE[end % 1_000]}+00:00","tries":1,'
            f'"began":"{text}{_THREE[begin // 1_000]}{_THREE[begin % 1_000]}+00:00"}}\n{value}'
        )


class Step:
    """A step is one call, which is awaited once."""

    __slots__ = ("args", "awaited_by", "began", "function", "future", "is_over", "key", "outcome", "run")

    def __init__(self, run: Run, key: str, function: Callable[..., Coroutine[Any, Any, Any]], args: Any) -> None:
        self.run, self.key, self.function, self.args = run, key, function, args
        self.awaited_by = self.began = self.future = self.outcome = None
        self.is_over = False

    def __await__(self) -> Generator[Any, Any, Any]:
        """Do the step, and return a copy of its value."""
        run, key = self.run, self.key
        task = asyncio.current_task(run.loop)
        if self.is_over or task is not run.main or task is None or key in run.steps:
            raise RuntimeError(key)
        self.is_over = True
        run.calls[key] = self
        context, trying = copy_context(), _Trying(run, key, 0)
        context.run(_CURRENT.set, trying)
        began = datetime.now(UTC)
        _leave_task(run.loop, task)
        _enter_task(run.loop, run.spare)
        try:
            context.run(self.function(*self.args).send, None)
        except StopIteration as end:
            value = end.value
        _leave_task(run.loop, run.spare)
        _enter_task(run.loop, task)
        self._record(value, began)
        trying.is_over = True
        return dict(value)
        yield  # so that this is a generator

    def _record(self, value: dict[str, Any], began: datetime) -> None:
        run, key = self.run, self.key
        for name, part in value.items():
            if type(name) is not str or type(part) not in _ATOMS:
                raise TypeError(name)
        text, at = "".join(_WRITE(value, 0)), datetime.now(UTC)
        body = run.text(key, text, began, at)
        run.steps[key] = _Facts("run", text, None, at, began)
        run.size += len(text)
        run.changed.set()
        run.number += 1
        run.kept[f"batch/{run.number}"] = ((run.number, "01HFQ8Z7M5T0", "StepClosed", body, False, None, None),)
        del run.calls[key]


async def measured() -> float:
    """Return the units of a step, among a thousand one after the other."""
    spare = asyncio.ensure_future(asyncio.Event().wait())
    await asyncio.sleep(0)
    run = Run(spare)

    async def work() -> None:
        for number in range(1_000):
            await run.step("one", trivial, number)

    await work()
    one = await unit()
    each = await cpu_each(1_000, work)
    spare.cancel()
    return each / one


if __name__ == "__main__":
    print(asyncio.run(measured()))
