"""Steer functions and schedules from the command line.

Separate because these verbs are about functions and ticks, not about runs.
Leaves to `sender` the messages, to `reader` the store.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from durable.engine.command.arguments import add_data, add_function, add_nothing, instant, named, parsed, span
from durable.engine.command.verb import Answer, Nothing, Verb
from durable.engine.reader import Reader
from durable.engine.sender import Sender
from durable.journal import MISSED
from durable.views import Schedule


async def _pause(options: Namespace) -> Answer:
    if not await Sender(options.store).pause(options.function):
        raise Nothing(f"function {options.function!r} is paused already")
    return Answer("", {"function_id": options.function})


async def _resume(options: Namespace) -> Answer:
    if not await Sender(options.store).resume(options.function):
        raise Nothing(f"function {options.function!r} is not paused")
    return Answer("", {"function_id": options.function})


def _add_backfill(parser: ArgumentParser) -> None:
    add_function(parser)
    parser.add_argument("--after", required=True, type=instant, help="the first instant, such as 2030-01-01T12:00")
    parser.add_argument("--before", required=True, type=instant, help="the first instant that is too late")


async def _backfill(options: Namespace) -> Answer:
    if options.after >= options.before:
        raise ValueError(f"--before must be later than --after, which is {options.after}, not {options.before}")
    await Sender(options.store).backfill(options.function, options.after, options.before)
    return Answer("", {"function_id": options.function})


def _add_schedule(parser: ArgumentParser) -> None:
    add_function(parser)
    told = "such as '30 9 * * MON-FRI', six fields with the second first, or '@hourly' and its like"
    parser.add_argument("cron", metavar="CRON", type=named("cron"), help=told)
    add_data(parser, "{}")
    parser.add_argument("--id", required=True, type=named("id"), help="the schedule's id; one that has it is replaced")
    parser.add_argument("--tz", default="UTC", type=named("tz"), help="its time zone, such as Europe/Berlin")
    parser.add_argument("--jitter", type=span, help="by how much a run opens later at the most, such as 5m")
    told = "of the ticks that came while nothing ran, run the last one, none or all"
    parser.add_argument("--missed", choices=MISSED, default="last", help=told)


async def _schedule(options: Namespace) -> Answer:
    await Sender(options.store).schedule(
        options.function,
        options.cron,
        id=options.id,
        data=parsed(options.data),
        tz=options.tz,
        jitter=options.jitter,
        missed=options.missed,
    )
    return Answer("", {"id": options.id, "function_id": options.function})


def _add_id(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=named("id"), help="the id of a schedule")


async def _unschedule(options: Namespace) -> Answer:
    if not await Sender(options.store).unschedule(options.id):
        raise Nothing(f"there is no schedule {options.id!r}: `durable schedules` lists them")
    return Answer("", {"id": options.id})


async def _schedules(options: Namespace) -> Answer:
    found = await Reader(options.store).schedules()
    return Answer("\n".join(map(_line, found)) or "there are no schedules", [one.to_dict() for one in found])


def _line(one: Schedule) -> str:
    due = "never" if one.next_at is None else f"{one.next_at:%Y-%m-%d %H:%M:%S}"
    return f"{due}  {one.function_id}  {one.id or '-'}  {one.cron}  {one.tz}"


VERBS = (
    Verb("pause", "let no run of a function begin until it is resumed", add_function, _pause),
    Verb("resume", "let runs of a paused function begin again", add_function, _resume),
    Verb("backfill", "open a run for each tick of a function in a span that has none", _add_backfill, _backfill),
    Verb("schedule", "open runs of a function at the ticks of a cron expression", _add_schedule, _schedule),
    Verb("unschedule", "take a schedule back", _add_id, _unschedule),
    Verb("schedules", "list the schedules, and the triggers that engines have seen", add_nothing, _schedules, True),
)
