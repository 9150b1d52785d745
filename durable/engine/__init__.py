"""The ways in: Engine, Run, `durable.run`, Sender and Receiver, the command line.

Separate because a door checks what it is given and decides nothing.
Leaves to the rooms below everything that is done.
"""

from durable.engine.arguments import checked_events
from durable.engine.cli import main
from durable.engine.engine import Engine, inside, set_up
from durable.engine.run import Run
from durable.engine.runtime import Runtime
from durable.engine.script import run
from durable.engine.sender import Sender

__all__ = [
    "Engine",
    "Run",
    "Runtime",
    "Sender",
    "checked_events",
    "inside",
    "main",
    "run",
    "set_up",
]
