"""Make a record's entry for the store: its text, its run, and its retention.

Separate because this decides which records recovery reads again, and what `find` knows of a run.
Leaves to `codec` the text, to `stores` the keeping of entries, to `writer` the time of the append.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, assert_never

from durable.events import RESERVED, Event, can_be_kept
from durable.journal.codec.write import answered_text, ended_text, opened_text, waiting_text, write
from durable.journal.gathered import EventHeld, EventSkipped, EventUnheld, Gathered, GroupClosed
from durable.journal.ids import pause_fact, schedule_fact, scheduled_run, skipped_by, ticks_fact
from durable.journal.lone import LoneAnswer, LoneEnding, LoneOpening, LoneWait
from durable.journal.records import (
    Counted,
    EngineClosed,
    EventSent,
    KeyClaimed,
    MessageTaken,
    Record,
    RunAdmitted,
    RunClosed,
    RunOpened,
    RunRested,
    RunResumed,
    RunRetried,
    RunStarted,
    StepClosed,
    StepOpened,
    StepRetried,
)
from durable.journal.rules.ledger import Ledger
from durable.journal.rules.state import KEPT, State
from durable.journal.schedule_records import (
    FunctionPaused,
    FunctionResumed,
    ScheduleEnded,
    ScheduleMade,
    ScheduleRecord,
    TicksPassed,
    TicksReplaced,
)
from durable.stores import Entry, RunRow, message_run
from durable.timers import after, keepable

CLOSING_KEPT = timedelta(days=366)


class Entries:
    """Entries are made of records that are about to be folded into a state.

    `lone` has, for each kind of lone cause, the functions that make its entry and that fold it. Both take the cause,
    and raise what `of` and `State.fold` raise.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.lone: Mapping[type, tuple[Callable[[Any], Entry], Callable[[Any], object]]] = {
            LoneOpening: (_of_opening, state.open_run),
            LoneEnding: (self._of_ending, state.close_run),
            LoneWait: (_of_wait, state.open_step),
            LoneAnswer: (_of_answer, state.close_step),
        }

    def of(self, record: Record) -> Entry:
        """Return the entry of a record that is about to be folded.

        Raises:
            ValueError, CodecError: the record cannot be kept in any store.
            KeyError: the record is of a run that does not exist.
        """
        match record:
            case StepClosed() | StepOpened():
                return entry_of(record.run, type(record).__name__, write(record))
            case RunOpened():
                others = _ids_of_others(record) if record.others else ()
                row = _row(record.run, record.function, record.event, record.at, others=others)
                return entry_of(record.run, "RunOpened", write(record), row)
            case RunClosed():
                return self._of_ending(record)
            case TicksPassed() | TicksReplaced():
                return _of_schedules(record)
            case EventSent():
                return self._of_event(record)
            case EventHeld() | EventUnheld() | GroupClosed() | EventSkipped():
                return _of_gathered(record)
            case KeyClaimed():
                return Entry("", "KeyClaimed", write(record), keep_until=after(record.at, KEPT))
            case Counted():
                return Entry("", "Counted", write(record), keep_until=record.until)
            case MessageTaken():  # a run of its own, ended at once: recovery skips it, and its id finds it later
                return Entry(message_run(record.id), "MessageTaken", write(record), ends_run=True)
            case EngineClosed():
                return Entry("", "EngineClosed", write(record), keep_until=after(record.at, CLOSING_KEPT))
            case RunRested():
                return entry_of(record.run, "RunRested", write(record), sums_up=True)
            case RunRetried() if record.reopened:
                return self._of_reopening(record)
            case RunAdmitted() | RunResumed() | RunStarted() | RunRetried() | StepRetried():
                return Entry(record.run, type(record).__name__, write(record))
            case _:
                return _of_schedules(record)

    def _of_reopening(self, record: RunRetried) -> Entry:
        ledger = self._known(record.run)
        event, ids = ledger.event, _ids(record.run, ledger.event)
        row = RunRow(record.run, ledger.function, event.name, ledger.opened_at, event_ids=ids)
        return Entry(record.run, "RunRetried", write(record), row=row)

    def _of_ending(self, record: RunClosed | LoneEnding) -> Entry:
        body = write(record) if isinstance(record, RunClosed) else ended_text(record)
        ledger = self._state.ledgers.get(record.run) or self._known(record.run)
        said = str(record.error) if record.error is not None else record.reason
        error = None if said is None else keepable(said)  # an error's message may hold text that no store can keep
        row = _row(record.run, ledger.function, ledger.event, ledger.opened_at, record.at, record.status, error)
        return entry_of(record.run, "RunClosed", body, row, ends_run=True)

    def _of_event(self, record: EventSent) -> Entry:
        # A scheduled event is kept as a run of its own, which ends when the event is delivered. So it is not lost, even
        # if the process is down for long. An id of the user's counts until the delivery and for 24 h more.
        body = write(record)
        is_given = record.event.id != record.id
        keep_until = after(record.at, KEPT) if is_given and not record.withdrawn else None
        if record.due is not None:
            return Entry(scheduled_run(record.id), "EventSent", body)
        if record.id not in self._state.scheduled:
            return Entry("", "EventSent", body, keep_until=keep_until or after(record.at, KEPT))
        return Entry(scheduled_run(record.id), "EventSent", body, ends_run=True, keep_until=keep_until)

    def _known(self, run: str) -> Ledger:
        ledger = self._state.ledger(run) or self._state.ended.get(run)
        if ledger is None:
            raise KeyError(f"there is no run {run!r} that has not ended")
        return ledger


def _of_opening(opening: LoneOpening) -> Entry:
    row = _row(opening.run, opening.function, opening.event, opening.at)
    return entry_of(opening.run, "RunOpened", opened_text(opening), row)


def _of_wait(wait: LoneWait) -> Entry:
    return entry_of(wait.run, "StepOpened", waiting_text(wait))


def _of_answer(answer: LoneAnswer) -> Entry:
    return entry_of(answer.run, "StepClosed", answered_text(answer))


def _of_gathered(record: Gathered | EventSkipped) -> Entry:
    match record:
        case EventHeld():  # of a debounce only the last event counts, whatever else the group has held
            return Entry(record.group, "EventHeld", write(record), sums_up=record.mode == "debounce")
        case EventUnheld():
            return Entry(record.group, "EventUnheld", write(record))
        case GroupClosed():
            return Entry(record.group, "GroupClosed", write(record), ends_run=True)
        case EventSkipped():  # a run of its own that has ended: recovery skips it, and its id finds it later
            return Entry(skipped_by(record.by), "EventSkipped", write(record), ends_run=True)
        case _:
            assert_never(record)


def _of_schedules(record: ScheduleRecord) -> Entry:
    # Each is kept as a run of its own, of which the last record is enough. It ends with what replaces the fact.
    kind, body = type(record).__name__, write(record)
    match record:
        case TicksPassed():
            return entry_of(ticks_fact(record.of, record.number), kind, body)
        case TicksReplaced():
            return entry_of(ticks_fact(record.of, record.number), kind, body, ends_run=True)
        case ScheduleMade():
            return Entry(schedule_fact(record.id), kind, body, sums_up=True)
        case ScheduleEnded():
            return Entry(schedule_fact(record.id), kind, body, ends_run=True)
        case FunctionPaused():
            return Entry(pause_fact(record.function), kind, body, sums_up=True)
        case FunctionResumed():
            is_over = not record.spans
            return Entry(pause_fact(record.function), kind, body, ends_run=is_over, sums_up=not is_over)
        case _:
            assert_never(record)


# These make the frequent entries in a quarter of the time, without the constructor's checks: the parts were made or
# checked by this library itself.


_new = object.__new__


def entry_of(
    run: str, kind: str, body: str, row: RunRow | None = None, *, ends_run: bool = False, sums_up: bool = False
) -> Entry:
    """Return an entry whose kind and body are this library's own: `codec` writes nothing but ASCII."""
    if not run.isascii():
        return Entry(run, kind, body, ends_run, row=row, sums_up=sums_up)
    entry = _new(Entry)
    entry.run, entry.kind, entry.body, entry.row = run, kind, body, row
    entry.ends_run, entry.sums_up, entry.keep_until = ends_run, sums_up, None
    return entry


def _row(
    run: str,
    function: str,
    event: Event,
    opened_at: datetime,
    ended_at: datetime | None = None,
    status: str | None = None,
    error: str | None = None,
    others: tuple[str, ...] = (),
) -> RunRow:
    id, name = event.id, event.name
    is_derived = (
        id is None or id is run or run.startswith(f"{id}/")
    )  # as nearly always; a run that is started names both
    event_ids = others if is_derived else _ids(run, event) + others
    if event_ids or not f"{run}{function}{name}{error}".isascii():
        return RunRow(run, function, name, opened_at, ended_at, status, error, event_ids)
    row = _new(RunRow)
    row.id, row.function, row.event, row.opened_at, row.event_ids = run, function, name, opened_at, ()
    row.ended_at, row.status, row.error = ended_at, status, error
    return row


def _ids_of_others(record: RunOpened) -> tuple[str, ...]:
    known = [id for event in record.others for id in _ids(record.run, event)]
    return tuple(dict.fromkeys([*known, *record.member_ids]))


def _ids(run: str, event: Event) -> tuple[str, ...]:
    """Return the ids of a run's events that the run's own id does not show."""
    id = event.id
    if id is None or run.startswith(f"{id}/") or event.name.startswith(RESERVED):
        return ()
    return (id,) if id.isascii() or can_be_kept(id) else ()  # an earlier release has let in what no row can hold
