"""Define the records of runs, decide which follow, and write them.

The room holds the records, their text (`codec`), the rules that make one record follow from another (`rules`), and the
single writer.

Separate because of its one law, `state == fold(journal)`: a run is the sum of its records, and nothing else.
Leaves to `stores` the keeping of entries, to `scheduler` the tasks that act on records.
"""

from durable.journal.adopting import adopt, claims_of, settle
from durable.journal.codec.classes import converter
from durable.journal.codec.enclosing import enclose
from durable.journal.codec.failures import raised, recorded
from durable.journal.codec.fitting import ABSENT
from durable.journal.codec.guests import all_in, is_of, set_trace, told, trace_of
from durable.journal.codec.recorded import RecordedEvent, recorded_event
from durable.journal.codec.remedies import Whose
from durable.journal.codec.values import decode, encode, outline
from durable.journal.codec.write import read, write
from durable.journal.entries import Entries
from durable.journal.gathered import EventHeld, EventSkipped, GroupClosed
from durable.journal.history import History, ends_in, ends_of, folded, records_in
from durable.journal.ids import (
    HELD,
    PREFIX_END,
    SCHEDULES,
    TICKS,
    Ids,
    cron_function,
    cron_runs,
    is_fresh,
    opened_run,
    parent_run,
    pause_fact,
    schedule_fact,
    schedule_runs,
    scheduled_run,
    sent_event,
    skipped_by,
    tick_run,
)
from durable.journal.records import (
    STATUSES,
    Cancelled,
    Ending,
    EngineClosed,
    Err,
    EventSent,
    ForChild,
    ForEvent,
    Fork,
    ForSignal,
    MessageTaken,
    Ok,
    Outcome,
    Record,
    RunAdmitted,
    RunClosed,
    RunOpened,
    RunResumed,
    RunRetried,
    RunStarted,
    RunStatus,
    StepClosed,
    StepKind,
    StepOpened,
    StepRetried,
    Until,
    Wait,
    without_ask,
)
from durable.journal.rules.acceptance import accepted, check_signal, data_text, invoked, plainly_accepted, stamped
from durable.journal.rules.beginning import begins
from durable.journal.rules.decisions import Acting, Decisions
from durable.journal.rules.declaration import WAIT_NAMES, CancelRule, Declaration, no_such_function
from durable.journal.rules.flow.held import Group, held_in
from durable.journal.rules.flow.keys import key_text
from durable.journal.rules.flow.options import Batching, Counts, Debouncing, Flow, Slots, Sole, Window
from durable.journal.rules.flow.queue import Queue, Room
from durable.journal.rules.flow.rooms import PauseRoom, PeriodRoom, Rooms, SlotRoom
from durable.journal.rules.forking import finished, first_now_of, forked
from durable.journal.rules.ledger import Ledger, StepFacts
from durable.journal.rules.limits import Limits, output_too_large, run_too_large, too_many_steps
from durable.journal.rules.misuse import is_failed_call, misplaced, misuse
from durable.journal.rules.parked import ParkedRun, rest_of
from durable.journal.rules.reopening import awaited_children, reopen
from durable.journal.rules.retries import (
    FINAL,
    FINAL_FOR_RUN,
    Backoff,
    Choice,
    Policy,
    RetryOn,
    Verdict,
    checked_retries,
    chosen_errors,
)
from durable.journal.rules.schedules.pausing import pauses, resumes
from durable.journal.rules.schedules.ticking import Ticking, table_made, table_of
from durable.journal.rules.schedules.timetable import CronRule, Moved, Timetable
from durable.journal.rules.state import KEPT, State
from durable.journal.schedule_records import (
    MISSED,
    FunctionPaused,
    FunctionResumed,
    Missed,
    ScheduleEnded,
    ScheduleMade,
    TicksPassed,
)
from durable.journal.writer import Journal

__all__ = [
    "ABSENT",
    "FINAL",
    "FINAL_FOR_RUN",
    "HELD",
    "KEPT",
    "MISSED",
    "PREFIX_END",
    "SCHEDULES",
    "STATUSES",
    "TICKS",
    "WAIT_NAMES",
    "Acting",
    "Backoff",
    "Batching",
    "CancelRule",
    "Cancelled",
    "Choice",
    "Counts",
    "CronRule",
    "Debouncing",
    "Decisions",
    "Declaration",
    "Ending",
    "EngineClosed",
    "Entries",
    "Err",
    "EventHeld",
    "EventSent",
    "EventSkipped",
    "Flow",
    "ForChild",
    "ForEvent",
    "ForSignal",
    "Fork",
    "FunctionPaused",
    "FunctionResumed",
    "Group",
    "GroupClosed",
    "History",
    "Ids",
    "Journal",
    "Ledger",
    "Limits",
    "MessageTaken",
    "Missed",
    "Moved",
    "Ok",
    "Outcome",
    "ParkedRun",
    "PauseRoom",
    "PeriodRoom",
    "Policy",
    "Queue",
    "Record",
    "RecordedEvent",
    "RetryOn",
    "Room",
    "Rooms",
    "RunAdmitted",
    "RunClosed",
    "RunOpened",
    "RunResumed",
    "RunRetried",
    "RunStarted",
    "RunStatus",
    "ScheduleEnded",
    "ScheduleMade",
    "SlotRoom",
    "Slots",
    "Sole",
    "State",
    "StepClosed",
    "StepFacts",
    "StepKind",
    "StepOpened",
    "StepRetried",
    "Ticking",
    "TicksPassed",
    "Timetable",
    "Until",
    "Verdict",
    "Wait",
    "Whose",
    "Window",
    "accepted",
    "adopt",
    "all_in",
    "awaited_children",
    "begins",
    "check_signal",
    "checked_retries",
    "chosen_errors",
    "claims_of",
    "converter",
    "cron_function",
    "cron_runs",
    "data_text",
    "decode",
    "enclose",
    "encode",
    "ends_in",
    "ends_of",
    "finished",
    "first_now_of",
    "folded",
    "forked",
    "held_in",
    "invoked",
    "is_failed_call",
    "is_fresh",
    "is_of",
    "key_text",
    "misplaced",
    "misuse",
    "no_such_function",
    "opened_run",
    "outline",
    "output_too_large",
    "parent_run",
    "pause_fact",
    "pauses",
    "plainly_accepted",
    "raised",
    "read",
    "recorded",
    "recorded_event",
    "records_in",
    "reopen",
    "rest_of",
    "resumes",
    "run_too_large",
    "schedule_fact",
    "schedule_runs",
    "scheduled_run",
    "sent_event",
    "set_trace",
    "settle",
    "skipped_by",
    "stamped",
    "table_made",
    "table_of",
    "tick_run",
    "told",
    "too_many_steps",
    "trace_of",
    "without_ask",
    "write",
]
