"""List faults in what a fork begins with (S5).

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

OF_RULES = ("tests/rules/test_forking.py", "tests/rules/test_forking_of_odd_runs.py")
BESIDE_OTHERS = ("tests/rules/test_forking_beside_others.py",)
FORKING = "journal/rules/forking.py"

OF_FORKING = [
    Fault("leave gaps in the turns of a fork", FORKING, "bisect_right(turns, end.turn)", "end.turn", OF_RULES),
    Fault(
        "keep what was cancelled after an outcome that is replaced",
        FORKING,
        "outcome=replaced[end.key]), False",
        "outcome=replaced[end.key]), is_same",
        OF_RULES,
    ),
    Fault(
        "keep what was cancelled where the data are replaced",
        FORKING,
        "event.text == recorded_event(opened.event).text",
        "True",
        OF_RULES,
    ),
    Fault("keep failures in a fork without a step", FORKING, "before is not None, is_same", "True, is_same", OF_RULES),
    Fault(
        "draw other random numbers in a fork", FORKING, "tuple(replaced), origin.seed", "tuple(replaced), run", OF_RULES
    ),
    Fault(
        "begin a fork with its own time",
        "scheduler/session.py",
        "if ledger.fork is None else ledger.fork.now",
        "",
        OF_RULES,
    ),
    Fault(
        "let what a fork does anew join what it begins with",
        "scheduler/scheduler.py",
        "            ledger.close_turns()",
        "            pass",
        OF_RULES,
    ),
    Fault(
        "begin a step with its end",
        FORKING,
        "isinstance(record, StepOpened | StepRetried | StepClosed) and record.key == before",
        "isinstance(record, StepClosed) and record.key == before",
        OF_RULES,
    ),
    Fault(
        "keep a failure that was done anew",
        FORKING,
        "isinstance(end.outcome, Ok) if retried.reopened",
        "True if retried.reopened",
        OF_RULES,
    ),
    Fault(
        "take any run of an id for the fork", "engine/forking.py", "check_same_fork(ledger, cause)", "pass", OF_RULES
    ),
    Fault(
        "tell of failures again that a fork begins with",
        "scheduler/scheduler.py",
        "if ledger.fork is None or record.at > ledger.opened_at:",
        "if True:",
        BESIDE_OTHERS,
    ),
]
