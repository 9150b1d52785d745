"""Of the planted faults: those in how runs that have ended are opened again (R32).

Separate because one table would be too long to read.
Leaves to `faults` to plant them.
"""

from __future__ import annotations

from tests.torture.faults_of_delivery import OF_DELIVERY
from tests.torture.planting import Fault

OF_A_RUN = ("tests/test_rules_reopening.py",)
OF_CHILDREN = ("tests/test_rules_reopening_children.py",)

OF_REOPENING = [
    *OF_DELIVERY,
    Fault(
        "let a failed step stay failed when its run is opened again",
        "ledger.py",
        "if not isinstance(facts.outcome, Ok):",
        "if not isinstance(facts.outcome, Ok | Err):",
        OF_A_RUN,
    ),
    Fault(
        "keep the deadline of a wait that opens again",
        "ledger.py",
        "ForChild(self.wait.child) if isinstance(self.wait, ForChild) else None",
        "self.wait",
        OF_A_RUN,
    ),
    Fault("count the timeout of a run from its first opening", "deadlines.py", "run.since", "run.opened_at", OF_A_RUN),
    Fault(
        "hear of cancels as long as at first", "state.py", "after(ledger.since,", "after(ledger.opened_at,", OF_A_RUN
    ),
    Fault(
        "call a run beside its last call",
        "scheduler.py",
        "            self._leaving.add(record.run)\n",
        "",
        OF_A_RUN,
    ),
    Fault(
        "call a run beside its last call, which was parked",
        "scheduler.py",
        " or run in self.parking.leaving",
        "",
        OF_A_RUN,
    ),
    Fault("show what an ended run left open as due", "views.py", "None if is_over:", "None if False:", OF_A_RUN),
    Fault("leave a failed child as it is", "reopening.py", "left.append(child)", "continue", OF_CHILDREN),
    Fault(
        "wait for a child only once it is asked for",
        "reopening.py",
        "waits=tuple(children)",
        "waits=()",
        OF_CHILDREN,
    ),
    Fault(
        "open a completed child again",
        "reopening.py",
        'if ended[child].status == "completed":',
        "if False:",
        OF_CHILDREN,
    ),
    Fault(
        "open the child of an invoke again that the function cancelled",
        "reopening.py",
        "was_waiting = facts.outcome is None and facts.is_waiting",
        "was_waiting = facts.outcome is None or facts.closed_at is not None and facts.turn != -1",
        OF_CHILDREN,
    ),
    Fault(
        "give an invoke no deadline whose child goes on",
        "execution.py",
        "facts.is_waiting and not facts.is_unasked:",
        "facts.is_waiting:",
        OF_CHILDREN,
    ),
    Fault(
        "forget after a death that a child is waited for",
        "state.py",
        "            self._listen(ledger, key, wait)\n",
        "            pass\n",
        OF_CHILDREN,
    ),
    Fault(
        "take a child that answers early for drift",
        "drift.py",
        "if not ledger.steps[key].is_unasked]",
        "]",
        OF_CHILDREN,
    ),
    Fault(
        "let two open one run again",
        "reopening.py",
        "await held.enter_async_context(locks.setdefault(one, asyncio.Lock()))",
        "pass",
        OF_CHILDREN,
    ),
    Fault(
        "spell the id of a failure's run like that of a child",
        "ids.py",
        '"~failure" if key == "failure" else part(key)',
        "part(key)",
        OF_CHILDREN,
    ),
]
