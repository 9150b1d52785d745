"""How a run is shown: values, and a timeline in text.

Separate because showing a run reads its ledger and changes nothing.
Leaves to `engine` which run is shown to whom.
"""

from durable.views.info import RunInfo, StepInfo, run_info, shown
from durable.views.listing import listed

__all__ = [
    "RunInfo",
    "StepInfo",
    "listed",
    "run_info",
    "shown",
]
