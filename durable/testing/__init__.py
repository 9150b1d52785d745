"""Test functions and stores: `Lab`, `torture`, `replay`, faults, `VirtualClock`, `store_contract`.

Separate because an engine never needs any of it: production code does not import this room.
Leaves to the other rooms everything that is tested, which is the real engine on a real store.
"""

from durable.testing.clock import VirtualClock
from durable.testing.contract.contract import store_contract
from durable.testing.faults import Dies, FailingStore
from durable.testing.lab import Lab, StuckError
from durable.testing.replaying import replay
from durable.testing.torture.torture import TortureReport, torture

__all__ = [
    "Dies",
    "FailingStore",
    "Lab",
    "StuckError",
    "TortureReport",
    "VirtualClock",
    "replay",
    "store_contract",
    "torture",
]


def __dir__() -> list[str]:
    return __all__
