"""List faults in what steers runs and takes back events, from an engine or from another process.

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

UNSEND = ("tests/rules/test_unsend.py",)
OUTSIDE = ("tests/unit/engine/test_steering_from_outside.py", "tests/unit/engine/test_steering_too_late.py")
PLANNING = ("tests/unit/engine/test_planning_from_outside.py",)
RELEASES = ("tests/unit/engine/test_releases.py",)
MENDED = ("tests/unit/engine/test_receiving_mended.py",)

OF_STEERING = [
    Fault(
        "keep the id of an event that was taken back",
        "journal/rules/state.py",
        "        if not record.withdrawn:\n",
        "        if True:\n",
        UNSEND,
    ),
    Fault(
        "keep the timer of an event that was taken back",
        "scheduler/deadlines.py",
        "        elif record.withdrawn:\n",
        "        elif False:\n",
        UNSEND,
    ),
    Fault(
        "begin runs before what waits in the inbox is done",
        "engine/runtime.py",
        "        await self.receiver.begin()\n",
        "        for run in list(self.state.ledgers):\n            self.scheduler.begin(run)\n"
        "        await asyncio.sleep(0.2)\n        await self.receiver.begin()\n",
        OUTSIDE,
    ),
    Fault(
        "open a run of a given id again",
        "engine/taking.py",
        "            if known is None:\n",
        "            if opened or known is None:\n",
        OUTSIDE,
    ),
    Fault(
        "believe a store that a message before will change",
        "engine/outbox.py",
        " is None or self._is_awaited(run) else",
        " is None else",
        OUTSIDE,
    ),
    Fault(
        "let one damaged run shut the inbox",
        "engine/receiver.py",
        "is_damage = isinstance(error, StoreCorruptError) and",
        "is_damage = False and",
        OUTSIDE,
    ),
    Fault(
        "send what the engine does not take",
        "stores/file/holder.py",
        "if text and holder.takes < format and",
        "if False and",
        RELEASES,
    ),
    Fault(
        "take a dead engine of an earlier release for a living one",
        "stores/file/holder.py",
        "        except (ProcessLookupError, OverflowError):\n            return True\n",
        "        except (ProcessLookupError, OverflowError):\n            return False\n",
        RELEASES,
    ),
    Fault(
        "forget a schedule that is on its way",
        "engine/outbox.py",
        "            return run == schedule_fact(id) or",
        "            return False or",
        PLANNING,
    ),
    Fault(
        "take a backfill for a function that is not there",
        "engine/taking.py",
        "                if function not in self._state.functions:",
        "                if False:",
        PLANNING,
    ),
    Fault(
        "say nothing of what comes too late",
        "engine/taking.py",
        "        self._tell_nothing(message, why)\n",
        "",
        OUTSIDE,
    ),
    Fault(
        "let a held event keep its id when it is taken back",
        "journal/rules/flow/gather.py",
        "        if sent is not None and sent.id != event:",
        "        if False:",
        UNSEND,
    ),
    Fault(
        "take again what a copy of a damaged inbox has",
        "engine/receiver.py",
        "self._complaint, self._is_level = str(error), False",
        "self._complaint = str(error)",
        MENDED,
    ),
    Fault(
        "take again what an inbox has that stands where none was",
        "engine/receiver.py",
        "self._is_level = stamp is not None",
        "self._is_level = True",
        MENDED,
    ),
    Fault(
        "complain for ever of an inbox that was taken away",
        "engine/receiver.py",
        "if self._complaint or (",
        "if (",
        MENDED,
    ),
]
