"""Test the tests: plant one fault at a time in a copy, and see which test finds it: `python -m tests.torture.faults`.

Separate because a test that cannot fail is worse than none, and nobody breaks every line by hand twice.
Leaves to `planting` how it is done, without touching the checkout.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor

from tests.torture.faults_at_doors import AT_DOORS
from tests.torture.faults_odd import ODD_FAULTS
from tests.torture.faults_of_causes import OF_CAUSES
from tests.torture.faults_of_errors import OF_ERRORS
from tests.torture.faults_of_reopening import OF_REOPENING
from tests.torture.faults_on_disk import ON_DISK
from tests.torture.planting import TORTURE, Fault, judged

MEMORY = (TORTURE, "-k", "memory")

FAULTS = [
    *ODD_FAULTS,
    Fault("drop a sync", "stores/schema.py", '"power": 2', '"power": 1', ("tests/test_torture_power.py",)),
    Fault(
        "acknowledge before the commit",
        "journal.py",
        "                    await self._store.append(batch)",
        "                    self._advance(number)\n                    await self._store.append(batch)",
    ),
    Fault(
        "take a failed commit for a good one",
        "journal.py",
        "                except Exception as error:\n                    self.fail(error)\n                else:\n",
        "                except Exception:\n                    self._advance(number)\n                else:\n",
    ),
    Fault(
        "swap two deliveries on replay",
        "delivery.py",
        "        self.delivered = 0\n",
        "        self.delivered = 0\n        if 1 in ledger.turns and 2 in ledger.turns:\n"
        "            ledger.turns[1], ledger.turns[2] = ledger.turns[2], ledger.turns[1]\n",
    ),
    Fault("be quiet too soon for a task deep below", "delivery.py", "QUIET = 96", "QUIET = 16"),
    Fault("deliver without quiet", "delivery.py", "return self._rounds.now >= self._quiet_at", "return True"),
    Fault(
        "let a turn pass before a held one",
        "delivery.py",
        "return any(turn <= self.delivered",
        "return False and any(turn <= self.delivered",
        ("tests/test_cancelling.py", "tests/test_delivery.py"),
    ),
    Fault("drop the turn", "ledger.py", "None if inline else self.open_turn, at, tries)", "None, at, tries)"),
    Fault(
        "let recovered turns be joined",
        "runtime.py",
        "            ledger.close_turns()\n",
        "            pass\n",
    ),
    Fault(
        "lose the retry count",
        "ledger.py",
        "facts.attempt, facts.due, facts.error = record.attempt,",
        "facts.attempt, facts.due, facts.error = 0,",
    ),
    Fault("run a finished step again", "calls.py", "return facts is None or facts.outcome is None", "return True"),
    Fault(
        "forget a cancelled wait",
        "calls.py",
        "            machine.journal.post(StepClosed(session.ledger.run, self.key, self.kind, Cancelled(), turn, now))",
        "            pass",
    ),
    Fault(
        "record what follows a refusal",
        "session.py",
        "        self.refused = True\n        self.delivery",
        "        self.delivery",
    ),
    Fault(
        "wait for ever on a step that a failed attempt cancelled",
        "ledger.py",
        "if isinstance(facts.outcome, Cancelled):",
        "if False:",
    ),
    Fault(
        "fire a timer early",
        "deadlines.py",
        "timers.set(StepDue(record.run, record.key), record.wait.until)",
        "timers.set(StepDue(record.run, record.key), self._machine.clock.now())",
    ),
    Fault(
        "call a function again before it is due",
        "scheduler.py",
        "        if ledger.due is not None and self.deadlines.is_put_off(run):\n            return\n",
        "",
    ),
    Fault(
        "forget timers over a restart",
        "deadlines.py",
        "            if facts.outcome is not None:\n                continue\n",
        "            if facts.outcome is not None or facts.due is None:\n                continue\n",
    ),
    Fault(
        "leave recovered runs parked",
        "runtime.py",
        "        for run in list(self.state.ledgers):\n            self.scheduler.begin(run)\n",
        "",
    ),
    Fault(
        "answer a wait after its deadline",
        "bus.py",
        "if self.until is not None and now >= self.until:",
        "if False:",
        ("tests/test_bus.py", "tests/test_rules_time.py"),
    ),
    Fault(
        "answer a wait whatever it matches",
        "bus.py",
        "theirs is not _ABSENT and same_value(mine, theirs)",
        "theirs is not _ABSENT",
        ("tests/test_bus.py", "tests/test_rules_events.py"),
    ),
    Fault(
        "return from send before it is durable",
        "runtime.py",
        "        await self.journal.synced()\n        return ids, [record",
        "        return ids, [record",
    ),
    Fault(
        "deliver a repeated event",
        "causes.py",
        "return first[0] if first is not None and first[1] > now else None",
        "return None",
    ),
    Fault(
        "lose a child's end",
        "causes.py",
        "        if parent is not None:\n            yield from self.answer(parent,",
        '        if parent is not None and closed.status == "completed":\n            yield from self.answer(parent,',
    ),
    Fault(
        "take a cancelled child for a successful one",
        "causes.py",
        'if child.status == "completed":',
        'if child.status != "failed":',
    ),
    Fault(
        "answer only the first wait",
        "causes.py",
        "listeners, functions = self.state.bus.heard_by(event, now)\n",
        "listeners, functions = self.state.bus.heard_by(event, now)\n        listeners = listeners[:1]\n",
        ("tests/test_rules_events.py",),
    ),
    Fault("keep a signal's waiter for ever", "state.py", "del self.signals[wait.signal]", "pass", MEMORY),
    Fault(
        "keep the cancellations of ended runs",
        "state.py",
        "            self._leave_cancels(ledger)\n        ledger.fold(record)",
        "            pass\n        ledger.fold(record)",
        MEMORY,
    ),
    Fault(
        "keep ended runs in memory",
        "state.py",
        "        if ledger is not None and ledger.ended_at == record.at:\n",
        "        if False:\n",
        MEMORY,
    ),
    Fault(
        "lose scheduled events over a restart",
        "deadlines.py",
        "                self._timers.set(EventDue(scheduled.id), scheduled.due)\n",
        "                pass\n",
    ),
    Fault(
        "give parallel branches one count",
        "branches.py",
        "            branch = parent.child()\n",
        "            branch = parent\n",
        ("tests/test_rules_steps.py", "tests/test_replay.py"),
    ),
    Fault("chance that differs on replay", "context.py", "Random(self.run_id)", "Random()"),
    Fault(
        "a time that differs on replay",
        "execution.py",
        "return self._session.now",
        "return self._session.machine.clock.now()",
    ),
    Fault(
        "open no run for a pattern",
        "bus.py",
        'name[: position + 1] + "*"',
        "name",
        ("tests/test_bus.py",),
    ),
    Fault(
        "claim no idempotency key",
        "state.py",
        "                self._keep((record.function, record.key), record.run, record.at)\n",
        "                pass\n",
        ("tests/test_rules_runs.py", "tests/test_rules_events.py"),
    ),
    Fault(
        "count no deaths",
        "recovery.py",
        "            deaths += 1\n",
        "            deaths += 0\n",
        ("tests/test_rules_deaths.py",),
    ),
    Fault(
        "share a live object instead of its record",
        "acceptance.py",
        "return event_of(name, data, given",
        "return event_of(name, event.data, given",
        ("tests/test_rules_events.py",),
    ),
    Fault(
        "lose the end of a turn that failed",
        "journal.py",
        "            told(failure if number > self.durable else None)\n",
        "            pass\n",
        ("tests/test_store_failure.py", "-k", "everyone"),
    ),
    Fault(
        "stop the runs a round after the store has failed",
        "runtime.py",
        "        self.scheduler.stop()  # now",
        "        # now",
        ("tests/test_store_failure.py",),
    ),
    Fault(
        "tear what one cause leads to apart",
        "journal.py",
        "                batch, self._queue = self._queue, []\n                number = self.posted\n",
        "                batch, self._queue = self._queue[:1], self._queue[1:]\n"
        "                number = self.durable + 1\n",
    ),
    Fault(
        "return at the call what came in a turn",
        "calls.py",
        "if facts is None or facts.turn is not None or not",
        "if facts is None or not",
        ("tests/test_delivery.py", "tests/test_replay.py"),
    ),
    Fault(
        "take a signal over unasked",
        "causes.py",
        "        if not replace:\n",
        "        if False:\n",
        ("tests/test_rules_signals.py",),
    ),
    Fault(
        "call the failure handler of a cancelled run",
        "causes.py",
        "failing = on_failure if name == FAILED else None",
        "failing = on_failure if name != FINISHED else None",
        ("tests/test_rules_runs.py",),
    ),
    Fault(
        "tell of the end of what a telling opened",
        "causes.py",
        "is_silent = ledger.event.name in LIFECYCLE",
        "is_silent = False",
        ("tests/test_rules_runs.py",),
    ),
    *OF_REOPENING,
    Fault(
        "count the deaths of runs that only waited",
        "recovery.py",
        "if count != ledger.count:",
        "if False:",
        ("tests/test_rules_deaths.py",),
    ),
    Fault(
        "believe an armed timer without looking at the clock",
        "timers.py",
        "heap[0][0] <= now:",
        "(heap[0][0] <= now or not due):",
        ("tests/test_timers.py",),
    ),
    Fault(
        "hand over all timers that are due in one turn",
        "timers.py",
        "            self._room -= 1\n",
        "            self._room -= 0\n",
        ("tests/test_timers.py", "tests/test_loop.py"),
    ),
    Fault(
        "ask the clock again about what is due",
        "deadlines.py",
        "return RunDue(run, What.ATTEMPT) in self._timers",
        "return self._state.ledgers[run].due is not None and self._state.ledgers[run].due > self._machine.clock.now()",
        ("tests/test_loop.py",),
    ),
    Fault(
        "take no notice of a wall clock that is set back",
        "clock.py",
        "                told(by)\n",
        "                pass\n",
        ("tests/test_clock.py", "tests/test_loop.py"),
    ),
    Fault(
        "record a deadline when it is noticed",
        "deadlines.py",
        "at = max(when, self._opened_at)",
        "at = self._machine.clock.now()",
        ("tests/test_loop.py",),
    ),
    Fault(
        "lose the deadlines behind one that fails",
        "deadlines.py",
        "            except StoreError:\n                return\n            except Exception as error:",
        "            except StoreError:\n                return\n            except ZeroDivisionError as error:",
        ("tests/test_loop.py",),
    ),
    Fault(
        "stop all runs of one event in one turn",
        "scheduler.py",
        "            self._stops.add(session)\n",
        "            self._begin_stop(session)\n",
        ("tests/test_loop.py",),
    ),
    Fault(
        "tell all who wait for one write in one turn",
        "journal.py",
        "            left -= 1\n",
        "            left -= 0\n",
        ("tests/test_loop.py",),
    ),
    Fault(
        "forget a closing that was cut short",
        "owner.py",
        "        await asyncio.wait([self._task])\n",
        "        await asyncio.wait([self._task], timeout=0)\n",
        ("tests/test_opening.py",),
    ),
    Fault(
        "go on opening what is to be closed",
        "owner.py",
        "            self.begin_closing(0.0)\n            raise",
        "            raise",
        ("tests/test_opening.py",),
    ),
    Fault(
        "post what comes after the last record",
        "journal.py",
        "        self._refusal = StoreError(",
        "        self._refused = StoreError(",
        ("tests/test_opening.py",),
    ),
    Fault(
        "begin a try while the engine closes",
        "tries.py",
        "if self._stopped or self.is_running or self._session.refused:",
        "if self._stopped or self.is_running:",
        ("tests/test_grace.py",),
    ),
    Fault(
        "take what a handler makes of its end for its failure",
        "tries.py",
        "        if self._stopped or self._machine.life.is_cut:\n",
        "        if False:\n",
        ("tests/test_grace.py",),
    ),
    Fault(
        "give handlers no time to end",
        "ending.py",
        "    if time is None:\n        _stop_all(session.works)\n",
        "    if True:\n        _stop_all(session.works)\n",
        ("tests/test_grace.py",),
    ),
    Fault(
        "answer a refused call again and again",
        "refusals.py",
        "if self._count <= ANSWERED:",
        "if True:",
        ("tests/test_cancelling.py",),
    ),
    Fault(
        "take a task that is none of the run's own for one",
        "branches.py",
        "        if is_own(self._of):\n            return self.tasks\n",
        "        if True:\n            return self.tasks\n",
        ("tests/test_user_code_that_goes_on.py",),
    ),
    Fault(
        "cancel whoever calls a run that has ended",
        "refusals.py",
        "        if not is_own(self._of):\n            raise self._told_away(step)\n",
        "",
        ("tests/test_user_code_that_goes_on.py",),
    ),
    Fault(
        "wait for a function that is never done",
        "refusals.py",
        "        if self._of.fault is not None:\n            self._ended()",
        "        if False:\n            self._ended()",
        ("tests/test_user_code_that_goes_on.py",),
    ),
    Fault(
        "say nothing of a run that goes on",
        "owner.py",
        "            if (folded := self._parts.settings.folded) is not None:\n",
        "            if False:\n",
        ("tests/test_script.py",),
    ),
    Fault(
        "read every unfinished run for a list of some",
        "listing.py",
        "if query.status in LIVE and status_of(row.id) != query.status:",
        "if False:",
        ("tests/test_loop.py",),
    ),
    *OF_ERRORS,
    *AT_DOORS,
    *OF_CAUSES,
    *ON_DISK,
]

CONTROL = Fault("none", "ids.py", "_CHANCE_BITS = 80", "_CHANCE_BITS = 80", (TORTURE, "tests/test_torture_power.py"))


def main() -> None:
    """Plant the faults and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.faults", description=main.__doc__)
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
