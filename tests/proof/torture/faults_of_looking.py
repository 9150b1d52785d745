"""List faults in what looks at runs, from an engine or from another process.

Separate because one table would be too long to read.
Leaves to `planting` the planting, to `faults_of_telling` what an engine tells of itself.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

READER = ("tests/unit/engine/test_reader.py",)
LISTING = ("tests/unit/engine/test_listing.py",)
FINDING = ("tests/unit/stores/test_contract.py",)
WHY = ("tests/unit/views/test_why.py",)
STEPS = ("tests/unit/engine/test_steps_awaited.py",)
PLAIN = ("tests/unit/views/test_plain.py",)

_OF_READING = [
    Fault(
        "keep a reader open whose opening failed",
        "engine/reader.py",
        "            self._kept = None\n            raise\n",
        "            raise\n",
        READER,
    ),
    Fault(
        "take what a run below has for the event's own",
        "views/listing.py",
        "    is_below = one.parent == query.event_id\n",
        "    is_below = False\n",
        LISTING,
    ),
    Fault(
        "take a failure handler for a run of the event",
        "views/listing.py",
        'event.data.get("run_id") == query.event_id)',
        "event.data is None)",
        LISTING,
    ),
    Fault(
        "take a like id for a child's",
        "views/listing.py",
        "if query.parent is not None and one.parent != query.parent:",
        "if False:",
        LISTING,
    ),
    Fault(
        "stop a list at what does not fit",
        "views/listing.py",
        "        if len(rows) < limit:\n            return\n",
        "        return\n",
        LISTING,
    ),
    Fault(
        "list a run twice that a new one pushed down",
        "views/listing.py",
        "if row.id not in seen:",
        "if True:",
        LISTING,
    ),
    Fault(
        "list a run by a status that it has no more",
        "views/listing.py",
        "if query.status in (None, one.status) and",
        "if",
        LISTING,
    ),
    Fault(
        "let a run that is forgotten meanwhile break a list",
        "views/listing.py",
        "        except KeyError:  # it was forgotten since\n            continue\n",
        "        except KeyError:\n            raise\n",
        ("tests/unit/engine/test_pruning.py", "-k", "list"),
    ),
    Fault(
        "find a child's child by its grandparent",
        "stores/file/queries.py",
        " AND instr(substr(CAST(id AS BLOB), ?), x'2f') = 0",
        " AND ? > 0",
        FINDING,
    ),
    Fault(
        "find no run by an id that its sender gave",
        "stores/file/queries.py",
        '({_DERIVED} UNION {_OF_EVENT})", (*_range(query.event_id), query.event_id)',
        '({_DERIVED})", _range(query.event_id)',
        FINDING,
    ),
    Fault("begin a page with the last run of the one before", "stores/file/queries.py", "no < ?", "no <= ?", FINDING),
    Fault(
        "leave out the first instant that is asked for",
        "stores/file/queries.py",
        "opened_at >= ?",
        "opened_at > ?",
        FINDING,
    ),
    Fault(
        "find a run in rows that was opened too late",
        "stores/store.py",
        "row.opened_at < self.opened_before",
        "True",
        FINDING,
    ),
    Fault(
        "find a child's child by its grandparent in rows",
        "stores/store.py",
        ' and "/" not in run[len(id) + 1 :]',
        "",
        FINDING,
    ),
    Fault(
        "begin a page anywhere in rows",
        "stores/store.py",
        "        if self.before is not None and not any(row.id == self.before for row in left):\n",
        "        if False:\n",
        FINDING,
    ),
]

_OF_REASONS = [
    Fault(
        "call an event too late that came in time",
        "events/misses.py",
        "listener.until is not None and at >= listener.until",
        "listener.until is not None",
        WHY,
    ),
    Fault(
        "say nothing of an event that came at the very end",
        "events/misses.py",
        "at >= listener.until",
        "at > listener.until",
        WHY,
    ),
    Fault(
        "let a value that raises break a reason",
        "events/misses.py",
        "    except Exception:  # a value",
        "    except ZeroDivisionError:  # a value",
        WHY,
    ),
    Fault(
        "show a filter without the run's own values",
        "events/misses.py",
        'told = bound(expression, "event", own)',
        "told = expression",
        WHY,
    ),
    Fault(
        "say no for a part that said yes",
        "events/misses.py",
        "                continue\n",
        "                pass\n",
        WHY,
    ),
    Fault("say nothing of the next call", "views/why.py", "[*notes, *_again(ledger, now)]", "[*notes]", WHY),
    Fault(
        "say nothing of what nearly answered",
        "views/why.py",
        '            lines += [f"  {line}" for line in near(key)]\n',
        "",
        WHY,
    ),
    Fault(
        "say nothing of a function that is not there",
        "engine/looking.py",
        "if ledger.function in engine._registry.functions:",
        "if True:",
        WHY,
    ),
    Fault(
        "show an Enum by its text",
        "views/plain.py",
        "        case Enum():\n            return plainly(value.value)\n",
        "",
        PLAIN,
    ),
    Fault(
        "show a number that JSON does not know",
        "views/plain.py",
        "float(value) if math.isfinite(value) else",
        "float(value) if True else",
        PLAIN,
    ),
    Fault("show a set in any order", "views/plain.py", "sorted(value, key=brief)", "list(value)[::-1]", PLAIN),
    Fault(
        "show a key as Python spells it", "views/plain.py", "if not isinstance(found, bool | None)", "if True", PLAIN
    ),
]

_OF_STEPS = [
    Fault(
        "take a cancelled step for a finished one",
        "engine/looking.py",
        "facts is not None and isinstance(facts.outcome, Ok | Err)",
        "facts is not None and facts.outcome is not None",
        STEPS,
    ),
    Fault(
        "wait for a step of a run that has ended",
        "engine/looking.py",
        "    if ledger.status is not None:\n        await",
        "    if False:\n        await",
        STEPS,
    ),
    Fault(
        "wait for a step inside the engine",
        "engine/looking.py",
        '    check_outside(engine, "step")\n',
        "",
        STEPS,
    ),
    Fault(
        "wait for a step of an engine that has closed",
        "engine/looking.py",
        "            waiting[1].result()\n",
        "            pass\n",
        STEPS,
    ),
    Fault(
        "give a step's outcome before it is kept",
        "engine/looking.py",
        "        await runtime.journal.synced()  # R2\n",
        "",
        STEPS,
    ),
    Fault(
        "look at a step once",
        "engine/ends.py",
        "moved.set()",
        "moved.clear()",
        STEPS,
    ),
]

OF_LOOKING = [*_OF_READING, *_OF_REASONS, *_OF_STEPS]
