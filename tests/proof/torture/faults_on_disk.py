"""List faults in the making of a store, and in its defence against other programs.

Separate because each of them removes one check before, beside or after the opening of a file.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

MAKING = ("tests/unit/stores/test_making.py", "-k", "between or journal")
HARMLESS = ("tests/unit/stores/test_opening_harmless.py",)
WAL = ("tests/unit/stores/test_wal.py",)
GUARD = ("tests/unit/stores/test_guard.py",)
NEIGHBOURS = ("tests/unit/stores/test_neighbours.py",)
COMPANIONS = ("tests/unit/stores/test_companions.py", "-k", "hard_link or after")
INBOX = (
    "tests/unit/stores/test_inbox_damage.py",
    "tests/unit/engine/test_receiving.py",
    "-k",
    "missed or place or taken",
)
LOCKS = ("tests/unit/stores/test_foreign_locks.py",)

ON_DISK = [
    Fault(
        "take what an interrupted making left for somebody's",
        "stores/file/recognition.py",
        "        if is_blank(connection) and not has_wal",
        "        if False and not has_wal",
        MAKING,
    ),
    Fault(
        "let a foreign journal empty a store",
        "stores/file/recognition.py",
        "if has_wal or not journal.is_of_nothing or _has_entries(path):",
        "if has_wal or not journal.is_of_nothing:",
        MAKING,
    ),
    Fault(
        "write to the -shm of what is refused",
        "stores/file/recognition.py",
        '"ro&readonly_shm=1"), spare',
        '"ro"), spare',
        HARMLESS,
    ),
    Fault(
        "leave a lock behind that says who was refused",
        "stores/file/lock.py",
        "self._before if refused and self._before else",
        "self._before if False and self._before else",
        (*HARMLESS, "-k", "inbox"),
    ),
    Fault("take any -wal for the store's own", "stores/file/wal.py", "    if is_empty:\n", "    if True:\n", WAL),
    Fault(
        "let an older copy pass for the file that a checkpoint left",
        "stores/file/connection.py",
        "        self.check_unmoved()\n        self.number()\n",
        "        self.check_unmoved()\n",
        WAL,
    ),
    Fault(
        "refuse a store its own -wal after a checkpoint was cut short",
        "stores/file/wal.py",
        "for one in (lineage.number, lineage.base)",
        "for one in (lineage.base,)",
        WAL,
    ),
    Fault("hold the lock by its name alone", "stores/file/guard.py", "fcntl.F_WRLCK)\n", "fcntl.F_UNLCK)\n", GUARD),
    Fault(
        "drop the locks of others in the process",
        "stores/file/guard.py",
        "is_needed = locked is None or which[1] in locked",
        "is_needed = False",
        GUARD,
    ),
    Fault(
        "follow a link beside a store",
        "stores/file/beside.py",
        ' | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)\n',
        ' | getattr(os, "O_NONBLOCK", 0)\n',
        NEIGHBOURS,
    ),
    Fault(
        "leave a store behind where none can be",
        "stores/file/writer.py",
        "        except StoreError:  # where no store can be",
        "        except ZeroDivisionError:  # where no store can be",
        ("tests/unit/stores/test_without_wal.py",),
    ),
    Fault(
        "let SQLite open whatever lies beside a store",
        "stores/file/beside.py",
        "        check_file(name, found, like, _OWN)\n",
        "",
        COMPANIONS,
    ),
    Fault(
        "take a file with two names for one's own",
        "stores/file/beside.py",
        "if found.st_nlink > 1:",
        "if False:",
        NEIGHBOURS,
    ),
    Fault(
        "count messages instead of knowing them",
        "stores/file/inbox.py",
        "if missing := int(before) - ",
        "if missing := 0 * ",
        INBOX,
    ),
    Fault(
        "forget that a message was taken while it is still there",
        "stores/file/reader.py",
        " if taken.get(no) not in there}",
        "}",
        INBOX,
    ),
    Fault(
        "take another program's lock for a failed commit",
        "stores/file/connection.py",
        "                if not schema.is_busy(error):\n                    raise\n                self._patience",
        "                if True:\n                    raise\n                self._patience",
        LOCKS,
    ),
    Fault(
        "wait for another program for ever",
        "stores/file/connection.py",
        "if self._until is not None and monotonic() > self._until:",
        "if False:",
        (*LOCKS, "-k", "lets_go"),
    ),
    Fault(
        "fail a close that another program keeps waiting",
        "stores/file/writer.py",
        "if error.__cause__ is None or not schema.is_busy(error.__cause__):",
        "if True:",
        LOCKS,
    ),
    Fault(
        "skip the lock",
        "stores/file/lock.py",
        "            lock(file)\n",
        "            pass\n",
        ("tests/unit/stores/test_lock.py", "tests/proof/crashes/test_processes.py"),
    ),
    Fault(
        "believe a row without its checksum",
        "stores/file/checksums.py",
        "crc32(head + words + _END)) == crc",
        "crc32(head + words + _END)) >= 0",
        ("tests/unit/stores/test_damage.py",),
    ),
    Fault(
        "not miss a missing row",
        "stores/file/recognition.py",
        "if rows + pruned != last:",
        "if False:",
        ("tests/unit/stores/test_damage.py",),
    ),
    Fault(
        "prune a run that was opened again",
        "stores/file/writer.py",
        "if place is None or place.open:",
        "if place is None:",
        ("tests/unit/stores/test_file.py",),
    ),
    Fault(
        "go on after a checkpoint that failed",
        "stores/file/writer.py",
        "checkpoint_in_time()\n            except Exception as error:\n                self._fail(error)",
        "checkpoint_in_time()\n            except Exception:\n                pass",
        ("tests/unit/stores/test_io_errors.py",),
    ),
    Fault(
        "take a file with a torn mark for a new one",
        "stores/file/recognition.py",
        "is_new = row is None and",
        "is_new = row is None or",
        ("tests/unit/stores/test_torn_mark.py",),
    ),
]
