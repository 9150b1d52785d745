"""List faults in the keeping of deadlines.

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

SLOTS, TABLE, WHEEL = "timers/slots.py", "timers/table.py", "timers/wheel.py"
OF_TIMERS = ("tests/unit/timers",)

OF_TIME = [
    Fault(
        "believe an armed timer without looking at the clock",
        SLOTS,
        "if when > now or not chunk or",
        "if not chunk or",
        OF_TIMERS,
    ),
    Fault(
        "hand over all timers that are due in one turn",
        WHEEL,
        "self._slots.take(now, self._room, self._moves)",
        "self._slots.take(now, 1_000_000, self._moves)",
        OF_TIMERS,
    ),
    Fault(
        "hand over as many at each deadline as in one turn",
        WHEEL,
        "        self._room -= len(due)\n",
        "",
        OF_TIMERS,
    ),
    Fault(
        "move all timers that are due in one turn",
        WHEEL,
        "self._slots.take(now, self._room, self._moves)",
        "self._slots.take(now, self._room, 1_000_000)",
        OF_TIMERS,
    ),
    Fault(
        "keep a crowd of timers whole until it is due",
        SLOTS,
        "        if self._filled:\n",
        "        if False:\n",
        OF_TIMERS,
    ),
    Fault(
        "hand over the last of equal deadlines first",
        SLOTS,
        "sorted(chunk.items(), key",
        "sorted(reversed(chunk.items()), key",
        OF_TIMERS,
    ),
    Fault(
        "set a timer in the finest slot there is",
        SLOTS,
        "strict=True)][::-1]",
        "strict=True)]",
        OF_TIMERS,
    ),
    Fault(
        "sort a slot in which finer ones begin",
        SLOTS,
        "(is_narrow and not self._is_divided(head))",
        "is_narrow",
        OF_TIMERS,
    ),
    Fault(
        "leave a finer slot out when the next deadline is asked for",
        SLOTS,
        "if slot.chunks and (slot.first <= now or self._is_divided(slot)):\n                if",
        "if slot.chunks and slot.first <= now:\n                if",
        OF_TIMERS,
    ),
    Fault(
        "keep the first deadline that a slot was given",
        SLOTS,
        "if not chunks or when < self.first:",
        "if not chunks:",
        OF_TIMERS,
    ),
    Fault(
        "keep the room of timers that were dropped",
        TABLE,
        "    if not len(entries) & 7 and",
        "    if False and",
        OF_TIMERS,
    ),
    Fault(
        "keep sorted chunks of which all timers were dropped",
        SLOTS,
        "            ripe[:] = [one for one in ripe if one[2]]\n",
        "",
        OF_TIMERS,
    ),
    Fault(
        "let one dict grow with the number of timers",
        TABLE,
        "        if bit >> _DEEPEST:\n",
        "        if bit:\n",
        OF_TIMERS,
    ),
    Fault(
        "throw all slots that ran empty away at once",
        SLOTS,
        "_SHIFTS[slot.level]]\n            looks -= 1\n",
        "_SHIFTS[slot.level]]\n",
        OF_TIMERS,
    ),
    Fault(
        "keep the slots that ran empty when the last timer is dropped",
        WHEEL,
        "            if not self._slots.is_bare:\n                self._wake()\n",
        "",
        OF_TIMERS,
    ),
    Fault(
        "leave a callback armed for nobody",
        WHEEL,
        "            self._disarm()\n            if not self._slots.is_bare:",
        "            if not self._slots.is_bare:",
        OF_TIMERS,
    ),
    Fault(
        "bring a span forward that is none any more",
        WHEEL,
        "            set_back.spans.drop(key)\n",
        "            pass\n",
        OF_TIMERS,
    ),
    Fault(
        "forget a second setting back of the clock",
        WHEEL,
        "            earlier.by += by\n",
        "            pass\n",
        OF_TIMERS,
    ),
    Fault(
        "take a timer out of its chunk before a full stack has room for where it goes",
        SLOTS,
        "        chunk = slot.chunk_for(when)\n        table = self._chunks\n",
        "        table = self._chunks\n        table.parts[hash(key) & table.mask].get(key, {}).pop(key, None)\n"
        "        chunk = slot.chunk_for(when)\n",
        OF_TIMERS,
    ),
    Fault(
        "deal timers out where a full stack has no room to end it",
        SLOTS,
        "            check_room()\n            self._relieve(",
        "            self._relieve(",
        OF_TIMERS,
    ),
]
