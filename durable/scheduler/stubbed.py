"""Find what is called for a handler: itself, a test's stub, or itself with its arguments watched.

Separate because first tries and later ones must call the same.
Leaves to `stand_in` what a test may put there, to `arguments` the watching.
"""

from __future__ import annotations

from durable.functions import Handler
from durable.scheduler.arguments import watched
from durable.scheduler.calls import StepCall


def stood_in(call: StepCall, handler: Handler) -> Handler:
    """Return what is to be called for a handler: a test's stub, and what watches it in debug mode."""
    parts = call.session.parts
    if parts.stand_in is not None:
        handler = parts.stand_in.handler(call.step_id, handler)
    return watched(handler, parts.logger, call.label) if parts.is_debugging else handler
