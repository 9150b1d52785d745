"""List faults in what an engine tells of itself: which steps run, to other processes, and how it is.

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

LIVE = ("tests/unit/stores/test_live.py",)
BEACON = ("tests/unit/engine/test_beacon.py", "tests/unit/engine/test_beacon_in_trouble.py")
HEALTH = ("tests/unit/engine/test_health.py",)

_OF_LIVE_FILES = [
    Fault(
        "show what a dead engine has told",
        "stores/file/live.py",
        "return _text(file) if _is_held(file) else None",
        "return _text(file)",
        LIVE,
    ),
    Fault(
        "take what another has left for one's own",
        "stores/file/live.py",
        "            _empty(file, self.path)\n            _insist(file)\n",
        "            _insist(file)\n",
        LIVE,
    ),
    Fault(
        "take a second reader for a living engine",
        "stores/file/flock.py",
        "(fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)",
        "fcntl.LOCK_EX",
        LIVE,
    ),
    Fault(
        "give up because of a reader's instant",
        "stores/file/live.py",
        "            if not left:\n                raise\n",
        "            raise\n",
        LIVE,
    ),
    Fault(
        "keep a dead engine alive in a forked child",
        "stores/file/live.py",
        "    for live in list(_open):\n",
        "    for live in ():\n",
        LIVE,
    ),
    Fault(
        "take half a text for a whole one",
        "stores/file/live.py",
        " and crc32(body[:length]) == crc:",
        ":",
        LIVE,
    ),
    Fault(
        "write on in a live file that was taken away",
        "stores/file/live.py",
        "        if not self.is_found:\n",
        "        if False:\n",
        LIVE,
    ),
    Fault(
        "leave the live file behind",
        "engine/beacon.py",
        "            self._file.remove()\n",
        "            self._file.close()\n",
        BEACON,
    ),
    Fault(
        "look again and again where nothing runs",
        "engine/beacon.py",
        "        if live.running:\n",
        "        if True:\n",
        BEACON,
    ),
    Fault(
        "show nothing of a try that records nothing",
        "engine/beacon.py",
        "        self._parts.changes.begun = self._look_soon\n",
        "",
        BEACON,
    ),
    Fault(
        "show nothing of what begins with a record",
        "engine/beacon.py",
        "            self._parts.journal.ride(self._ridden)\n",
        "",
        BEACON,
    ),
    Fault(
        "write what has not changed",
        "engine/beacon.py",
        "        if live == self._shown and ",
        "        if False and ",
        BEACON,
    ),
    Fault(
        "complain at each look",
        "engine/beacon.py",
        "            self._has_complained = True\n",
        "",
        BEACON,
    ),
    Fault(
        "show a step as running that has ended since",
        "views/live.py",
        "facts is None or (facts.outcome is None and",
        "facts is None or (",
        BEACON,
    ),
    Fault(
        "show a try as running that has failed since",
        "views/live.py",
        "(facts.outcome is None and facts.attempt == step.attempt)",
        "facts.outcome is None",
        BEACON,
    ),
]

_OF_HEALTH = [
    Fault("find a full disk well", "engine/condition.py", "room.free < LEAST_FREE", "False", HEALTH),
    Fault(
        "find an inbox well that takes nothing",
        "engine/condition.py",
        "    yield from runtime.receiver.troubles()\n",
        "",
        HEALTH,
    ),
    Fault(
        "wait for ever for a store that keeps nothing",
        "engine/condition.py",
        "async with asyncio.timeout(PATIENCE):",
        "async with asyncio.timeout(None):",
        HEALTH,
    ),
    Fault(
        "find runs well whose function is not there",
        "engine/condition.py",
        "if missing := runtime.scheduler.missing.functions(runtime.state.known):",
        "if missing := []:",
        HEALTH,
    ),
    Fault(
        "find late deadlines well",
        "engine/condition.py",
        "if (late := _late_by(runtime)) > LATEST:",
        "if False:",
        HEALTH,
    ),
    Fault(
        "find it well that nothing is forgotten",
        "engine/condition.py",
        "if runtime.pruning.failure is not None:",
        "if False:",
        HEALTH,
    ),
    Fault(
        "count no run that is parked",
        "engine/condition.py",
        '    counts["waiting"] += len(state.parked)\n',
        "",
        HEALTH,
    ),
    Fault(
        "find a closing engine well",
        "engine/condition.py",
        '["the engine closes"] if owner.is_closing',
        "[] if owner.is_closing",
        HEALTH,
    ),
]

OF_TELLING = [*_OF_LIVE_FILES, *_OF_HEALTH]
