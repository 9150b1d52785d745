"""Run functions as asyncio tasks: deliver outcomes in order, retry, park and recover.

Separate because tasks, futures and threads are used in this room alone: the rooms below decide without awaiting.
Leaves to `journal` the records and their consequences, to `engine` the methods that users call.
"""

from durable.scheduler.arguments import changes, given
from durable.scheduler.calendar import Calendar
from durable.scheduler.deadlines import LookDue
from durable.scheduler.delivery import QUIET
from durable.scheduler.lines import lines_of
from durable.scheduler.pacing import Admission
from durable.scheduler.parts import RESIDENT, Parts, Settings, assembled
from durable.scheduler.recovery import Recovery
from durable.scheduler.scheduler import Scheduler
from durable.scheduler.session import Session
from durable.scheduler.stand_in import Call
from durable.scheduler.stopping import GRACE
from durable.scheduler.undocumented import running_loop

__all__ = [
    "GRACE",
    "QUIET",
    "RESIDENT",
    "Admission",
    "Calendar",
    "Call",
    "LookDue",
    "Parts",
    "Recovery",
    "Scheduler",
    "Session",
    "Settings",
    "assembled",
    "changes",
    "given",
    "lines_of",
    "running_loop",
]
