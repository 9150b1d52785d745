"""List faults in what bounds the starts, the tries and the openings of runs.

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

RATES = ("tests/rules/test_flow_rate_limit.py",)
STARTS = ("tests/rules/test_flow_throttle.py",)
TRIES = ("tests/rules/test_flow_steps.py", "tests/rules/test_flow_steps_over_time.py")
RUNS = ("tests/rules/test_flow_runs.py",)
QUEUE = ("tests/unit/journal/test_queue.py",)
STORIES = ("tests/proof/torture/test_limits.py",)

OF_FLOW = [
    Fault(
        "free no slot when a try is cancelled",
        "scheduler/attempts.py",
        "        self._end_turn()\n\n    def _end_turn",
        "        if not self._stopped:\n            self._end_turn()\n\n    def _end_turn",
        TRIES,
    ),
    Fault(
        "free a slot while the thread still runs",
        "scheduler/turns.py",
        "if thread is not None and thread.running:",
        "if False:",
        TRIES,
    ),
    Fault(
        "count one more than the limit in a window",
        "journal/rules/flow/rates.py",
        "if len(instants) >= window.limit:",
        "if len(instants) > window.limit:",
        RATES,
    ),
    Fault(
        "look at the wrong instant of a window",
        "journal/rules/flow/rates.py",
        "after(instants[-window.limit], window.period)",
        "after(instants[-1], window.period)",
        STARTS,
    ),
    Fault(
        "close a window at its end",
        "journal/rules/openings.py",
        "return None if until <= now else",
        "return None if until < now else",
        RATES,
    ),
    Fault(
        "let a burst fill up at once",
        "journal/rules/flow/rates.py",
        "after(instant, min(step * number, window.period))",
        "after(instant, min(step, window.period))",
        STARTS,
    ),
    Fault(
        "forget what was counted at a restart",
        "journal/entries.py",
        'Entry("", "Counted", write(record), keep_until=record.until)',
        'Entry("", "Counted", write(record), keep_until=record.at)',
        STARTS,
    ),
    Fault(
        "call a function before its start is recorded",
        "scheduler/starts.py",
        "        self._parts.journal.post_all(self._admission(run, now))\n        self._begin(run)\n",
        "        self._begin(run)\n        self._parts.journal.post_all(self._admission(run, now))\n",
        STARTS,
    ),
    Fault(
        "count a run that is opened again as a start",
        "scheduler/starts.py",
        "if ledger.reopenings:  # R32 is no start",
        "if False:",
        STARTS,
    ),
    Fault(
        "keep a cancelled run in the queue",
        "scheduler/turnstile.py",
        "        number = self._queue.leave(who)\n",
        "        number = None\n",
        RUNS,
    ),
    Fault(
        "sleep through the next start",
        "journal/rules/flow/queue.py",
        "            else:\n                self._come_back(gate, free, now)\n",
        "            else:\n",
        RUNS,
    ),
    Fault(
        "let a full gate hold up who does not pass it",
        "journal/rules/flow/queue.py",
        "            heappush(full.firsts, line.waiting[0])\n",
        "            heappush(full.firsts, line.waiting[0])\n            return None\n",
        QUEUE,
    ),
    Fault(
        "let parent and child wait for each other",
        "scheduler/starts.py",
        "            if room.holds(above.run):\n",
        "            if False:\n",
        RUNS,
    ),
    Fault(
        "let a child that is opened again wait for its parent's slot",
        "scheduler/starts.py",
        "            waits = self.holds_back(one) and not self._has_ended(one)\n",
        "            waits = False\n",
        RUNS,
    ),
    Fault(
        "let a run in that the same event has ended",
        "scheduler/starts.py",
        "        if self._has_ended(run):\n",
        "        if False:\n",
        ("tests/rules/test_flow_ended_together.py",),
    ),
    Fault(
        "let a pause put a run behind those that came after it",
        "scheduler/turnstile.py",
        "return self._queue.join(who, order, rooms, number)",
        "return self._queue.join(who, order, rooms)",
        ("tests/rules/test_flow_runs.py",),
    ),
    Fault(
        "let the pace of a lowered limit reach back beyond its period",
        "journal/rules/flow/rates.py",
        "after(instant, min(step * number, window.period))",
        "after(instant, step * number)",
        STARTS,
    ),
    Fault(
        "free a family's slot with its first end",
        "journal/rules/flow/rooms.py",
        "        if not held.count[holder]:\n",
        "        if True:\n",
        RUNS,
    ),
    Fault(
        "let runs that have begun hold no slot after a restart",
        "scheduler/starts.py",
        "                room.enter(run.run)\n",
        "                pass\n",
        RUNS,
    ),
    Fault(
        "evaluate a priority as seconds of lateness",
        "scheduler/starts.py",
        "(opened - ledger.priority if",
        "(opened + ledger.priority if",
        RUNS,
    ),
    Fault(
        "call a handler before its try is counted",
        "scheduler/turns.py",
        "        self._parts.journal.tell(self._parts.journal.posted, begin)\n",
        "        turn.begin()\n",
        TRIES,
    ),
    Fault(
        "take 1 and true for one key",
        "journal/rules/flow/keys.py",
        "    if isinstance(value, float) and value.is_integer():\n        return int(value)\n",
        "    if isinstance(value, float | bool):\n        return int(value)\n",
        RATES,
    ),
    # What the model of the stories must see: each of its sentences is broken once.
    Fault(
        "free a slot when a handler is cancelled, though it goes on",
        "scheduler/attempts.py",
        "        if not self.is_running:\n            self._end_turn()\n        if self._trying is not None and (",
        "        self._end_turn()\n        if self._trying is not None and (",
        STORIES,
    ),
    Fault(
        "call a handler while its try is still being recorded",
        "scheduler/turns.py",
        "        self._parts.journal.tell(self._parts.journal.posted, begin)\n",
        "        begin(None)\n",
        STORIES,
    ),
    Fault(
        "count a try twice",
        "scheduler/turns.py",
        "        self._parts.journal.post_all(counted)\n",
        "        self._parts.journal.post_all([*counted, *counted])\n",
        STORIES,
    ),
    Fault(
        "forget at a restart which tries were counted",
        "journal/entries.py",
        'Entry("", "Counted", write(record), keep_until=record.until)',
        'Entry("", "Counted", write(record), keep_until=record.at if record.counted_as == "try" else record.until)',
        STORIES,
    ),
    Fault(
        "let nobody in when a try has ended",
        "scheduler/turns.py",
        "        self._turnstile.leave(self, self.rooms)\n        self._turnstile.admit()\n",
        "        self._turnstile.leave(self, self.rooms)\n",
        STORIES,
    ),
    Fault(
        "let a try go before those of runs that were opened earlier",
        "scheduler/turns.py",
        "return Turns(self.turnstile, rooms, order_of(ledger)) if rooms else None\n\n    def begun",
        "return Turns(self.turnstile, rooms, (-order_of(ledger)[1], 0.0)) if rooms else None\n\n    def begun",
        STORIES,
    ),
    Fault(
        "leave tries that wait to the old definition of their function",
        "engine/runtime.py",
        "                self.scheduler.sessions[run.run].declared(self.scheduler.tries)\n",
        "                pass\n",
        STORIES,
    ),
    Fault(
        "count a try that is tried again no more",
        "scheduler/attempts.py",
        '        if turns is None or self.step.kind != "run":\n',
        '        if turns is None or self.step.kind != "run" or self._attempt:\n',
        STORIES,
    ),
    Fault(
        "ask one of two limits alone",
        "journal/rules/flow/rooms.py",
        "        for slots in flow.concurrency:\n",
        "        for slots in flow.concurrency[:1]:\n",
        STORIES,
    ),
    Fault(
        "let a function in that is paused",
        "journal/rules/flow/rooms.py",
        "        return None if self.function in self._paused else now\n",
        "        return now\n",
        STORIES,
    ),
    Fault(
        "let handlers that run when a new definition bounds them hold nothing",
        "scheduler/session.py",
        "                work.turn = tries.begun()\n",
        "                pass\n",
        ("tests/rules/test_flow_steps.py",),
    ),
    Fault(
        "call a run that is opened again before that is recorded",
        "scheduler/scheduler.py",
        "        if run in self._starting or (run in self._bounded and self.starts.holds_back(run)):\n",
        "        if run in self._bounded and self.starts.holds_back(run):\n",
        ("tests/rules/test_reopening.py",),
    ),
    Fault(
        "let a child take a slot of its own beside its parent's",
        "scheduler/starts.py",
        "                room.enter(run.run, above.run)\n",
        "                room.enter(run.run)\n",
        ("tests/rules/test_flow_runs.py",),
    ),
    Fault(
        "let a child take a slot of its own after a restart",
        "scheduler/starts.py",
        "            if not self._shares(run, room):\n                room.enter(run.run)\n",
        "            room.enter(run.run)\n",
        ("tests/rules/test_flow_runs.py",),
    ),
    Fault(
        "share no slot with whoever invoked the parent",
        "scheduler/starts.py",
        "            above = self._above(above)\n        return False\n",
        "            above = None\n        return False\n",
        ("tests/rules/test_flow_runs.py",),
    ),
    Fault(
        "free the slot of a family with the first that ends",
        "journal/rules/flow/rooms.py",
        "        if not held.count[holder]:\n            del held.count[holder]\n",
        "        if held.count[holder] >= 0:\n            del held.count[holder]\n",
        ("tests/rules/test_flow_runs.py",),
    ),
]
