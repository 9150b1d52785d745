"""List faults in what debounce, batch and singleton hold, skip and open.

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

OF_HELD = ("tests/rules/test_debounce.py", "tests/rules/test_batch.py", "tests/rules/test_held.py")
OF_SINGLETONS = ("tests/rules/test_singleton.py",)
OF_FOLDING = ("tests/unit/journal/test_gather.py",)
_GATHER, _STATE = "journal/rules/flow/gather.py", "journal/rules/state.py"

OF_GATHERING = [
    Fault(
        "forget the cap of a debounce",
        _GATHER,
        "            due = min(due, after(since, option.timeout))\n",
        "            pass\n",
        OF_HELD,
    ),
    Fault(
        "count the cap of a debounce from the last event",
        _GATHER,
        "= group.id, group.since, next(",
        "= group.id, now, next(",
        OF_HELD,
    ),
    Fault(
        "let an older event take the place of a held one",
        _GATHER,
        "if group is not None and _is_older(event, group):",
        "if group is None and now < now:",
        OF_HELD,
    ),
    Fault(
        "let an event join what is due",
        _GATHER,
        "if group is None or now < group.due:",
        "if group is None or now <= group.due:",
        OF_HELD,
    ),
    Fault(
        "open a batch with one too many",
        _GATHER,
        "elif len(group.events) + 1 < option.max_size:",
        "elif len(group.events) < option.max_size:",
        OF_HELD,
    ),
    Fault(
        "open what is held beyond a lowered limit whole",
        _GATHER,
        "for first in range(0, len(events), most):",
        "for first in range(0, len(events), most := len(events)):",
        OF_HELD,
    ),
    Fault(
        "split a batch at a crash",
        "journal/entries.py",
        'sums_up=record.mode == "debounce")',
        "sums_up=True)",
        OF_HELD,
    ),
    Fault(
        "open nothing that was held before a crash",
        "scheduler/deadlines.py",
        "            if group.function in self._state.functions:\n                self._timers.set(",
        "            if group.function not in self._state.functions:\n                self._timers.set(",
        OF_HELD,
    ),
    Fault(
        "open nothing for a function that comes back",
        "engine/runtime.py",
        "        self.scheduler.deadlines.arm_groups(function.id)\n",
        "",
        OF_HELD,
    ),
    Fault(
        "take a key for another's of its hash",
        "journal/rules/flow/keys.py",
        "if isinstance(value, float) and value.is_integer():",
        "if isinstance(value, float | bool) and float(value).is_integer():",
        (*OF_HELD, *OF_SINGLETONS),
    ),
    Fault(
        "take 1.0 for another key than 1",
        "journal/rules/flow/keys.py",
        "return encode(_plainly(value))",
        "return encode(value)",
        (*OF_HELD, *OF_SINGLETONS),
    ),
    Fault(
        "let a singleton that has ended block for ever",
        _STATE,
        "            self.singletons.free(ledger.function, ledger.singleton, ledger.run)\n",
        "            pass\n",
        OF_SINGLETONS,
    ),
    Fault(
        "free the key of a singleton whoever ends",
        "journal/rules/flow/singleton.py",
        "if self.runs.get((function, key)) == run:",
        "if (function, key) in self.runs:",
        OF_FOLDING,
    ),
    Fault(
        "forget the key of a run that rests",
        _STATE,
        "                self.singletons.take(record.function, record.singleton, run)\n",
        "                pass\n",
        OF_SINGLETONS,
    ),
    Fault(
        "let a run that is opened again go without its key",
        _STATE,
        "            self.singletons.take(ledger.function, ledger.singleton, ledger.run)\n        self._listen",
        "            pass\n        self._listen",
        OF_SINGLETONS,
    ),
    Fault(
        "cancel one holder of a key, whoever has it then",
        "journal/rules/openings.py",
        "while (holder := singletons.holder(declaration.id, key)) is not None:",
        "if (holder := singletons.holder(declaration.id, key)) is not None:",
        OF_SINGLETONS,
    ),
    Fault(
        "put no group back whose cause has failed",
        "journal/rules/flow/held.py",
        "            self.groups[id] = known\n",
        "            pass\n",
        OF_FOLDING,
    ),
    Fault(
        "put no singleton key back whose cause has failed",
        "journal/rules/retraction.py",
        "found += (_entry(state.singletons.runs, (function, key)),)",
        "found += ()",
        OF_FOLDING,
    ),
]
