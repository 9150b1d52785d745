"""Call a step's handler in place, for its first try.

Separate because nearly every step ends so: its handler returns without having suspended, and what is needed for all
other tries is never made.
Leaves to `attempts` a handler that suspends, fails, blocks, is bounded or is tried again, to `eager` the task that the
handler sees.
"""

from __future__ import annotations

from contextvars import copy_context
from inspect import isawaitable
from typing import Any

from durable.functions import CURRENT, Trying
from durable.journal import Ok, Whose, encode
from durable.scheduler.attempts import Attempts
from durable.scheduler.calls import StepCall
from durable.scheduler.eager import Suspended
from durable.scheduler.stubbed import stood_in
from durable.scheduler.undocumented import without_loop

_IN_THREAD = object()


def begin_handler(call: StepCall) -> None:
    """Begin a step's handler: in place if nothing speaks against it."""
    session, handler = call.session, call.handler
    parts, caller = session.parts, call.awaited_by
    assert handler is not None
    is_first = call.key not in session.ledger.steps and session.gate is None and session.turns is None
    is_bounded = handler.timeout is not None or handler.within is not None
    if caller is None or not is_first or is_bounded or not parts.spare.is_ready:
        _attempts_of(call).begin()
        return
    trying: Trying | None = None
    try:
        if parts.stand_in is not None or parts.is_debugging:
            handler = stood_in(call, handler)
        context = copy_context()
        trying = Trying(session.ledger.run, call.key, 0, parts.settings.engine)
        context.run(CURRENT.set, trying)
        if handler.is_async:
            call.began = parts.clock.now()
            value = parts.spare.begin(handler.function(*handler.args, **handler.kwargs), context, caller)
        elif parts.is_inline:
            call.began = parts.clock.now()
            value = context.run(without_loop, handler.call)
        else:
            value = _IN_THREAD
    except BaseException as error:
        _attempts_of(call).end_in_place(trying, error, None)
        return
    if value is _IN_THREAD:
        _attempts_of(call).call_in_thread(trying, context, handler)
    elif type(value) is Suspended or (not handler.is_async and isawaitable(value)):
        _attempts_of(call).go_on(trying, context, value)
    else:
        if trying.nested is not None or not _closed(call, value):
            _attempts_of(call).end_in_place(trying, None, value)
        trying.is_over = True


def _closed(call: StepCall, value: Any) -> bool:
    """Record the value of a first try, and return whether it is recorded.

    If anything speaks against it, nothing has happened: it is then judged as any other try's end is.
    """
    session, ledger, parts = call.session, call.session.ledger, call.session.parts
    try:
        text = encode(value, call.type, whose=Whose.HANDLER)
        size, limits = len(text), parts.decisions.limits
        if size > limits.step_bytes or ledger.size + size > limits.run_bytes:
            return False
        if ledger.status is not None or call.key in ledger.steps:  # the handler has cancelled its own run, say
            return False
        is_inline, now, ok = call.may_end_inline, parts.clock.now(), Ok(text, text[0] in "[{")
        turn = None if is_inline else ledger.open_turn
        parts.journal.close_step(ledger, call.key, call.kind, ok, turn, now, 1, call.began, session.delivery.posted)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a user's class may raise anything: `attempts` meets it again, and says so
        return False
    if is_inline and parts.journal.failure is None:  # R31: else it is unknown whether the outcome is stored
        if now > session.now:
            session.now = now
        del session.calls[call.key]
        call.outcome = ok
    return True


def _attempts_of(call: StepCall) -> Attempts:
    """Return new attempts of a step's handler, which its session knows from now on."""
    attempts = call.work = Attempts(call)
    session = call.session
    if not session.works:
        session.works = {}  # other sessions share the empty one
    session.works[attempts] = None
    if session.delivery.is_still:  # the step was called before the function waited for something else
        session.delivery.move()
    if session.parts.changes.begun is not None:
        session.parts.changes.begun()
    return attempts
