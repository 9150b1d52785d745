"""The in-process scheduler: runs functions as tasks, delivers outcomes in order, retries, parks, recovers.

Separate because asyncio lives here: below it everything is decided, above it everything is asked.
Leaves to `journal` what is recorded and to `engine` who may ask.
"""

from durable.scheduler.arguments import changes, given
from durable.scheduler.deadlines import LookDue
from durable.scheduler.delivery import QUIET
from durable.scheduler.pacing import Admission
from durable.scheduler.parts import RESIDENT, Parts, Settings, assembled
from durable.scheduler.recovery import Recovery
from durable.scheduler.scheduler import Scheduler
from durable.scheduler.session import Session
from durable.scheduler.stand_in import Call

__all__ = [
    "QUIET",
    "RESIDENT",
    "Admission",
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
]
