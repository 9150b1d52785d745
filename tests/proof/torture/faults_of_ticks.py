"""List faults in ticks, pauses and backfills.

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

CRON, TICKING = "timers/cron.py", "journal/rules/schedules/ticking.py"
TIMETABLE, CALENDAR = "journal/rules/schedules/timetable.py", "scheduler/calendar.py"
OF_CRON = ("tests/unit/timers/test_cron.py",)
OF_STORIES = (
    "tests/proof/torture/test_calendar.py",
    "tests/rules/test_ticks.py",
    "tests/rules/test_ticks_of_changed_triggers.py",
    "tests/rules/test_pause.py",
)

OF_TICKS = [
    Fault(
        "run a tick twice, once for each expression that names it",
        TICKING,
        "if (run := tick_run(table.of, tick)) not in opened and",
        "if (run := tick_run(table.of, tick)) and",
        OF_STORIES,
    ),
    Fault(
        "believe that a tick of the past has no run",
        TICKING,
        "return [tick for tick in ticks if tick <= latest and",
        "return [tick for tick in ticks if tick > latest and",
        OF_STORIES,
    ),
    Fault(
        "lose a tick at a crash, since its run is opened in a later write",
        "scheduler/ticker.py",
        "            self._parts.journal.post_all(self.ticking.moves(table, moved, (), now))\n",
        "            self._parts.journal.post_all(self.ticking._passed(table.of, moved.marks, moved.ticks, now))\n"
        "            self._parts.journal.flush()\n"
        "            self._parts.journal.post_all(self.ticking._open_all(table, moved.ticks, (), now))\n",
        OF_STORIES,
    ),
    Fault(
        "record ticks as done with, and open no runs",
        TICKING,
        "        yield from self._open_all(table, moved.ticks, opened, now)\n",
        "        yield from self._open_all(table, (), opened, now)\n",
        OF_STORIES,
    ),
    Fault(
        "record a tick as done with before it is due",
        TIMETABLE,
        "            if due > self._now:\n                return\n",
        "            if due > self._now:\n                self.passed = tick\n                return\n",
        OF_STORIES,
    ),
    Fault(
        "skip an hour that does not exist",
        CRON,
        "            while not (instants := self._instants(naive)):\n                naive += _MINUTE\n",
        "            if not (instants := self._instants(naive)):\n                continue\n",
        OF_CRON,
    ),
    Fault(
        "run once in an hour that comes twice, also by the clock",
        CRON,
        "        if repeat > timedelta(0):\n",
        "        if False:\n",
        OF_CRON,
    ),
    Fault(
        "run twice a day at a time that comes twice",
        CRON,
        "            if instants[0] > when:\n                return instants[0]\n",
        "            if instants[-1] > when:\n                return next(one for one in instants if one > when)\n",
        OF_CRON,
    ),
    Fault(
        "forget at a resume what came meanwhile",
        CALENDAR,
        "self._ticker.moved(table, now, now)) for table",
        "self._ticker.moved(table, now, now)._replace(ticks=[])) for table",
        OF_STORIES,
    ),
    Fault(
        "decide at a resume as if nothing had been missed",
        CALENDAR,
        "self._ticker.moved(table, now, now)) for table",
        "self._ticker.moved(table, now, None)) for table",
        OF_STORIES,
    ),
    Fault(
        "fill in the tick at the end of a span, too",
        CALENDAR,
        "while tick is not None and tick < before:",
        "while tick is not None and tick <= before:",
        OF_STORIES,
    ),
    Fault(
        "leave out the tick at the beginning of a span",
        CALENDAR,
        "tick = table.next_tick(begin - _MOMENT)",
        "tick = table.next_tick(begin)",
        OF_STORIES,
    ),
    Fault(
        "let a pause hold what has begun, after a crash",
        "journal/rules/schedules/pausing.py",
        "            yield RunAdmitted(run, ledger.opened_at)\n",
        "            pass\n",
        OF_STORIES,
    ),
    Fault(
        "let a pause change what a run was told of the time",
        "journal/rules/schedules/pausing.py",
        "            yield RunAdmitted(run, ledger.opened_at)\n",
        "            yield RunAdmitted(run, now)\n",
        ("tests/rules/test_first_now.py",),
    ),
    Fault(
        "let the time to start run while a function is paused",
        "journal/rules/schedules/standing.py",
        "        return None if isinstance(known, FunctionPaused) and known.at < due else due\n",
        "        return due\n",
        OF_STORIES,
    ),
    Fault(
        "run the last of the missed ticks, whatever was asked",
        TIMETABLE,
        'if self._rule.missed == "last" and (last :=',
        "if (last :=",
        OF_STORIES,
    ),
]
