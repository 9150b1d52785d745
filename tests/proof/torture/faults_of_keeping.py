"""List faults in what keeps stores and checks them: pruning, the command, the check of a store, versions.

Separate because one table would be too long to read.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

PRUNING = ("tests/unit/engine/test_pruning.py", "tests/unit/engine/test_pruning_killed.py")
CONTRACT = ("tests/unit/stores/test_contract.py",)
STORE = ("tests/unit/stores/test_file.py",)
LINE = ("tests/unit/engine/command/test_line.py",)
LOOKS = ("tests/unit/engine/command/test_looks.py",)
IMPORTS = ("tests/unit/engine/command/test_imports.py",)
WATCHES = ("tests/unit/engine/command/test_watches.py",)
EXAMINES = ("tests/unit/engine/command/test_examines.py",)
CHECKUP = ("tests/unit/engine/test_checkup.py",)
DOCTOR = ("tests/unit/engine/test_doctor.py",)
RELEASES = ("tests/unit/engine/test_releases.py",)
MESSAGES = ("tests/unit/engine/test_messages.py",)
RECEIVING = ("tests/unit/engine/test_receiving.py",)

_OF_PRUNING = [
    Fault(
        "forget a run that is read to be opened again",
        "engine/pruning.py",
        "while self._readers or self._is_cutting:",
        "while self._is_cutting:",
        PRUNING,
    ),
    Fault(
        "read a run again that is being forgotten",
        "engine/pruning.py",
        "            while self._is_cutting:\n",
        "            while False:\n",
        PRUNING,
    ),
    Fault(
        "forget keys that are in force",
        "engine/pruning.py",
        "before = min(ended_before, self._parts.clock.now())",
        "before = ended_before",
        PRUNING,
    ),
    Fault(
        "forget before the store knows what is open",
        "engine/pruning.py",
        "            await self._parts.journal.synced()\n            return await anext",
        "            return await anext",
        PRUNING,
    ),
    Fault(
        "forget by itself only once",
        "engine/pruning.py",
        "            self._parts.timers.set_span(LookDue(self.begin), after(self._parts.clock.now(), EVERY))\n",
        "            pass\n",
        PRUNING,
    ),
    Fault(
        "go on to forget after the close",
        "engine/pruning.py",
        "            self._task.cancel()\n",
        "            pass\n",
        PRUNING,
    ),
    Fault(
        "fail at an age that no datetime holds",
        "timers/durations.py",
        "    except OverflowError:\n        return datetime.min",
        "    except ZeroDivisionError:\n        return datetime.min",
        PRUNING,
    ),
    Fault(
        "forget a run that was opened again since it was chosen",
        "stores/file/writer.py",
        "if place is None or place.open:",
        "if place is None:",
        CONTRACT,
    ),
    Fault(
        "show a run of which a part is forgotten",
        "stores/file/writer.py",
        "        place.id = place.fields = place.told = None\n",
        "",
        STORE,
    ),
    Fault(
        "keep the events of a forgotten run",
        "stores/file/writer.py",
        '            if schema.has_table(connection, schema.BY_EVENT):\n                connection.execute(f"DELETE',
        '            if False:\n                connection.execute(f"DELETE',
        STORE,
    ),
    Fault(
        "forget that a message was taken which is still there",
        "stores/file/reader.py",
        "if taken.get(no) not in there}",
        "}",
        RECEIVING,
    ),
    Fault(
        "give no space back",
        "stores/file/pruning.py",
        "while await post(partial(writer.vacuum, most)):",
        "while False:",
        PRUNING,
    ),
    Fault(
        "say nothing of space that cannot be given back",
        "stores/file/pruning.py",
        "if not await post(writer.gives_back):",
        "if False:",
        STORE,
    ),
    Fault(
        "forget facts whose time is not over",
        "stores/file/writer.py",
        "run = 0 AND keep_until <= ?",
        "run = 0 AND keep_until > 0 * ?",
        CONTRACT,
    ),
    Fault(
        "forget in a mapping a run that was opened again",
        "stores/dict.py",
        "if ended is None or ended >= before or",
        "if",
        CONTRACT,
    ),
]

_OF_COMMANDS = [
    Fault(
        "take a closed pipe for a failure",
        "engine/command/main.py",
        "if failure is None or isinstance(failure, BrokenPipeError):",
        "if failure is None:",
        LINE,
    ),
    Fault(
        "leave to Python what a closed pipe did not take",
        "engine/command/output.py",
        "        _silence(stream)\n",
        "",
        LINE,
    ),
    Fault(
        "call it done what could not be told",
        "engine/command/main.py",
        '{failure}")\n    return NOTHING',
        '{failure}")\n    return DONE',
        LINE,
    ),
    Fault(
        "let a text of a store move the cursor",
        "engine/command/output.py",
        'return "\\n".join(map(on_a_line, text.split("\\n")))',
        "return text",
        LINE,
    ),
    Fault(
        "let JSON move the cursor",
        "engine/command/output.py",
        "[one if one.isprintable() or",
        "[one if one or",
        LINE,
    ),
    Fault(
        "stop at what a terminal cannot spell",
        "engine/command/output.py",
        'text.encode(spelling, "backslashreplace")',
        "text.encode(spelling)",
        LINE,
    ),
    Fault(
        "spell JSON so that no program reads it",
        "engine/command/output.py",
        "_write(_spelled(json_of(value, is_brief=is_brief), sys.stdout), sys.stdout)",
        "_write(json_of(value, is_brief=is_brief), sys.stdout)",
        LINE,
    ),
    Fault(
        "tell of a missing run as of a missing store",
        "engine/command/main.py",
        'there are")\n        return NOTHING',
        'there are")\n        return NO_STORE',
        LOOKS,
    ),
    Fault(
        "tell of a missing store as of wrong use",
        "engine/command/main.py",
        "        complain(str(error))\n        return NO_STORE\n",
        "        complain(str(error))\n        return WRONG_USE\n",
        LOOKS,
    ),
    Fault(
        "call the result of a failed run done",
        "engine/command/looking.py",
        'Answer("", value, NOTHING, trouble',
        'Answer("", value, trouble',
        LOOKS,
    ),
    Fault(
        "call a damaged store whole",
        "engine/command/examining.py",
        "DONE if found.is_whole else NO_STORE",
        "DONE",
        EXAMINES,
    ),
    Fault(
        "call the place of no store well",
        "engine/command/examining.py",
        " and found.has_store",
        "",
        EXAMINES,
    ),
    Fault(
        "import one record after the other",
        "engine/command/importing.py",
        "        await store.append(await _entries(store, runs, what))\n",
        "        for one in await _entries(store, runs, what):\n            await store.append([one])\n",
        IMPORTS,
    ),
    Fault(
        "import a run that is there",
        "engine/command/importing.py",
        '                raise Nothing(f"run',
        '                Nothing(f"run',
        IMPORTS,
    ),
    Fault(
        "let an import make a clean close unclean",
        "engine/command/importing.py",
        "    if was_clean:  #",
        "    if False:  #",
        IMPORTS,
    ),
    Fault(
        "import what cannot go on here",
        "engine/command/importing.py",
        "            settle(run, state, claims)\n",
        "            pass\n",
        IMPORTS,
    ),
    Fault("watch what can no more change", "engine/command/watching.py", "if answer.is_last:", "if False:", WATCHES),
    Fault("show again what has not changed", "engine/command/watching.py", "if now != before:", "if True:", WATCHES),
    Fault("watch for nobody", "engine/command/watching.py", "if failure is not None:", "if False:", WATCHES),
    Fault(
        "make a store to prune it",
        "engine/command/keeping.py",
        "    async with FileReader(options.store):\n        pass  #",
        "    if True:\n        pass  #",
        IMPORTS,
    ),
    Fault(
        "let a command forget keys that are in force",
        "engine/command/keeping.py",
        "before = min(options.older, datetime.now(UTC))",
        "before = options.older",
        IMPORTS,
    ),
]

_OF_EXAMINING = [
    Fault(
        "count as a run what is none", "engine/checkup.py", "return is_opened or bool", "return True or bool", CHECKUP
    ),
    Fault(
        "read no facts of no single run",
        "engine/checkup.py",
        "    while (facts := await file.ask(partial(survey_facts, after))) is not None:\n",
        "    while (facts := None) is not None:\n",
        CHECKUP,
    ),
    Fault(
        "take for well what makes no sense",
        "engine/checkup.py",
        "        yield from _unfolded(found.entries)\n",
        "        yield from ()\n",
        CHECKUP,
    ),
    Fault(
        "ask SQLite nothing",
        "engine/checkup.py",
        "for found in await file.ask(survey_pages)]",
        "for found in []]",
        CHECKUP,
    ),
    Fault(
        "take a chain on trust",
        "stores/file/survey.py",
        "        check_chain(place.id, place, rows)\n",
        "        pass\n",
        CHECKUP,
    ),
    Fault(
        "take a message on trust",
        "engine/checkup.py",
        "                    read_sent(message.kind, message.body)\n",
        "                    pass\n",
        CHECKUP,
    ),
    Fault(
        "let one damaged row hide the others",
        "stores/file/survey.py",
        "            damages.append(str(error))\n",
        "            damages.append(str(error))\n            break\n",
        CHECKUP,
    ),
    Fault(
        "call a dead holder a living one",
        "engine/doctor.py",
        "    if found.is_dead:\n",
        "    if False:\n",
        DOCTOR,
    ),
    Fault(
        "trust a disk that syncs nothing",
        "engine/doctor.py",
        "    if seconds < _UNSYNCED:\n",
        "    if False:\n",
        DOCTOR,
    ),
    Fault(
        "take a network's file system for a disk",
        "engine/doctor.py",
        "    if found.is_network:\n",
        "    if False:\n",
        DOCTOR,
    ),
    Fault(
        "find a file well that cannot shrink",
        "engine/doctor.py",
        'if settings["auto_vacuum"] != 2:',
        "if False:",
        DOCTOR,
    ),
    Fault(
        "find a -wal well that is never copied",
        "engine/doctor.py",
        "if wal > _LARGE_WAL else",
        "if False else",
        DOCTOR,
    ),
]

_OF_VERSIONS = [
    Fault(
        "write no format of messages down",
        "stores/file/holder.py",
        "\\n{_TAKES}{MESSAGES}\\n",
        "\\n",
        RELEASES,
    ),
    Fault(
        "believe that every release takes all",
        "stores/file/holder.py",
        "said.isdigit() else 1)",
        "said.isdigit() else MESSAGES)",
        RELEASES,
    ),
    Fault(
        "take a pid for the process that once had it",
        "stores/file/holder.py",
        "return began is not None and abs",
        "return False and abs",
        RELEASES,
    ),
    Fault(
        "write no format into a message",
        "engine/messages.py",
        '{"format": STEERING, **attrs',
        "{**attrs",
        MESSAGES,
    ),
    Fault(
        "say nothing of the format of a message",
        "engine/messages.py",
        'found.get("format", "unknown") if',
        '"unknown" if',
        RELEASES,
    ),
]

OF_KEEPING = [*_OF_PRUNING, *_OF_COMMANDS, *_OF_EXAMINING, *_OF_VERSIONS]
