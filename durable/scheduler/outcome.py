"""Record how a function has ended: as completed, as failed, or to be called again.

Separate because recording an end can itself fail, and this must not disturb other runs.
Leaves to `scheduler` the watching for a function's end, to `retries` the decision to call it again.
"""

from __future__ import annotations

import asyncio
from typing import Any

from durable.functions import Function, policy_of, return_type
from durable.journal import (
    FINAL_FOR_RUN,
    Ledger,
    RunRetried,
    Verdict,
    Whose,
    encode,
    is_of,
    output_too_large,
    recorded,
    told,
)
from durable.scheduler.parts import Parts
from durable.scheduler.session import Session
from durable.scheduler.unawaited import explain_names


class Judge:
    """A judge records the end of a run, or the time of its next attempt."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._functions = parts.registry.functions
        self._types: dict[str, tuple[Function[Any], object]] = {}  # what each function returns, by its id

    def post_end(self, session: Session) -> None:
        """Judge and record how a run's function has ended.

        An error in doing so is logged, and fails the run.
        """
        main, ledger = session.main, session.ledger
        error: BaseException | None
        if not main.done():
            error = None
        elif main.cancelled():
            error = asyncio.CancelledError("the function's task was cancelled, but not by its engine")
        else:
            error = main.exception()
        error = session.fault or error  # R7: a fault counts more than what the function did, or whether it is done
        if main.cancelling() and self._parts.life.is_ending:
            return  # the closing engine asked the function to end, so how it ended does not count
        if error is not None and self._is_exit(error, ledger.run):
            return
        try:
            self._post_outcome(session, error)
        except KeyboardInterrupt:
            raise
        except BaseException as broken:
            if self._parts.journal.failure is not None:
                self._parts.logger.error("run %r ended, but the store has failed: it will run again", ledger.run)
            else:
                self._give_up(ledger, error, broken)

    def _is_exit(self, error: BaseException, run: str) -> bool:
        """Return whether the error ends the process, so that nothing is recorded (R14)."""
        if is_of(error, SystemExit):
            self._parts.logger.error(
                "run %r called sys.exit(%s), which ends the process: it goes on when its store is opened next",
                run,
                getattr(error, "code", None),
            )
        ends = is_of(error, asyncio.CancelledError) and self._parts.life.is_ending
        return ends or is_of(error, KeyboardInterrupt, SystemExit)

    def _give_up(self, ledger: Ledger, error: BaseException | None, broken: BaseException) -> None:
        failure = recorded(broken, before=error)
        self._parts.logger.error(
            "how run %r ended could not be judged or recorded, so it has failed: %s", ledger.run, failure
        )
        try:
            self._parts.journal.post_all(
                self._parts.decisions.run_ended(ledger.run, "failed", self._parts.clock.now(), error=failure)
            )
        except Exception as again:
            self._parts.logger.error("nor could that be recorded: %s", recorded(again, before=broken).stack)

    def _post_outcome(self, session: Session, error: BaseException | None) -> None:
        ledger, now = session.ledger, self._parts.clock.now()
        run_ended, post_all = self._parts.decisions.run_ended, self._parts.journal.post_all
        if error is None:
            if not ledger.steps.keys() <= session.branches.asked.keys():
                session.tell_unasked()
            try:
                output = self._written(session)
            except Exception as failure:  # CodecError, LimitError, or an error of a user's own hook: never retried
                error, verdict = told(failure), Verdict()
            else:
                post_all(run_ended(ledger.run, "completed", now, output=output))
                return
        else:
            explain_names(error)
            policy = policy_of(self._functions[ledger.function])
            verdict = policy.verdict(error, attempt=ledger.attempt, now=now, seed=ledger.run, final=FINAL_FOR_RUN)
        failed = recorded(error, notes=verdict.notes)
        if verdict.due is None:
            post_all(run_ended(ledger.run, "failed", now, error=failed))
        else:
            number = ledger.attempt
            self._parts.journal.post(RunRetried(ledger.run, number + 1, verdict.due, failed, now))
            self._parts.notices.attempt_failed(ledger, number, failed, verdict.due)

    def _written(self, session: Session) -> str:
        function = self._functions[session.ledger.function]
        known = self._types.get(function.id)
        if known is None or known[0] is not function:
            known = self._types[function.id] = function, return_type(function.code)
        type_ = known[1]
        text = encode(session.main.result(), type_, whose=Whose.FUNCTION)
        limits = self._parts.decisions.limits
        if len(text) > limits.step_bytes:
            raise output_too_large(limits, len(text), f"what run {session.ledger.run!r} returned")
        return text
