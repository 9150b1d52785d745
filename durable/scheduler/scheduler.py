"""Begin and end the executions of runs, as records say.

Separate because it alone knows which runs have a coroutine, and each of these begins and ends here.
Leaves to `session` a single execution, to `decisions` the consequences of a run's end, to `engine` the methods that
users call.

The life of an execution: the run is opened, and that is durable; it gets a session and a task; its function ends; step
calls are refused; its other tasks and handlers are ended; the end is posted. Records steer all this. The journal tells
the scheduler of each record right after it is folded, no matter which part has posted it. Then timers are set and
dropped, and outcomes go to the session that waits for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence, Sized
from datetime import datetime
from functools import partial
from typing import Any

from durable.errors import StoreError
from durable.functions import BODY, Context, policy_of
from durable.journal import (
    Cancelled,
    Err,
    Ledger,
    Ok,
    Record,
    RunClosed,
    RunOpened,
    RunRetried,
    RunStatus,
    StepClosed,
    recorded,
)
from durable.scheduler.calling import called
from durable.scheduler.deadlines import Deadlines
from durable.scheduler.execution import RunExecution
from durable.scheduler.missing import Missing
from durable.scheduler.outcome import Judge
from durable.scheduler.pacing import Pace
from durable.scheduler.parking import Parking
from durable.scheduler.parts import Parts
from durable.scheduler.recovery import Recovery
from durable.scheduler.resting import Resting
from durable.scheduler.session import Session, unsettled
from durable.scheduler.starts import Starts
from durable.scheduler.stopping import ClosingTime, end, has_left, stop
from durable.scheduler.strays import CAN_LOOK, Strays
from durable.scheduler.ticker import Ticker
from durable.scheduler.turns import Tries

# In one turn of the loop. A run that begins takes up to 96 rounds until its first outcome is delivered: with more at a
# time, thousands of them would be half way at once.
BEGUN_AT_ONCE = 50
STOPPED_AT_ONCE = 200


class Scheduler:
    """A scheduler begins and ends the executions of runs.

    `sessions` are the runs that have a coroutine, `ended` counts those that have ended. `endings` are the futures of
    callers that wait for a run's end, by run: they are done once the end is durable.
    """

    def __init__(self, parts: Parts, recovery: Recovery) -> None:
        self.sessions: dict[str, Session] = {}
        self._parts = parts
        self._state, self._journal, self._changes = parts.decisions.state, parts.journal, parts.changes
        self._functions = parts.registry.functions
        self._callers = parts.callers
        self._recovery = recovery
        self.ended: Counter[RunStatus] = Counter()
        self.endings: dict[str, list[asyncio.Future[RunClosed]]] = {}
        self._closing, self._resident = False, parts.settings.resident
        self.time = ClosingTime(parts.loop)
        self._on_main_ended = self._main_ended
        self._over: asyncio.Future[None] = parts.loop.create_future()
        self._over.set_result(None)
        self._endings: set[asyncio.Task[None]] = set()
        self._begins = Pace(parts.loop, self._begin_now, BEGUN_AT_ONCE)
        self._judge = Judge(parts)
        self._stops = Pace(parts.loop, self._begin_stop, STOPPED_AT_ONCE)
        self._starting: set[str] = set()
        self._leaving: set[str] = set()
        # Runs that are still to begin. Of those in `_starting` it is not known yet that their opening is durable.
        self.to_begin: Sequence[Sized] = (self._starting, self._begins.waiting)
        self.missing = Missing(self._functions, parts.logger)
        self.strays = Strays(parts.settings.engine, parts.loop, parts.logger, self._spawn)
        self.resting = Resting(parts, self.sessions, self.strays)
        self.parking = Parking(parts, self.sessions, self._begin_now, self._spawn, self.strays, self.resting.note)
        self.deadlines = Deadlines(parts, self._begin_when_durable, self._try_again)
        self.starts = Starts(parts, self.sessions, self._begin_when_durable)
        self.tries = Tries(parts)
        self._bounded = self.starts.rooms_of
        self.ticker = Ticker(parts, self._spawn)
        for follower in (self.deadlines, self, self.parking, self.starts, self.ticker, parts.notices):
            parts.journal.follow(follower)

    # Records.

    def follows(self) -> Mapping[type[Record], Callable[[Any], None]]:
        """Return the functions to call for records: they begin, answer and end runs."""
        return {
            StepClosed: self._step_closed,
            RunOpened: self._run_opened,
            RunRetried: self._run_retried,
            RunClosed: self._run_closed,
        }

    def _step_closed(self, record: StepClosed) -> None:
        if self._changes.is_crowded:
            self._changes.stirred()
        outcome = type(record.outcome)
        if record.kind != "run" or outcome is not Ok:  # else its handler has returned, and has dropped its timer
            self.deadlines.step_closed(record)
            if isinstance(record.outcome, Err) and record.kind != "run":  # else the try was told of
                ledger = self._state.ledgers[record.run]
                if ledger.fork is None or record.at > ledger.opened_at:  # else it was told of the run before the fork
                    self._parts.notices.step_failed(ledger, record.key, None, record.outcome.error)
        if outcome is Cancelled:
            return
        session = self.sessions.get(record.run)
        if session is None:
            self._begin_when_durable(record.run)
        elif record.turn is not None:
            session.delivery.posted(record.turn, self._journal.posted)

    def _run_opened(self, record: RunOpened) -> None:
        run, function, state = record.run, record.function, self._state
        if (ledger := state.ledgers.get(run)) is None:
            return  # what followed from its opening has ended it, in the same write (F7)
        if record.fork is not None:
            ledger.close_turns()  # new outcomes come after all that the fork begins with
        declaration = state.functions.get(function)
        if declaration is not None and declaration.start_timeout is not None:
            self.deadlines.run_opened(record)
        if self._callers.call is not None:
            self._callers.opened(run)
        is_free = function not in state.flowing and function not in state.standing.paused
        if is_free or not self.starts.waits(ledger):
            self._begin_when_durable(run)

    def _run_retried(self, record: RunRetried) -> None:
        waits = record.reopened and self.starts.waits(self._state.ledgers[record.run])
        if not waits and not self.deadlines.is_put_off(record.run):
            self._begin_when_durable(record.run)

    def _run_closed(self, record: RunClosed) -> None:
        run, number = record.run, self._journal.posted
        if self._is_timed(self._state.ended[run]):
            self.deadlines.run_closed(record)
        self.ended[record.status] += 1
        if self.missing.told:
            self.missing.told.discard(run)
        if run in self._bounded:
            self.starts.ended(run)
        if run in self._callers.of:
            self._callers.ended(run)
        session = self.sessions.pop(run, None)
        if session is not None and (not session.main.done() or session.has_loose_ends):
            session.refuse()
            self.strays.look_soon()
            self._leaving.add(run)
            self._stops.add(session)
        self._journal.tell(number, partial(self._tell_ended, record))

    def _is_timed(self, ended: Ledger) -> bool:
        """Return whether a run that has ended may have left timers."""
        declaration = self._state.functions.get(ended.function)
        if declaration is None or declaration.is_timed or ended.due is not None:
            return True
        for step in ended.steps.values():  # noqa: SIM110 - a generator would take three times as long
            if step.outcome is None:
                return True
        return False

    def _begin_stop(self, session: Session) -> None:
        self._spawn(self._leave(session))

    async def _leave(self, session: Session) -> None:
        try:
            await stop(session, self.time, at_once=True)
        finally:
            self.strays.look_soon()  # for tasks that were started to clean up
            run = session.ledger.run
            self._leaving.discard(run)
            if run in self._state.ledgers:  # opened again meanwhile (R32)
                self.begin(run)

    def _tell_ended(self, record: RunClosed, error: StoreError | None) -> None:
        if error is None:
            if record.status != "completed" or self._parts.logger.heeds(logging.INFO):
                self._parts.notices.run_ended(record)
            self._state.told(record)
            for ending in self.endings.pop(record.run, ()):
                if not ending.done():
                    ending.set_result(record)

    # Beginning.

    def _begin_when_durable(self, run: str) -> None:
        if run in self._starting or self._closing:
            return
        self._starting.add(run)
        try:
            self._journal.tell(self._journal.posted, partial(self._begin_durable, run))
        except RecursionError:  # the caller asks again later, on a stack with room
            self._starting.discard(run)
            raise

    def _begin_durable(self, run: str, error: StoreError | None) -> None:
        self._starting.discard(run)
        if error is None:
            self._begins.add(run)

    def begin(self, run: str) -> None:
        """Call the function of an unfinished run, now or in one of the loop's next turns.

        If the run has an execution, is not due yet, or its function is unknown, nothing happens.
        """
        self._begins.add(run)

    def _begin_now(self, run: str) -> None:
        ledger = self._state.ledgers.get(run)
        if ledger is None or run in self.sessions or run in self._leaving or self._closing:
            return
        if run in self._starting or (run in self._bounded and self.starts.holds_back(run)):
            return  # of its start, too, the record must be durable first
        if not ledger.is_whole or run in self.parking.leaving:
            self.parking.fetch(run)
            return
        function = self._functions.get(ledger.function)
        if function is None:
            self.missing.tell(ledger)
            return
        if ledger.due is not None and self.deadlines.is_put_off(run):
            return
        parts = self._parts
        session = Session(parts, ledger, self._on_main_ended)
        session.context = context = Context(RunExecution(session), policy_of(function))
        variables = self._callers.of.get(run, parts.variables).copy()
        variables.run(BODY.set, session)
        declaration = self._state.functions[ledger.function]
        if declaration.flow is not None:
            session.turns = self.tries.of(ledger)
        session.tells_start = declaration.is_timed
        self.sessions[run] = session
        if self._changes.begun is not None:
            self._changes.begun()
        if len(self.sessions) > self._resident:
            self._changes.is_crowded = True
        if self._recovery.counts:
            self._recovery.watch(session)
        # Not loop.create_task: an eager task factory would run the function before the session knows its task.
        main = session.main = asyncio.Task(called(function, context), loop=parts.loop, name=run, context=variables)
        main.add_done_callback(session.main_ended, context=parts.variables)

    # Ending.

    def _main_ended(self, session: Session, main: asyncio.Task[Any]) -> None:
        self._changes.set()
        if self.sessions.get(session.ledger.run) is not session or session.is_stopped:
            if main.done() and not main.cancelled():
                main.exception()  # read it, or asyncio complains; an error after the refusal is not recorded (R8)
            if main.done():
                session.let_go(self._over)
            return
        session.refuse()
        if CAN_LOOK:
            self.strays.look_soon()
        if ((session.works or session.branches.tasks) and session.has_loose_ends) or not main.done():
            self._spawn(self._end(session))
        else:
            self._judge_end(session)

    async def _end(self, session: Session) -> None:
        try:
            await has_left(session)  # a function that never ends is given up after a time (R7)
            await end(session, self.time, at_once=True)
        except Exception as error:  # from a user's own class of tasks, say; the run has ended all the same
            stack = recorded(error).stack
            self._parts.logger.error("what run %r left running could not be ended: %s", session.ledger.run, stack)
        self.strays.look_soon()  # for tasks that were started to clean up
        if not session.is_stopped and session.ledger.status is None:
            self._judge_end(session)
        elif session.main.done():
            session.let_go(self._over)

    def _judge_end(self, session: Session) -> None:
        self.sessions.pop(session.ledger.run, None)
        self._judge.post_end(session)
        if session.main.done():
            session.let_go(self._over)

    def _spawn(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.Task(ending, loop=self._parts.loop, context=self._parts.variables.copy())
        self._endings.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, ending: asyncio.Task[None]) -> None:
        self._endings.discard(ending)
        self._changes.set()
        error = None if ending.cancelled() else ending.exception()
        if isinstance(error, Exception):  # a Ctrl-C that came in the middle of it has left the loop, and is no failure
            self._parts.logger.error("a run could not be ended", exc_info=error)

    async def close(self) -> None:
        """Stop every run: refuse steps, cancel functions, and end handlers.

        Handlers go on for the closing time that was given, and are then cancelled. After 15 s more at the most this
        returns, even if some have not ended.
        """
        if not self.time.is_given:
            self.time.give(0.0)
        self.stop()
        self.strays.look()
        while self._endings and (left := self.time.left_after_all()) > 0:
            await asyncio.wait(list(self._endings), timeout=left)
            if not self._endings:
                self.strays.look()  # for tasks that were started to clean up
        self.time.forget()
        self.strays.forget()

    def stop(self) -> None:
        """Refuse every step call, begin no try, and begin to cancel the functions."""
        self.resting.stop()
        self.starts.turnstile.stop()
        self.tries.turnstile.stop()
        self._closing = True
        self._begins.clear()
        self._parts.threads.hold()
        sessions = [*self._stops.clear(), *self.sessions.values()]
        self.sessions.clear()
        for session in sessions:
            session.is_stopped = True
            session.refuse()
        if sessions:
            self._spawn(self._stop(sessions))

    async def _stop(self, sessions: list[Session]) -> None:
        for number, session in enumerate(sessions, 1):
            self._spawn(stop(session, self.time, at_once=False))
            if number % STOPPED_AT_ONCE == 0:
                await asyncio.sleep(0)  # the loop stays free

    def _try_again(self, run: str, key: str) -> None:
        session = self.sessions.get(run)
        call = session.calls.get(key) if session is not None else None
        if call is not None and call.work is not None:
            call.work.come_due()

    # The state of runs.

    def is_settled(self) -> bool:
        """Return whether every run waits for time or for input from outside."""
        return (
            self._begins.is_idle
            and self._stops.is_idle
            and self.starts.turnstile.is_idle
            and self.tries.turnstile.is_idle
            and not self._starting
            and not self._endings
            and self.strays.is_idle
            and self._recovery.is_settled
            and self.parking.is_settled
            and next(self.unsettled(), None) is None
        )

    def unsettled(self) -> Iterator[Session]:
        """Yield the sessions that can move without time or input from outside.

        The latest come first: see `session.unsettled`.
        """
        return unsettled(self._parts.rounds.moving)

    def status_of(self, run: str) -> RunStatus | None:
        """Return the status of an unfinished run, or None if there is no such run."""
        if run in self._state.parked:
            return "waiting"
        ledger = self._state.ledgers.get(run)
        return None if ledger is None else self.status(ledger)[0]

    def status(self, ledger: Ledger) -> tuple[RunStatus, dict[str, datetime | None]]:
        """Return the status of a run, and its steps with a running handler.

        These are given by key, each with the time at which its first try began: see `StepCall`.
        """
        if ledger.status is not None:
            return ledger.status, {}
        session = self.sessions.get(ledger.run)
        if session is None:
            has_begun = (ledger.steps or ledger.attempt) and not self.starts.holds_back(ledger.run)
            return ("waiting" if has_begun else "queued"), {}
        running = {key: call.began for key, call in session.calls.items() if call is not None and call.is_trying}
        if running or not session.waits or session.delivery.is_delivering:
            return "running", running
        return "waiting", {}
