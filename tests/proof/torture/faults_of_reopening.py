"""List faults in the reopening of runs that have ended (R32).

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.faults_of_delivery import OF_DELIVERY
from tests.proof.torture.planting import Fault

OF_A_RUN = ("tests/rules/test_reopening.py",)
OF_CHILDREN = ("tests/rules/test_reopening_children.py",)

OF_REOPENING = [
    *OF_DELIVERY,
    Fault(
        "let a failed step stay failed when its run is opened again",
        "journal/rules/ledger.py",
        "if not isinstance(facts.outcome, Ok):",
        "if not isinstance(facts.outcome, Ok | Err):",
        OF_A_RUN,
    ),
    Fault(
        "keep the deadline of a wait that opens again",
        "journal/rules/ledger.py",
        "ForChild(self.wait.child) if isinstance(self.wait, ForChild) else None",
        "self.wait",
        OF_A_RUN,
    ),
    Fault(
        "count the timeout of a run from its first opening",
        "scheduler/deadlines.py",
        "run.since",
        "run.opened_at",
        OF_A_RUN,
    ),
    Fault(
        "hear of cancels as long as at first",
        "journal/rules/listening.py",
        "after(ledger.since,",
        "after(ledger.opened_at,",
        OF_A_RUN,
    ),
    Fault(
        "call a run beside its last call",
        "scheduler/scheduler.py",
        "            self._leaving.add(run)\n",
        "",
        OF_A_RUN,
    ),
    Fault(
        "call a run beside its last call, which was parked",
        "scheduler/scheduler.py",
        " or run in self.parking.leaving",
        "",
        OF_A_RUN,
    ),
    Fault("show what an ended run left open as due", "views/info.py", "None if is_over:", "None if False:", OF_A_RUN),
    Fault("leave a failed child as it is", "journal/rules/reopening.py", "left.append(child)", "continue", OF_CHILDREN),
    Fault(
        "wait for a child only once it is asked for",
        "journal/rules/reopening.py",
        "waits=tuple(children)",
        "waits=()",
        OF_CHILDREN,
    ),
    Fault(
        "open a completed child again",
        "journal/rules/reopening.py",
        'if ended[child].status == "completed":',
        "if False:",
        OF_CHILDREN,
    ),
    Fault(
        "open the child of an invoke again that the function cancelled",
        "journal/rules/reopening.py",
        "was_waiting = facts.outcome is None and facts.is_waiting",
        "was_waiting = facts.outcome is None or facts.closed_at is not None and facts.turn != -1",
        OF_CHILDREN,
    ),
    Fault(
        "give an invoke no deadline whose child goes on",
        "scheduler/execution.py",
        "facts.is_waiting and not facts.is_unasked:",
        "facts.is_waiting:",
        OF_CHILDREN,
    ),
    Fault(
        "forget after a death that a child is waited for",
        "journal/rules/state.py",
        "            self._listen(ledger, key, wait)\n",
        "            pass\n",
        OF_CHILDREN,
    ),
    Fault(
        "take a child that answers early for drift",
        "scheduler/drift.py",
        "if not ledger.steps[key].is_unasked]",
        "]",
        OF_CHILDREN,
    ),
    Fault(
        "let two open one run again",
        "engine/family.py",
        "await held.enter_async_context(locks.setdefault(one, asyncio.Lock()))",
        "pass",
        OF_CHILDREN,
    ),
    Fault(
        "spell the id of a failure's run like that of a child",
        "journal/ids.py",
        '"~failure" if key == "failure" else part(key)',
        "part(key)",
        OF_CHILDREN,
    ),
]
