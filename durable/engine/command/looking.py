"""Look into a store: list runs, show one, say what it waits for, give its result, export it.

Separate because these verbs change nothing and take no lock, whoever has the store open (R29).
Leaves to `reader` the reading, to `views` the text about runs.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime

from durable.engine.command.arguments import add_run, named, past, span
from durable.engine.command.output import json_of
from durable.engine.command.verb import NOTHING, Answer, Verb
from durable.engine.reader import Reader
from durable.errors import RunCancelled, RunFailed
from durable.journal import STATUSES
from durable.stores import write_lines
from durable.views import table_of


def _add_filters(parser: ArgumentParser) -> None:
    parser.add_argument("--status", choices=STATUSES)
    parser.add_argument("--function", type=named("function"), help="the id of a function")
    parser.add_argument("--event", type=named("event"), help="the name of an event")
    parser.add_argument("--event-id", type=named("event id"), help="what send printed, or the event's own id")
    parser.add_argument("--parent", metavar="RUN", type=named("parent"), help="the run that invoked them")
    parser.add_argument("--opened-after", metavar="INSTANT", type=past, help="2030-01-01T12:00, or 2h for 2 hours ago")
    parser.add_argument("--opened-before", metavar="INSTANT", type=past, help="the same")
    parser.add_argument("--before", metavar="RUN", type=named("run"), help="the page after this run")
    parser.add_argument("--limit", type=int, default=100, help="at most so many runs; 100 by default")


_MOST_CHILDREN = 100
_FILTERS = "status function event event_id parent opened_after opened_before before limit".split()


async def _runs(options: Namespace) -> Answer:
    infos = await Reader(options.store).runs(**{name: getattr(options, name) for name in _FILTERS})
    text = table_of(infos, datetime.now(UTC)) if infos else "no runs"
    return Answer(text, [info.to_dict() for info in infos])


async def _show(options: Namespace) -> Answer:
    async with Reader(options.store) as reader:
        info = await reader.info(options.run)
        children = await reader.runs(parent=options.run, limit=_MOST_CHILDREN)
    below = f"\n\nthe runs that it invoked:\n{table_of(children, datetime.now(UTC))}" if children else ""
    return Answer(f"{info}{below}", info.to_dict(), is_last=info.ended_at is not None)


async def _why(options: Namespace) -> Answer:
    why = await Reader(options.store).why(options.run)
    return Answer(why.text, why.to_dict())


def _add_result(parser: ArgumentParser) -> None:
    add_run(parser)
    told = "wait so long for the run's end, such as 30s; by default without limit, 0 looks once"
    parser.add_argument("--timeout", type=span, help=told)


async def _result(options: Namespace) -> Answer:
    failure: RunFailed | RunCancelled | None = None
    async with Reader(options.store) as reader:
        has_ended = (await reader.info(options.run)).ended_at is not None
        try:
            await reader.result(options.run, None if has_ended else options.timeout)
        except (RunFailed, RunCancelled) as error:
            failure = error
        told = (await reader.info(options.run)).to_dict()
    value = {name: told[name] for name in ("id", "status", "output", "error", "reason")}
    if failure is None:
        return Answer(json_of(told["output"]), value)
    return Answer("", value, NOTHING, trouble=f"{failure}: `durable show` shows where")


async def _export(options: Namespace) -> Answer:
    info = await Reader(options.store).info(options.run)
    lines = write_lines(info.id, info.function_id, info.record).rstrip("\n")
    return Answer(lines, {"id": info.id, "function_id": info.function_id, "lines": lines.split("\n")})


def _add_held(parser: ArgumentParser) -> None:
    parser.add_argument("--function", type=named("function"), help="the id of a function")


async def _held(options: Namespace) -> Answer:
    held = await Reader(options.store).held(options.function)
    return Answer("\n".join(map(str, held)) or "nothing is held", [one.to_dict() for one in held])


VERBS = (
    Verb("runs", "list runs, newest first", _add_filters, _runs, is_watched=True),
    Verb("show", "show one run as a timeline", add_run, _show, is_watched=True),
    Verb("why", "say what a run waits for", add_run, _why),
    Verb("result", "wait for a run's end, and print what its function returned, as JSON", _add_result, _result),
    Verb("held", "list the events that debounce and batch hold back", _add_held, _held, is_watched=True),
    Verb("export", "write a run's record to the standard output", add_run, _export),
)
