"""Test the tests: plant one fault at a time, and see which test finds it.

    python -m tests.proof.torture.faults

Separate because a test that cannot fail is worse than no test, and nobody breaks every line by hand twice.
Leaves to `planting` the planting, which does not touch the checkout.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor

from tests.proof.torture.faults_at_doors import AT_DOORS
from tests.proof.torture.faults_odd import ODD_FAULTS
from tests.proof.torture.faults_of_causes import OF_CAUSES
from tests.proof.torture.faults_of_errors import OF_ERRORS
from tests.proof.torture.faults_of_flow import OF_FLOW
from tests.proof.torture.faults_of_forking import OF_FORKING
from tests.proof.torture.faults_of_gathering import OF_GATHERING
from tests.proof.torture.faults_of_keeping import OF_KEEPING
from tests.proof.torture.faults_of_looking import OF_LOOKING
from tests.proof.torture.faults_of_reopening import OF_REOPENING
from tests.proof.torture.faults_of_resting import OF_RESTING
from tests.proof.torture.faults_of_steering import OF_STEERING
from tests.proof.torture.faults_of_telling import OF_TELLING
from tests.proof.torture.faults_of_ticks import OF_TICKS
from tests.proof.torture.faults_of_time import OF_TIME
from tests.proof.torture.faults_on_disk import ON_DISK
from tests.proof.torture.planting import TORTURE, Fault, judged

MEMORY = (TORTURE, "-k", "memory")

FAULTS = [
    *ODD_FAULTS,
    Fault("drop a sync", "stores/file/schema.py", '"power": 2', '"power": 1', ("tests/proof/torture/test_power.py",)),
    Fault(
        "acknowledge before the commit",
        "journal/writer.py",
        "        self._is_submitting = True\n",
        "        self._is_submitting = True\n        self.durable = self.posted\n        self._tell_some()\n",
    ),
    Fault(
        "take a failed commit for a good one",
        "journal/writer.py",
        "        if error is not None:\n            self.fail(error)\n            return\n",
        "",
    ),
    Fault(
        "swap two deliveries on replay",
        "scheduler/delivery.py",
        "        self.delivered = 0\n",
        "        self.delivered = 0\n        if 1 in ledger.turns and 2 in ledger.turns:\n"
        "            ledger.turns[1], ledger.turns[2] = ledger.turns[2], ledger.turns[1]\n",
    ),
    Fault("be quiet too soon for a task deep below", "scheduler/delivery.py", "QUIET = 96", "QUIET = 16"),
    Fault(
        "deliver without quiet",
        "scheduler/delivery.py",
        "if self._rounds.now < self.quiet_at:",
        "if False:",
        ("tests/unit/scheduler/test_delivery.py",),
    ),
    Fault(
        "let a turn pass before a held one",
        "scheduler/delivery.py",
        "return any(turn <= self.delivered",
        "return False and any(turn <= self.delivered",
        ("tests/unit/scheduler/test_cancelling.py", "tests/unit/scheduler/test_delivery.py"),
    ),
    Fault(
        "drop the turn",
        "journal/rules/ledger.py",
        "None if inline else self.open_turn, at, tries, began)",
        "None, at, tries, began)",
    ),
    Fault(
        "let recovered turns be joined",
        "engine/runtime.py",
        "            ledger.close_turns()\n",
        "            pass\n",
    ),
    Fault(
        "lose the retry count",
        "journal/rules/ledger.py",
        "facts.attempt, facts.due, facts.error = record.attempt,",
        "facts.attempt, facts.due, facts.error = 0,",
    ),
    Fault(
        "run a finished step again",
        "scheduler/calls.py",
        "if begin is not None and (facts is None or facts.outcome is None):",
        "if begin is not None:",
    ),
    Fault(
        "forget a cancelled wait",
        "scheduler/calls.py",
        "            parts.journal.post(closed)\n",
        "            pass\n",
    ),
    Fault(
        "record what follows a refusal",
        "scheduler/session.py",
        "        self.refused = True\n        self.delivery",
        "        self.delivery",
    ),
    Fault(
        "wait for ever on a step that a failed attempt cancelled",
        "journal/rules/ledger.py",
        "if isinstance(facts.outcome, Cancelled):",
        "if False:",
    ),
    Fault(
        "fire a timer early",
        "scheduler/deadlines.py",
        "timers.set(StepDue(record.run, record.key), record.wait.until)",
        "timers.set(StepDue(record.run, record.key), self._parts.clock.now())",
    ),
    Fault(
        "call a function again before it is due",
        "scheduler/scheduler.py",
        "        if ledger.due is not None and self.deadlines.is_put_off(run):\n            return\n",
        "",
    ),
    Fault(
        "forget timers over a restart",
        "scheduler/deadlines.py",
        "            if facts.outcome is not None:\n                continue\n",
        "            if facts.outcome is not None or facts.due is None:\n                continue\n",
    ),
    Fault(
        "leave recovered runs parked",
        "engine/runtime.py",
        "        for run in list(self.state.ledgers):\n            self.scheduler.begin(run)\n",
        "",
    ),
    Fault(
        "answer a wait after its deadline",
        "events/triggers.py",
        "if self.until is not None and now >= self.until:",
        "if False:",
        ("tests/unit/events/test_bus.py", "tests/rules/test_time.py"),
    ),
    Fault(
        "answer a wait whatever it matches",
        "events/triggers.py",
        "theirs is not _ABSENT and same_value(mine, theirs)",
        "theirs is not _ABSENT",
        ("tests/unit/events/test_bus.py", "tests/rules/test_events.py"),
    ),
    Fault(
        "return from send before it is durable",
        "engine/runtime.py",
        "        await self.journal.synced()\n        return ids, records",
        "        return ids, records",
    ),
    Fault(
        "deliver a repeated event",
        "journal/rules/decisions.py",
        "return first[0] if first is not None and first[1] > now else None",
        "return None",
    ),
    Fault(
        "lose a child's end",
        "journal/rules/decisions.py",
        "        if parent is not None:\n            yield from self.step_answered(parent,",
        '        if parent is not None and closed.status == "completed":\n'
        "            yield from self.step_answered(parent,",
    ),
    Fault(
        "take a cancelled child for a successful one",
        "journal/rules/endings.py",
        'if child.status == "completed":',
        'if child.status != "failed":',
    ),
    Fault(
        "answer only the first wait",
        "journal/rules/decisions.py",
        "listeners, functions = self.state.bus.heard_by(event, now)\n",
        "listeners, functions = self.state.bus.heard_by(event, now)\n        listeners = listeners[:1]\n",
        ("tests/rules/test_events.py",),
    ),
    Fault("keep a signal's waiter for ever", "journal/rules/state.py", "del self.signals[wait.signal]", "pass", MEMORY),
    Fault(
        "keep the cancellations of ended runs",
        "journal/rules/state.py",
        "            self._leave_cancels(ledger)\n        ledger.close(",
        "            pass\n        ledger.close(",
        MEMORY,
    ),
    Fault(
        "keep ended runs in memory",
        "journal/rules/state.py",
        "        if ledger is not None and ledger.ended_at == record.at:\n",
        "        if False:\n",
        MEMORY,
    ),
    Fault(
        "lose scheduled events over a restart",
        "scheduler/deadlines.py",
        "                self._timers.set(EventDue(scheduled.id), scheduled.due)\n",
        "                pass\n",
    ),
    Fault(
        "give parallel branches one count",
        "scheduler/branches.py",
        "            branch = tasks[task] = parent.child()\n",
        "            branch = tasks[task] = parent\n",
        ("tests/rules/test_steps.py", "tests/proof/replay/test_replay.py"),
    ),
    Fault("chance that differs on replay", "functions/context.py", "Random(self._execution.seed)", "Random()"),
    Fault(
        "a time that differs on replay",
        "scheduler/execution.py",
        "return self._session.now",
        "return self._session.parts.clock.now()",
    ),
    Fault(
        "open no run for a pattern",
        "events/matching.py",
        'name[: position + 1] + "*"',
        "name",
        ("tests/unit/events/test_bus.py",),
    ),
    Fault(
        "claim no idempotency key",
        "journal/rules/state.py",
        "                self._keep((record.function, record.key), record.run, record.at)\n",
        "                pass\n",
        ("tests/rules/test_runs.py", "tests/rules/test_events.py"),
    ),
    Fault(
        "count no deaths",
        "scheduler/recovery.py",
        "            deaths += 1\n",
        "            deaths += 0\n",
        ("tests/rules/test_deaths.py",),
    ),
    Fault(
        "share a live object instead of its record",
        "journal/codec/recorded.py",
        "return event_of(self.name, self.data, self.id, self.ts, self.v)",
        'return event_of(self.name, self.seen()["data"], self.id, self.ts, self.v)',
        ("tests/rules/test_events.py", "tests/rules/test_runs.py", "tests/rules/test_attempts.py"),
    ),
    Fault(
        "lose the end of a turn that failed",
        "journal/writer.py",
        "            told(failure if number > self.durable else None)\n",
        "            pass\n",
        ("tests/rules/test_store_failure.py", "-k", "everyone"),
    ),
    Fault(
        "stop the runs a round after the store has failed",
        "engine/runtime.py",
        "        self.scheduler.stop()  # now",
        "        # now",
        ("tests/rules/test_store_failure.py",),
    ),
    Fault(
        "tear what one cause leads to apart",
        "journal/writer.py",
        "        self._queue = []\n        self._submitted = self.posted\n",
        "        batch, self._queue = batch[:1], batch[1:]\n        self._submitted = self.durable + 1\n",
    ),
    Fault(
        "return at the call what came in a turn",
        "scheduler/calls.py",
        "if facts.turn is not None or session.parts.journal.failure is not None:",
        "if session.parts.journal.failure is not None:",
        ("tests/unit/scheduler/test_delivery.py", "tests/proof/replay/test_replay.py"),
    ),
    Fault(
        "take a signal over unasked",
        "journal/rules/decisions.py",
        "        if not replace:\n",
        "        if False:\n",
        ("tests/rules/test_signals.py",),
    ),
    Fault(
        "call the failure handler of a cancelled run",
        "journal/rules/decisions.py",
        "failing = on_failure if name == FAILED else None",
        "failing = on_failure if name != FINISHED else None",
        ("tests/rules/test_runs.py",),
    ),
    Fault(
        "tell of the end of what a telling opened",
        "journal/rules/decisions.py",
        "is_silent = ledger.event.name in LIFECYCLE",
        "is_silent = False",
        ("tests/rules/test_runs.py",),
    ),
    *OF_FORKING,
    *OF_REOPENING,
    *OF_STEERING,
    *OF_TELLING,
    *OF_LOOKING,
    *OF_KEEPING,
    Fault(
        "count the deaths of runs that only waited",
        "scheduler/recovery.py",
        "if count != ledger.count:",
        "if False:",
        ("tests/rules/test_deaths.py",),
    ),
    Fault(
        "ask the clock again about what is due",
        "scheduler/deadlines.py",
        "return RunDue(run, What.ATTEMPT) in self._timers",
        "return self._state.ledgers[run].due is not None and self._state.ledgers[run].due > self._parts.clock.now()",
        ("tests/unit/scheduler/test_loop.py",),
    ),
    Fault(
        "take no notice of a wall clock that is set back",
        "timers/clock.py",
        "                told(by)\n",
        "                pass\n",
        ("tests/unit/timers/test_clock.py", "tests/unit/scheduler/test_loop.py"),
    ),
    Fault(
        "record a deadline when it is noticed",
        "scheduler/deadlines.py",
        "at = max(when, self._opened_at)",
        "at = self._parts.clock.now()",
        ("tests/unit/scheduler/test_loop.py",),
    ),
    Fault(
        "lose the deadlines behind one that fails",
        "scheduler/deadlines.py",
        "            except StoreError:\n                return\n            except Exception as error:",
        "            except StoreError:\n                return\n            except ZeroDivisionError as error:",
        ("tests/unit/scheduler/test_loop.py",),
    ),
    Fault(
        "stop all runs of one event in one turn",
        "scheduler/scheduler.py",
        "            self._stops.add(session)\n",
        "            self._begin_stop(session)\n",
        ("tests/unit/scheduler/test_loop.py",),
    ),
    Fault(
        "tell all who wait for one write in one turn",
        "journal/writer.py",
        "            left -= 1\n",
        "            left -= 0\n",
        ("tests/unit/scheduler/test_loop.py",),
    ),
    Fault(
        "forget a closing that was cut short",
        "engine/owner.py",
        "        await asyncio.wait([self._task])\n",
        "        await asyncio.wait([self._task], timeout=0)\n",
        ("tests/unit/engine/test_opening.py",),
    ),
    Fault(
        "go on opening what is to be closed",
        "engine/owner.py",
        "            self.begin_closing(0.0)\n            raise",
        "            raise",
        ("tests/unit/engine/test_opening.py",),
    ),
    Fault(
        "post what comes after the last record",
        "journal/writer.py",
        "        self._refusal = StoreError(",
        "        self._refused = StoreError(",
        ("tests/unit/journal/test_writer.py",),
    ),
    Fault(
        "begin a try while the engine closes",
        "scheduler/attempts.py",
        "if self._stopped or self.is_running or self._session.refused:",
        "if self._stopped or self.is_running:",
        ("tests/unit/engine/test_grace.py",),
    ),
    Fault(
        "take what a handler makes of its end for its failure",
        "scheduler/attempts.py",
        "        if self._stopped or self._parts.life.is_cut:\n",
        "        if False:\n",
        ("tests/unit/engine/test_grace.py",),
    ),
    Fault(
        "give handlers no time to end",
        "scheduler/stopping.py",
        "    if at_once:\n        _stop_all(session.works)\n",
        "    if True:\n        _stop_all(session.works)\n",
        ("tests/unit/engine/test_grace.py",),
    ),
    Fault(
        "wait for ever for what was leaving when the engine closed",
        "scheduler/scheduler.py",
        "            await stop(session, self.time, at_once=True)\n",
        "            await stop(session, ClosingTime(self._parts.loop), at_once=True)\n",
        ("tests/unit/engine/test_grace.py",),
    ),
    Fault(
        "answer a refused call again and again",
        "scheduler/refusals.py",
        "if self._count <= ANSWERED:",
        "if True:",
        ("tests/unit/scheduler/test_cancelling.py",),
    ),
    Fault(
        "take a task that is none of the run's own for one",
        "scheduler/branches.py",
        "        if is_own(of):\n",
        "        if True:\n",
        ("tests/unit/scheduler/test_user_code_that_goes_on.py",),
    ),
    Fault(
        "cancel whoever calls a run that has ended",
        "scheduler/refusals.py",
        "        if not is_own(self._of):\n            raise self._told_away(step)\n",
        "",
        ("tests/unit/scheduler/test_user_code_that_goes_on.py",),
    ),
    Fault(
        "wait for a function that is never done",
        "scheduler/refusals.py",
        "        if self._of.fault is not None:\n            self._ended()",
        "        if False:\n            self._ended()",
        ("tests/unit/scheduler/test_user_code_that_goes_on.py",),
    ),
    Fault(
        "say nothing of a run that goes on",
        "engine/owner.py",
        "            if (folded := self._parts.settings.folded) is not None:\n",
        "            if False:\n",
        ("tests/unit/engine/test_script.py",),
    ),
    Fault(
        "read every unfinished run for a list of some",
        "views/listing.py",
        "if query.status in LIVE and status_of is not None and status_of(row.id) != query.status:",
        "if False:",
        ("tests/unit/scheduler/test_loop.py",),
    ),
    *OF_ERRORS,
    *AT_DOORS,
    *OF_CAUSES,
    *ON_DISK,
    *OF_GATHERING,
    *OF_RESTING,
    *OF_FLOW,
    *OF_TIME,
    *OF_TICKS,
]

CONTROL = Fault(
    "none",
    "journal/ids.py",
    "_CHANCE = SystemRandom()",
    "_CHANCE = SystemRandom()",
    (TORTURE, "tests/proof/torture/test_power.py"),
)


def main() -> None:
    """Plant the faults and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.torture.faults", description=main.__doc__)
    parser.add_argument("--only", default="", help="a part of the names of the faults to plant")
    parser.add_argument("--first", type=int, default=0, help="the number of the first fault to plant")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    chosen = [fault for fault in FAULTS if asked.only in fault.name][asked.first :]
    control = judged(CONTROL)
    assert control.found_by is None, f"without a fault the tests fail already: {control.found_by}"
    with ThreadPoolExecutor(asked.jobs) as pool:
        caught = 0
        for verdict in pool.map(judged, chosen):
            caught += verdict.found_by is not None
            print(f"{verdict.fault.name:56} {verdict.seconds:5.1f} s  {verdict.found_by or 'NOT CAUGHT'}", flush=True)
    print(f"{caught} of {len(chosen)} planted faults caught")
    raise SystemExit(caught < len(chosen))


if __name__ == "__main__":
    main()
