"""Call a step's handler, and record its outcome or the time of the next try.

Separate because a handler is the only user code whose result is kept.
Leaves to `first_try` a handler that ends as it begins, to `retries` the decision to try again, to `calls` the outcome's
way to the function, to `threads` the threads.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import attrs

from durable.errors import StoreError
from durable.functions import CURRENT, Handler, Trying
from durable.journal import (
    FINAL,
    Err,
    Ok,
    Outcome,
    StepRetried,
    Verdict,
    Whose,
    encode,
    is_failed_call,
    is_of,
    output_too_large,
    recorded,
    set_trace,
    told,
    trace_of,
)
from durable.scheduler.bounds import Bounds, last_word
from durable.scheduler.calls import StepCall
from durable.scheduler.deadlines import StepDue
from durable.scheduler.eager import Suspended, raising
from durable.scheduler.overtime import Overtime
from durable.scheduler.stubbed import stood_in
from durable.scheduler.threads import Call
from durable.scheduler.turns import Turn
from durable.scheduler.undocumented import without_loop


class Attempts:
    """Attempts are the tries of one step's handler, one after the other."""

    __slots__ = (
        "_attempt",
        "_bounds",
        "_calling",
        "_context",
        "_handler",
        "_has_begun",
        "_overtime",
        "_parts",
        "_recorded",
        "_session",
        "_stopped",
        "_task",
        "_thread",
        "_timed_out",
        "_trying",
        "is_running",
        "step",
        "turn",
    )

    def __init__(self, call: StepCall) -> None:
        self.is_running = False
        self._session, self._parts = call.session, call.session.parts
        self.step, self._handler = call, call.handler
        self._context = copy_context()
        self._attempt = self._recorded = 0
        spans = self._handler.timeout, self._handler.within
        self._bounds = None if spans == (None, None) else Bounds(*spans)
        self._overtime = None if self._bounds is None else Overtime(self._parts)
        self._has_begun = False  # whether this try's handler was called; before that, the try may wait for a thread
        self._stopped = self._timed_out = False
        self._task: asyncio.Task[None] | None = None
        self._calling: Awaitable[Any] | None = None
        self._thread: Call[Any] | None = None
        self._trying: Trying | None = None
        self.turn: Turn | None = None

    @property
    def is_in_thread(self) -> bool:
        """Whether the handler runs in a thread, which cannot be stopped."""
        return self._thread is not None and self._thread.running

    @property
    def is_bounded(self) -> bool:
        """Whether a timeout will stop the try, which may still wait for a thread."""
        return self._bounds is not None and (self._has_begun or self._bounds.last is not None)

    def begin(self) -> None:
        """Begin the next try, or wait for its recorded time."""
        facts = self._session.ledger.steps.get(self.step.key)
        if facts is not None:
            self._attempt, self.step.began = facts.attempt, facts.began
            if self._attempt and self._bounds is not None:
                self._bounds.began = facts.began or facts.opened_at
            if facts.due is not None and StepDue(self._session.ledger.run, self.step.key) in self._parts.timers:
                return  # R17: the timer decides when the try is due; the clock may have been set back since
        self._admit()

    def _admit(self) -> None:
        turns = self._session.turns
        if turns is None or self.step.kind != "run":
            self._pass_gate()
        elif self.turn is None and not self._stopped:
            self.turn, self._has_begun = turns.ask(self._pass_gate), False
            self._arm()  # all tries together may be over before this one has its turn
            turns.admit()

    def _pass_gate(self) -> None:
        # R26: a recovered run must be admitted before it calls handlers.
        if self._session.gate is None:
            self._try()
        else:
            self._session.gate(self._try)

    def come_due(self) -> None:
        """Begin the next try, or stop the running one: the step's timer is due."""
        if not self.is_running and self.turn is not None and self._bounds is not None:
            self._run_out(self._bounds)  # it still waits for its turn
        elif not self.is_running:
            # The wait before a try is recorded before the try begins: a crash must not give it back (R11).
            self._parts.journal.tell(self._recorded, lambda error: None if error else self._admit())
        elif self._task is not None and self._overtime is not None:  # else the try that was due is already running
            assert self._trying is not None
            self._timed_out = True
            self._cancel(self._task)
            self._overtime.begin(self._task, self._trying, self.step.label, self._give_over)

    def stop(self) -> None:
        """Cancel the running try, and begin no other."""
        self._stopped = True
        if not self.is_running:
            self._end_turn()
        if self._trying is not None and (self.step.was_dropped or self._session.ledger.status is not None):
            self._trying.is_cancelled = True
        if self._task is not None and (self.step.was_dropped or not self.is_in_thread):  # an awaited thread goes on
            self._cancel(self._task)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        if task.cancel():
            task.add_done_callback(self._withdraw)

    def _withdraw(self, task: asyncio.Task[None]) -> None:
        # A task that is cancelled before it began runs no code, so the end of its try is noted here.
        if task is self._task and self.is_running:
            self._end(asyncio.CancelledError(), None)
            if isinstance(self._calling, Coroutine):
                self._calling.close()

    def _give_over(self) -> None:
        self._end_turn(self._task)
        self._task = self._trying = None  # the handler goes on, and stays inside its step
        self._end(None, None)

    async def ended(self) -> None:
        """Wait until no try is running."""
        if self._task is not None and not self._task.done():
            await (asyncio.wait([self._task]) if self._overtime is None else self._overtime.ended(self._task))

    # Calling the handler.

    def _try(self) -> None:
        if self._stopped or self.is_running or self._session.refused:  # while an engine closes, no try begins
            if not self.is_running:
                self._end_turn()
            return
        self.is_running = True
        self._timed_out = self._has_begun = False
        if self._parts.changes.begun is not None:
            self._parts.changes.begun()
        try:
            trying = self._trying = Trying(
                self._session.ledger.run, self.step.key, self._attempt, self._parts.settings.engine
            )
            if self._bounds is not None and self._bounds.is_past(self._parts.clock.now()):
                self._run_out(self._bounds)
                return
            context = self._context.copy()
            context.run(CURRENT.set, trying)
            self._arm()
            self._start(self._call(context), context)
        except Exception as error:  # whoever lets a try begin has others to serve
            self._end(error, None)

    def _run_out(self, bounds: Bounds) -> None:
        self._timed_out = bounds.is_last = True
        self._end(None, None)

    def _start(self, calling: Awaitable[Any], context: Context) -> None:
        # Not loop.create_task: an eager task factory would run the handler before its task is known here.
        self._calling = calling
        self._task = asyncio.Task(self._run(calling), loop=self._parts.loop, context=context)

    # Going on with a first try that has begun in place, where the caller stands.

    def _take_over(self, trying: Trying | None, *, has_begun: bool = True) -> None:
        self.is_running, self._has_begun, self._trying = True, has_begun, trying

    def go_on(self, trying: Trying, context: Context, rest: Awaitable[Any]) -> None:
        """Go on with a handler that has suspended, or has returned what is still to be awaited."""
        self._take_over(trying)
        if type(rest) is Suspended:
            self._calling, self._task = rest, self._parts.spare.go_on(rest, self._run)
        else:
            self._start(rest, context)

    def call_in_thread(self, trying: Trying, context: Context, handler: Handler) -> None:
        """Call a blocking handler in a thread."""
        self._take_over(trying, has_begun=False)
        self._start(self._call_in_thread(handler, context), context)

    def end_in_place(
        self, trying: Trying | None, error: BaseException | None, value: Any, *, inline: bool = False
    ) -> None:
        """Judge and record a try that has ended in place; without `trying` it was never called."""
        self._take_over(trying, has_begun=trying is not None)
        if error is not None and is_of(error, KeyboardInterrupt, SystemExit):
            self._start(raising(error), self._context)  # it must end the loop, so the function must not catch it
        else:
            self._end(error, value, inline=inline)

    async def _run(self, calling: Awaitable[Any]) -> None:
        try:
            value = await calling
        except KeyboardInterrupt:
            self._leave()
            raise  # R14: never recorded; the engine closes, the run is parked
        except SystemExit as error:
            if not self._handler.is_async and not self._parts.settings.exits:
                self._come_to(error, None)  # R14: a blocking handler must not end its whole process in silence
                return
            self._leave()
            about = "%s called sys.exit(%s), which ends the process: nothing is recorded of that, it will run again"
            self._parts.logger.error(about, self.step.label, error.code)
            raise
        except BaseException as error:
            self._come_to(error, None)
        else:
            self._come_to(None, value)

    def _come_to(self, error: BaseException | None, value: Any) -> None:
        if self._overtime is None or not self._overtime.is_behind:  # else the try was judged long ago
            self._end(error, value)

    async def _call(self, context: Context) -> Any:
        if self._overtime is not None:
            await self._overtime.last_ended()
        handler = stood_in(self.step, self._handler)
        if not handler.is_async and not self._parts.is_inline:
            return await self._call_in_thread(handler, context)
        self._begun()
        if handler.is_async:
            return await handler.call()
        value = without_loop(handler.call)
        return await value if inspect.isawaitable(value) else value

    async def _call_in_thread(self, handler: Handler, context: Context) -> Any:
        assert self._trying is not None
        if self._thread is not None and self._thread.running:
            await self._thread.ended.wait()  # R11a: a thread cannot be stopped
        self._thread = self._trying.thread = self._parts.threads.submit(
            handler.call, context.copy(), self.step.label, self._begun
        )
        value = await self._thread.result
        return await value if inspect.isawaitable(value) else value

    def _begun(self) -> None:
        self._has_begun = True
        if not self._attempt:
            self.step.began = self._parts.clock.now()
        self._arm()

    def _arm(self) -> None:
        if self._bounds is None:
            return
        until = self._bounds.until(self._parts.clock.now(), has_begun=self._has_begun)
        if until is not None:
            self._parts.timers.set_span(StepDue(self._session.ledger.run, self.step.key), until)

    # The outcome of a try.

    def _leave(self) -> None:
        self.is_running = False
        if self._trying is not None:
            self._trying.is_over = True
            if self._trying.thread is not None:  # the thread may run longer than its try
                self._trying.is_cancelled |= self._trying.is_running
        self._end_turn()

    def _end_turn(self, task: asyncio.Task[None] | None = None) -> None:
        if (turn := self.turn) is not None:
            self.turn = None
            turn.end(self._thread, task)

    def _end(self, error: BaseException | None, value: Any, *, inline: bool = False, is_again: bool = False) -> None:
        """Judge and record a try; an error in doing so is logged, and fails the step."""
        self._leave()
        self._parts.changes.set()
        if self._bounds is not None:
            self._parts.timers.drop(StepDue(self._session.ledger.run, self.step.key))
        try:
            self._judge(error, value, inline=inline)
        except KeyboardInterrupt:
            raise
        except BaseException as broken:
            if isinstance(broken, RecursionError) and not is_again:
                # A try in place is judged on a stack that the function's own calls may have filled.
                self._parts.loop.call_soon(partial(self._end, error, value, is_again=True))
            elif isinstance(broken, StoreError):
                self._parts.logger.error("%s ended, unrecorded, and will run again: %s", self.step.label, broken)
            elif not self._parts.loop.is_closed():  # in a closed loop there is nothing left to tell
                self._give_up(error, broken)

    def _judge(self, error: BaseException | None, value: Any, *, inline: bool) -> None:
        nested = self._trying.nested if self._trying is not None else None
        if error is None and nested is None and not self._timed_out:
            self._succeed(value, inline=inline)
        elif self._timed_out and self._bounds is not None:
            late = self._bounds.error(self.step.label, self._attempt)
            if error is not None:
                set_trace(late, trace_of(error))  # where the handler was
            self._fail(late, is_final=self._bounds.is_last)
        elif error is not None and self._was_asked_to_end(error):
            return
        elif nested is not None:
            self._fail(nested)
        elif error is not None:
            self._fail(error, is_final=is_failed_call(error))

    def _was_asked_to_end(self, error: BaseException) -> bool:
        # The error's class cannot tell this, since a handler may turn its cancelling into any error.
        if self._stopped or self._parts.life.is_cut:
            return True
        return is_of(error, asyncio.CancelledError, GeneratorExit) and self._parts.life.is_ending

    def _succeed(self, value: Any, *, inline: bool) -> None:
        limits = self._parts.decisions.limits
        try:
            text = encode(value, self._handler.type, whose=Whose.HANDLER)
            if len(text) > limits.step_bytes:
                raise output_too_large(limits, len(text), f"the output of {self.step.label}")
            outcome: Outcome = Ok(text, deep=text[0] in "[{")
        except Exception as error:  # CodecError, LimitError, or any error of a user's own hook
            self._fail(told(error), is_final=True)
            return
        self._close(outcome, inline=inline)

    def _fail(self, error: BaseException, *, is_final: bool = False) -> None:
        ledger, step, now = self._session.ledger, self.step, self._parts.clock.now()
        if ledger.status is not None or step.was_dropped:
            return
        policy, verdict, seed = self._handler.policy, Verdict(), f"{ledger.run}/{step.key}"
        if not is_final:
            verdict = policy.verdict(error, attempt=self._attempt, now=now, seed=seed, final=FINAL)
        failure, due, bounds = recorded(error, notes=verdict.notes), verdict.due, self._bounds
        if bounds is not None and bounds.is_last and self._timed_out:
            facts = self.step.facts
            last = None if facts is None or not self._attempt else facts.error
            failure = last_word(failure, last, has_begun=self._has_begun)
        tried = self._attempt, policy.retries + 1
        if due is None or (bounds is not None and bounds.is_past(due)):
            self._close(Err(attrs.evolve(failure, step_id=step.key)))
            due = None
        else:
            self._recorded = self._parts.journal.post(
                StepRetried(ledger.run, step.key, step.kind, self._attempt + 1, due, failure, now, step.began)
            )
            self._attempt += 1
        self._parts.notices.step_failed(ledger, step.key, tried, failure, due)

    def _give_up(self, error: BaseException | None, broken: BaseException) -> None:
        failure = attrs.evolve(recorded(broken, before=error), step_id=self.step.key)
        self._parts.logger.error(
            "what came of %s could not be judged or recorded, so the step has failed: %s",
            self.step.label,
            failure.stack,
        )
        try:
            self._close(Err(failure))
        except Exception as again:
            self._parts.logger.error("nor could that be recorded: %s", recorded(again).stack)

    def _close(self, outcome: Outcome, *, inline: bool = False) -> None:
        self._session.works.pop(self, None)
        self.step.record(outcome, tries=self._attempt + self._has_begun, inline=inline)
