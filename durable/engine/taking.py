"""Do what messages of the inbox ask for, each exactly once.

Separate because a message comes late: what it asks for was checked when it was sent, and the engine has gone on since.
Leaves to `receiver` the inbox and the order of messages, to `decisions` and `reopening` what follows from each.

What follows from a message is one write with the record that it was taken. Some messages are about a run that is in the
store alone, which is read first; the messages behind wait for that, since messages act in the order in which they were
sent. Nobody waits for an answer. So a message whose run has ended, or was opened again, meanwhile is taken, does
nothing, and is named in the log. So is one whose sender was wrong: to start a run of an id that another function has. A
run of a function that the engine lacks is opened, and stays parked (R25): it can be seen, it begins when the function
is there, and a sender cannot know the functions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from itertools import chain
from typing import assert_never

from durable.engine.answers import no_such_run
from durable.engine.arguments import check_reopened, check_same, check_same_fork, checked_run_id, checked_schedule
from durable.engine.family import family
from durable.engine.forks import begun, checked_wanted, opening, past
from durable.engine.messages import (
    Planning,
    SentBackfill,
    SentCancel,
    SentEvents,
    SentFlush,
    SentFork,
    SentPause,
    SentResume,
    SentRetry,
    SentSchedule,
    SentSignal,
    SentStart,
    SentUnschedule,
    SentUnsend,
    read_sent,
)
from durable.events import checked_name, checked_text
from durable.journal import (
    MessageTaken,
    Record,
    RecordedEvent,
    accepted,
    check_signal,
    invoked,
    no_such_function,
    reopen,
    stamped,
)
from durable.scheduler import Calendar, Parts
from durable.stores import Message
from durable.timers import on_a_line


class Taking:
    """Taking turns messages into records of an open engine.

    `starting` holds the locks of runs that somebody reads in order to open them. While what `still()` returns is
    entered, no run is forgotten.
    """

    def __init__(
        self,
        parts: Parts,
        starting: MutableMapping[str, asyncio.Lock],
        still: Callable[[], AbstractAsyncContextManager[None]],
        calendar: Calendar,
    ) -> None:
        self._clock = parts.clock
        self._journal = parts.journal
        self._history = parts.history
        self._decisions = parts.decisions
        self._state = parts.decisions.state
        self._logger = parts.logger
        self._starting = starting
        self._still = still
        self._calendar = calendar

    async def take(self, message: Message) -> None:
        """Post that a message was taken, and all that follows from it, in one write.

        Raises:
            StoreCorruptError: a run that it is about is damaged; nothing was posted.
            StoreError: the engine records nothing any more.
            Exception: the message cannot be taken by this engine; nothing was posted.
        """
        sent, now = read_sent(message.kind, message.body), self._clock.now()
        match sent:
            case SentEvents(at, events):
                # An event has the time at which it was sent, but never a future one, which would delay it.
                limits = self._decisions.limits
                checked = [(id, accepted(event, limits, id, min(at, now))) for id, event in events]
                self._post(message, now, self._decisions.events_sent(checked, now)[1])
            case SentSignal(_, signal, data):
                check_signal(signal, data, self._decisions.limits)
                self._post(message, now, self._decisions.signal_sent(signal, data, now))
            case SentStart():
                await self._start(message, sent)
            case SentCancel(_, run, reason):
                self._cancel(message, run, checked_text(reason, "the reason of a cancel"), now)
            case SentRetry(_, run):
                await self._retry(message, run)
            case SentUnsend(_, event_id):
                self._unsend(message, event_id, now)
            case SentFork():
                await self._fork(message, sent)
            case SentFlush():
                self._flush(message, sent, now)
            case SentPause() | SentResume() | SentBackfill() | SentSchedule() | SentUnschedule():
                await self._plan(message, sent, now)
            case _:
                assert_never(sent)

    def _post(self, message: Message, now: datetime, records: Iterable[Record] = ()) -> list[Record]:
        return list(self._journal.post_all(chain([MessageTaken(message.id, now)], records)))[1:]

    def _nothing(self, message: Message, why: str) -> None:
        self._post(message, self._clock.now())
        self._tell_nothing(message, why)

    def _tell_nothing(self, message: Message, why: str) -> None:
        what = on_a_line(message.id), message.kind, on_a_line(why)
        self._logger.warning("message %s from the inbox (%s) does nothing: %s", *what)

    async def _start(self, message: Message, sent: SentStart) -> None:
        function = checked_name(sent.function, "the id of a function")
        event = invoked(function, sent.data, self._decisions.limits)
        if not sent.is_named:
            self._open(message, sent, event)
            return
        run = checked_run_id(sent.run)
        async with self._starting.setdefault(run, asyncio.Lock()):
            opened = None if self._state.known(run) else (await self._history.ends(run))[0]
            known = self._state.known(run) or opened
            if known is None:
                self._open(message, sent, event)
                return
            try:
                check_same(known, function, event)
            except ValueError as error:
                self._nothing(message, f"{error}")
            else:  # the same start again
                self._post(message, self._clock.now())

    def _open(self, message: Message, sent: SentStart, event: RecordedEvent) -> None:
        function, run, now = sent.function, sent.run, self._clock.now()
        event = stamped(event, run, min(sent.at, now))
        openings = self._decisions.openings
        other = openings.answers(function, event, now, is_named=sent.is_named)
        if (limited := openings.limited(function, event, now)) is not None:
            self._nothing(message, limited)
            return
        if other is not None:
            self._nothing(message, f"run {other!r} has the key of function {function!r} in place of run {run!r}")
            return
        self._post(message, now, self._decisions.run_opens(function, run, event, now, is_named=sent.is_named))

    def _cancel(self, message: Message, run: str, reason: str, now: datetime) -> None:
        if self._state.is_unfinished(run):
            self._post(message, now, self._decisions.run_ended(run, "cancelled", now, reason=reason))
        else:
            self._nothing(message, f"run {run!r} has ended, or there is none")

    def _unsend(self, message: Message, event: str, now: datetime) -> None:
        if event in self._state.scheduled or self._state.held.of_event(event):
            self._post(message, now, self._decisions.event_withdrawn(event, now))
        else:
            self._nothing(message, f"event {event!r} has been delivered, or there is none")

    def _flush(self, message: Message, sent: SentFlush, now: datetime) -> None:
        function = checked_name(sent.function, "the id of a function")
        if not self._post(message, now, self._decisions.gathering.flushed(function, sent.key, now)):
            self._tell_nothing(message, f"nothing is held for function {function!r} that it could open")

    async def _plan(self, message: Message, sent: Planning, now: datetime) -> None:
        taken, calendar = [MessageTaken(message.id, now)], self._calendar  # each posts it with what follows
        match sent:
            case SentPause(_, function):
                found: object = calendar.pause(function, taken)
                nothing = f"function {function!r} is paused already"
            case SentResume(_, function):
                found, nothing = await calendar.resume(function, taken), f"function {function!r} is not paused"
            case SentBackfill(_, function, after, before):
                if function not in self._state.functions:  # which ticks there are, only the function tells
                    raise LookupError(no_such_function(function, self._state.functions))
                found = await calendar.backfill(function, after, before, taken)
                nothing = f"function {function!r} has no tick from {after} to {before}"
            case SentSchedule(_, id, function, cron, tz, missed, data, jitter):
                given = cron, id, data, tz, jitter, missed
                made = checked_schedule(function, *given, limits=self._decisions.limits, at=now)
                calendar.schedule(made, taken)
                found, nothing = True, ""
            case SentUnschedule(_, id):
                found, nothing = calendar.unschedule(id, taken), f"there is no schedule {id!r}"
            case _:
                assert_never(sent)
        if not found:
            self._tell_nothing(message, nothing)

    async def _retry(self, message: Message, run: str) -> None:
        await self._journal.synced()
        async with self._still(), family(run, self._state, self._history.ledger, self._starting) as ended:
            try:
                check_reopened(run, ended.get(run), is_unfinished=self._state.is_unfinished(run))
                with self._state.reopening(ended.values()):
                    self._post(message, now := self._clock.now(), reopen(self._decisions, run, ended, now))
            except (KeyError, ValueError) as error:
                self._nothing(message, f"{error.args[0]}")

    async def _fork(self, message: Message, sent: SentFork) -> None:
        run = checked_run_id(sent.run)
        wanted = checked_wanted(sent.before, sent.data, sent.steps)
        records = past(await self._history.entries(sent.origin))
        async with self._starting.setdefault(run, asyncio.Lock()):  # as for a start
            known = await self._history.ledger(run) if sent.is_named else None
            known, now = self._state.whole(run) or known, self._clock.now()
            try:
                if not records:
                    raise no_such_run(sent.origin, ())
                decisions = self._decisions
                cause = begun(decisions.limits, wanted, records, run, now, decisions.openings.sole_key)
                if known is not None:
                    check_same_fork(known, cause)
                    cause = []
                else:
                    cause = opening(self._state, cause)
            except (KeyError, TypeError, ValueError) as error:
                self._nothing(message, f"{error.args[0]}")
            else:
                self._post(message, now, cause)
