"""Live random stories of ticks, pauses, deaths and clocks, beside a model that says which runs there must be.

Separate because ticks come from a calendar: the generated workflows of `workflows` have no part in them. What a tick
begins is a generated workflow, too: steps one after another and side by side, some of which fail for good.
Leaves to `tests/unit/timers/test_cron.py` the ticks of an expression: here they are minutes, hours and their multiples.

`python -m tests.proof.torture.calendar` lives a thousand stories; the suite lives forty.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

import durable
from durable import Context, DictStore, Function, TriggerCron, TriggerEvery
from durable.testing import Lab
from tests.proof.torture.stories import live_many

START = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
# The minutes between the ticks of each expression, and the minute of the first.
CRONS = {
    "@hourly": (60, 0),
    "*/20 * * * *": (20, 0),
    "30 */2 * * *": (120, 30),
    "45m": (45, 0),
    "0 */3 * * *": (180, 0),
}
POLICIES = ("last", "skip", "all")
WAYS = ("step", "fails", "gather", "race")


@attrs.define
class Rule:
    """What the model knows of a trigger: up to `passed` its ticks are done with."""

    cron: str
    missed: str
    passed: datetime

    def ticks(self, until: datetime) -> list[datetime]:
        """The ticks after `passed`, up to an instant: by counting minutes since 1970."""
        every, first = CRONS[self.cron]
        number = int(self.passed.timestamp() // 60) + 1
        found = []
        while number * 60 <= until.timestamp():
            if number % every == first:
                found.append(datetime.fromtimestamp(number * 60, UTC))
            number += 1
        return [tick for tick in found if tick > self.passed]


class Model:
    """A model says which ticks have runs; `rules` are in the order of declaration."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.opened: set[datetime] = set()
        self.is_paused = False

    def declared(self, triggers: list[tuple[str, str]], now: datetime) -> None:
        known = {rule.cron: rule.passed for rule in self.rules}
        self.rules = [Rule(cron, missed, known.get(cron, now)) for cron, missed in triggers]

    def passes(self, now: datetime, *, missed_until: datetime | None = None, late: bool = False) -> None:
        """Time has passed; ticks up to `missed_until` were missed, with `late` those of more than a minute ago."""
        if self.is_paused:
            return
        for rule in self.rules:
            ticks = rule.ticks(now)
            missed = [
                tick
                for tick in ticks
                if (missed_until is not None and tick <= missed_until) or (late and now - tick > MINUTE)
            ]
            chosen = {"last": missed[-1:], "skip": [], "all": missed}[rule.missed]
            self.opened |= {*chosen, *[tick for tick in ticks if tick not in missed]}
            rule.passed = max(rule.passed, now)

    def fills(self, after: datetime, before: datetime) -> list[datetime]:
        found = set()
        for rule in self.rules:
            every = Rule(rule.cron, "all", after - MINUTE / 60)
            found |= {tick for tick in every.ticks(before) if after <= tick < before}
        self.opened |= found
        return sorted(found)


class Story:
    """A story is a row of random acts over one store."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.model, self.store, self.calls = Model(), DictStore(), Counter[tuple[str, str]]()
        self.now, self.told = START, list[str]()
        self.workflow = [self.random.choice(WAYS) for _ in range(self.random.randint(1, 3))]

    def function(self) -> Function[Any]:
        names = self.random.sample(list(CRONS), self.random.randint(0, 3))
        if self.model.rules and self.random.random() < 0.5:
            names = [rule.cron for rule in self.model.rules]
        triggers = [(name, self.random.choice(POLICIES)) for name in names]
        self.told.append(f"{self.now:%d %H:%M}: {triggers}")
        self.model.declared(triggers, self.now)
        made: list[Any] = [
            TriggerEvery(name, missed=missed) if name == "45m" else TriggerCron(name, missed=missed)  # type: ignore[arg-type]
            for name, missed in triggers
        ]

        @durable.function(made, id="job")
        async def job(ctx: Context) -> None:
            for way in self.workflow:
                await self.play(ctx, way)

        return job

    async def play(self, ctx: Context, way: str) -> None:
        async def work() -> None:
            self.calls[ctx.run_id, durable.current_step().key] += 1
            if way == "fails":
                raise durable.NonRetriableError("for good")

        if way in ("step", "fails"):
            with suppress(durable.StepError):
                await ctx.step.run("work", work)
            return
        both = [asyncio.create_task(ctx.step.run("work", work)) for _ in range(2)]  # type: ignore[arg-type]
        if way == "race":
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*both)

    async def live(self, lives: int = 4) -> None:
        for life in range(lives):
            before = self.model.rules
            function = self.function()
            if life:
                back = self.random.random() < 0.2
                self.now += MINUTE * self.random.choice((0, 1, 30, 200, 1_500)) * (-1 if back else 1)
                for rule in self.model.rules:  # what is new begins when the store is opened
                    if all(rule.cron != known.cron for known in before):
                        rule.passed = self.now
            self.told.append(f"{self.now:%d %H:%M}: opened")
            async with Lab([function], store=self.store, start=self.now) as lab:
                self.model.passes(self.now, missed_until=self.now)
                await self.check(lab)
                for _ in range(self.random.randint(1, 6)):
                    await self.act(lab)
                    await self.check(lab)

    async def act(self, lab: Lab) -> None:
        act = self.random.choice(("advance", "advance", "crash", "jump", "pause", "resume", "backfill"))
        span = MINUTE * self.random.choice((1, 20, 45, 61, 300))
        self.told.append(f"{self.now:%d %H:%M:%S}: {act} {span}")
        match act:
            case "advance":
                await lab.advance(span)
                self.now += span
                self.model.passes(self.now)
            case "jump":  # as if the machine had been suspended
                self.now += span + timedelta(seconds=self.random.choice((0, 30, 59)))
                lab.clock._now = self.now
                await lab.advance(0)
                self.model.passes(self.now, late=True)
            case "crash":
                await lab.crash()
            case "pause":
                assert await lab.engine.pause("job") is not self.model.is_paused
                self.model.is_paused = True
            case "resume":
                assert await lab.engine.resume("job") is self.model.is_paused
                if self.model.is_paused:
                    self.model.is_paused = False
                    self.model.passes(self.now, missed_until=self.now)
            case "backfill":
                after = self.now - MINUTE * self.random.choice((40, 200, 700))
                before = self.now + MINUTE * self.random.choice((0, 0, -30, 90))
                runs = await lab.engine.backfill("job", after, before)
                assert [run.id for run in runs] == [_run(tick) for tick in self.model.fills(after, before)]

    async def check(self, lab: Lab) -> None:
        await lab.settle()
        found = {run.id: run.status for run in await lab.engine.runs(limit=10_000)}
        assert found.keys() == {_run(tick) for tick in self.model.opened}, "other runs than there must be"
        if not self.model.is_paused:
            assert set(found.values()) <= {"completed"}, "a run was forgotten"
        assert set(self.calls.values()) <= {1}, "a tick ran twice"
        done = [run for run, status in found.items() if status == "completed"]
        steps = sum(1 if way in ("step", "fails") else 2 for way in self.workflow)
        assert Counter(run for run, _ in self.calls) == dict.fromkeys(done, steps), "a tick is done that has not run"


def _run(tick: datetime) -> str:
    return f"cron/job/{tick:%Y-%m-%dT%H:%M:%SZ}"


if __name__ == "__main__":
    live_many(
        Story,
        "calendar",
        what="Live random stories of ticks, pauses, deaths and clocks.",
        proven="the runs of all ticks are those of the model",
    )
