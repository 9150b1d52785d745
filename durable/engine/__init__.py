"""Offer the ways in: Engine, Run, `durable.run`, Sender, Reader.

Separate because these check arguments and wait for results, and decide nothing themselves. The command line, in
`engine.command`, does not go through this door: no program that runs functions needs it.
Leaves to `scheduler` the executions, to `journal` the decisions, to `stores` the files.
"""

from durable.engine.arguments import checked_events
from durable.engine.engine import Engine, set_up
from durable.engine.opened import inside
from durable.engine.owner import AsyncWith
from durable.engine.reader import Reader
from durable.engine.run import OF_A_RUN, Run
from durable.engine.runtime import Runtime
from durable.engine.script import run
from durable.engine.sender import Sender

__all__ = [
    "OF_A_RUN",
    "AsyncWith",
    "Engine",
    "Reader",
    "Run",
    "Runtime",
    "Sender",
    "checked_events",
    "inside",
    "run",
    "set_up",
]
