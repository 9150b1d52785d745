"""Call a step's handler in place, for its first try.

Separate because nearly every step ends so: its handler returns without having suspended, and what is needed for all
other tries is never made.
Leaves to `attempts` a handler that suspends, fails, blocks, is bounded or is tried again, to `eager` the task that the
handler sees.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from inspect import isawaitable
from typing import Any

from durable.functions import CURRENT, Handler, Trying
from durable.journal import Ok, Whose, encode
from durable.scheduler.attempts import Attempts
from durable.scheduler.calls import StepCall
from durable.scheduler.eager import Suspended
from durable.scheduler.stubbed import stood_in
from durable.scheduler.undocumented import without_loop

_IN_THREAD = object()


def begin_handler(call: StepCall) -> None:
    """Begin a step's handler: in place if nothing speaks against it."""
    session, caller = call.session, call.awaited_by
    parts = session.parts
    is_first = session.gate is None and session.turns is None and call.key not in session.ledger.steps
    function, args, kwargs, is_async, _, spans = call.handling
    if caller is None or spans is not None or not is_first or not parts.spare.is_ready:
        _attempts_of(call).begin()
        return
    handler = trying = None
    try:
        if not is_async or parts.stand_in is not None or parts.is_debugging:
            handler = stood_in(call, call.handler)
        context = copy_context()
        trying = Trying(session.ledger.run, call.key, 0, parts.settings.engine)
        context.run(CURRENT.set, trying)
        if handler is None:
            call.began = parts.clock.now()
            value = parts.spare.begin(function(*args, **kwargs), context, caller)
        else:
            value = _called(call, handler, context, caller)
    except BaseException as error:
        _attempts_of(call).end_in_place(trying, error, None)
        return
    if handler is not None and value is _IN_THREAD:
        _attempts_of(call).call_in_thread(trying, context, handler)
        return
    if type(value) is Suspended or (handler is not None and not handler.is_async and isawaitable(value)):
        _attempts_of(call).go_on(trying, context, value)
        return
    # Without a turn, the outcome is returned at the call. Such outcomes must come in the same order on replay (see
    # `delivery`), but coroutines that gather or as_completed wraps may begin in any order: so the caller must await the
    # step in its own task. While recorded steps are still behind, an inline outcome could overtake one of theirs.
    is_inline = parts.journal.immediate and call.called_by is caller and not session.behind
    if trying.nested is not None or not _closed(call, value, is_inline):
        _attempts_of(call).end_in_place(trying, None, value, inline=is_inline)
    trying.is_over = True


def _called(call: StepCall, handler: Handler, context: Context, caller: asyncio.Task[Any]) -> Any:
    """Call a handler that blocks, or what a test has put in a handler's place."""
    parts = call.session.parts
    if not (handler.is_async or parts.is_inline):
        return _IN_THREAD
    call.began = parts.clock.now()
    if handler.is_async:
        return parts.spare.begin(handler.call(), context, caller)
    return context.run(without_loop, handler.call)


def _closed(call: StepCall, value: Any, is_inline: bool) -> bool:
    """Record the value of a first try, and return whether it is recorded.

    If anything speaks against it, nothing has happened: it is then judged as any other try's end is.
    """
    session, key = call.session, call.key
    ledger, parts = session.ledger, session.parts
    try:
        text = encode(value, call.type, whose=Whose.HANDLER)
        size, limits = len(text), parts.decisions.limits
        if size > limits.step_bytes or ledger.size + size > limits.run_bytes:
            return False
        if ledger.status is not None or key in ledger.steps:  # the handler has cancelled its own run, say
            return False
        now, ok, turn = parts.clock.now(), Ok(text, text[0] in "[{"), None if is_inline else ledger.open_turn
        parts.journal.close_step(ledger, key, call.kind, ok, turn, now, 1, call.began, session.delivery.posted)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a user's class may raise anything: `attempts` meets it again, and says so
        return False
    if is_inline and parts.journal.failure is None:  # R31: else it is unknown whether the outcome is stored
        if now > session.now:
            session.now = now
        del session.calls[key]
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
