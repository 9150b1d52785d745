"""List faults in the lines that handle odd but legal values, texts and filters.

There are also faults in the handling of wrong use, and in `durable.testing.torture`.

Separate because one table would be too long to read.
Leaves to `faults_of_errors` the errors, to `faults` the rest and the command, to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import TORTURE, Fault

ODD_FAULTS = [
    # Values.
    Fault(
        "hold no more than the outermost against its annotation",
        "journal/codec/values.py",
        "_check_fit(written, value, known.fit, look if deep else known.fit.outer)",
        "_check_fit(written, value, known.fit, known.fit.outer)",
        ("tests/rules/test_types.py",),
    ),
    Fault(
        "excuse a value everywhere that did not fit somewhere",
        "journal/codec/values.py",
        "places = loads(written).get(PLACES, [[]])",
        "places = [[]]",
        ("tests/unit/journal/test_fitting.py",),
    ),
    Fault(
        "mark nothing inside a value that does not fit",
        "journal/codec/values.py",
        "                return _loosely(written, value, known.fit)\n",
        "                return written\n",
        ("tests/rules/test_types.py",),
    ),
    Fault(
        "take an old record for one that was compared all the way down",
        "scheduler/calls.py",
        "deep=outcome.deep",
        "deep=True",
        ("tests/rules/test_types.py",),
    ),
    Fault(
        "walk a container while a hook changes it",
        "journal/codec/to_tree.py",
        "for name, item in list(fields.items()):",
        "for name, item in fields.items():",
        ("tests/unit/journal/test_hooks.py",),
    ),
    Fault(
        "believe what a structure hook builds",
        "journal/codec/values.py",
        "    if dumps(again) != written:\n",
        "    if False:\n",
        ("tests/unit/journal/test_hooks.py", "tests/unit/journal/test_classes.py"),
    ),
    Fault(
        "give data a handler's advice",
        "journal/codec/values.py",
        "whose or (Whose.DATA if type_ is ABSENT else Whose.HANDLER)",
        "whose or Whose.HANDLER",
        ("tests/unit/journal/test_remedies.py",),
    ),
    Fault(
        "make a set of any number of members of one hash",
        "journal/codec/from_tree.py",
        "_CROWDED = 1_000_000 ",
        "_CROWDED = 10**12 ",
        ("tests/unit/journal/test_bounds.py",),
    ),
    Fault(
        "read a flattened subclass for what it was",
        "journal/codec/values.py",
        "        is_proven = not is_simple and known.proof is not None and kind in CONTAINERS and known.proof(value)\n",
        "        is_proven = isinstance(value, str | int)\n",
        ("tests/unit/journal/test_subclasses.py",),
    ),
    # What torture sees.
    Fault(
        "overlook what a handler does to its arguments",
        "testing/torture/handlers.py",
        "            self.lived.changed_args.append((step.run_id, step.key, *change))\n",
        "            pass\n",
        ("tests/unit/testing/test_torture_arguments.py",),
    ),
    Fault(
        "compare arguments with those of another delivery order",
        "testing/torture/handlers.py",
        "memory.args.setdefault((order, together), {})",
        "memory.args.setdefault((None, False), {})",
        ("tests/unit/testing/test_torture_arguments.py",),
    ),
    # Texts.
    Fault(
        "let half of a surrogate pair into a name",
        "events/words.py",
        "size = len(found.encode())",
        'size = len(found.encode("utf-8", "surrogatepass"))',
        ("tests/rules/test_text.py",),
    ),
    Fault(
        "keep a StrEnum's member as a name",
        "events/words.py",
        "    if is_str(value):\n        return str.__str__(value)\n",
        "    if is_str(value):\n        return value\n",
        ("tests/rules/test_text.py", "tests/rules/test_numbers_and_instants.py"),
    ),
    # Guests.
    Fault(
        "let a trigger's filter fail the send",
        "events/bus.py",
        "                    found[function] = None\n            except Exception as error:\n",
        "                    found[function] = None\n            except OSError as error:\n",
        ("tests/unit/events/test_bus.py", "tests/rules/test_events.py", TORTURE),
    ),
    Fault(
        "let a wait's filter that fails answer it",
        "events/bus.py",
        "            self._complain_of(one.expression, what, key, error)\n            return False\n",
        "            self._complain_of(one.expression, what, key, error)\n            return True\n",
        ("tests/rules/test_events.py", TORTURE),
    ),
    Fault(
        "lose an event over a key that cannot be kept",
        "journal/rules/openings.py",
        "        except Exception as error:  # it fails, or comes to what cannot be kept, as type(event.data) does\n",
        "        except ZeroDivisionError as error:\n",
        ("tests/rules/test_events.py", TORTURE),
    ),
    Fault(
        "let a log that raises through",
        "stores/log.py",
        "            self._tell_failure(error, msg)\n",
        "            raise\n",
        ("tests/unit/stores/test_log.py",),
    ),
    # Wrong use.
    Fault(
        "send again at every replay",
        "functions/current.py",
        "return None if body is None or CURRENT.get() is not None or body.main.done() else body",
        "return None",
        ("tests/unit/engine/test_doors_use.py",),
    ),
]
