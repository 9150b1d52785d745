"""Send to a store: events and signals, and what becomes of its runs.

Separate because these verbs ask and do not wait: the engine that has the store open takes what they send, else the next
one that opens it.
Leaves to `sender` the messages.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from durable.engine.command.arguments import add_data, add_function, add_run, instant, named, parsed, read_by
from durable.engine.command.verb import Answer, Nothing, Verb
from durable.engine.reader import Reader
from durable.engine.sender import Sender
from durable.events import Event, Signal, checked_text
from durable.journal import StepKind
from durable.timers import shown


def _add_event(parser: ArgumentParser) -> None:
    parser.add_argument("event", metavar="EVENT", type=named("event"), help="the event's name")
    add_data(parser, "{}")
    parser.add_argument("--id", type=named("id"), help="the event's own id: one seen in the last 24 h is dropped")
    parser.add_argument("--ts", type=instant, help="when it is to be delivered, such as 2030-01-01T12:00")


async def _send(options: Namespace) -> Answer:
    data = parsed(options.data)
    async with Sender(options.store) as sender:
        ids = await sender.send(options.event, data, id=options.id, ts=options.ts)
    return Answer("\n".join(ids), {"ids": ids})


def _add_signal(parser: ArgumentParser) -> None:
    parser.add_argument("signal", metavar="SIGNAL", type=named("signal"), help="the signal's name")
    add_data(parser, "null")


async def _signal(options: Namespace) -> Answer:
    data = parsed(options.data)
    async with Sender(options.store) as sender:
        await sender.send_signal(options.signal, data)
    return Answer("", {"signal": options.signal})


def _add_event_id(parser: ArgumentParser) -> None:
    parser.add_argument("event", metavar="EVENT-ID", type=named("event id"), help="the id that send has printed")


async def _unsend(options: Namespace) -> Answer:
    if not await Sender(options.store).unsend(options.event):
        raise Nothing(
            f"no event {options.event!r} is still to come: it was delivered, or was never sent; `durable runs "
            "--event-id` lists the runs that it opened"
        )
    return Answer("", {"id": options.event})


def _add_start(parser: ArgumentParser) -> None:
    add_function(parser)
    add_data(parser, "{}")
    parser.add_argument("--id", type=named("id"), help="the run's id: a run that has it is left as it is")


async def _start(options: Namespace) -> Answer:
    run = await Sender(options.store).start(options.function, parsed(options.data), id=options.id)
    return Answer(run, {"id": run, "function_id": options.function})


def _add_cancel(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--reason", type=named("reason"), help="why, which is recorded and shown")


async def _cancel(options: Namespace) -> Answer:
    if not await Sender(options.store).cancel(options.run, options.reason):
        raise Nothing(f"run {options.run!r} has ended already: `durable show` says how")
    return Answer("", {"id": options.run, "reason": options.reason})


async def _retry(options: Namespace) -> Answer:
    try:
        await Sender(options.store).retry(options.run)
    except ValueError as error:
        raise Nothing(str(error)) from error
    return Answer("", {"id": options.run})


def _add_fork(parser: ArgumentParser) -> None:
    add_run(parser)
    told = "the key of the step before which it begins; by default all steps that ended well are taken over"
    parser.add_argument("--before", metavar="STEP", type=named("step"), help=told)
    told = "another outcome of a step, as JSON; of a wait for an event its name and data; may be given often"
    parser.add_argument("--set", metavar="STEP=JSON", type=read_by(_outcome), action="append", default=[], help=told)
    parser.add_argument("--data", metavar="JSON", help="other data of the run's event")
    parser.add_argument("--id", type=named("id"), help="the id of the new run")


def _outcome(text: str) -> tuple[str, Any]:
    """Read a step's key and its value: the first = after which there is JSON stands between them."""
    at = text.find("=")
    while at >= 0:
        try:
            return checked_text(text[:at], "step"), parsed(text[at + 1 :])
        except ValueError:
            at = text.find("=", at + 1)
    raise ValueError(f"{shown(text)} is no STEP=JSON, such as 'charge={{\"paid\": true}}' or 'name=\"ann\"'")


async def _fork(options: Namespace) -> Answer:
    kinds = {key: step.kind for key, step in (await Reader(options.store).info(options.run)).steps.items()}
    steps = {key: _as_received(value, kinds.get(key)) for key, value in options.set}
    data = None if options.data is None else parsed(options.data)
    try:
        run = await Sender(options.store).fork(
            options.run, before=options.before, data=data, steps=steps, id=options.id
        )
    except LookupError as error:
        raise Nothing(error.args[0]) from error
    return Answer(run, {"id": run, "forked_from": options.run})


def _as_received(value: Any, kind: StepKind | None) -> Any:
    """Return a value as a step of a kind gives it to its function."""
    made = {"wait_for_event": Event, "wait_for_signal": Signal}.get(kind or "")
    return made(**value) if made is not None and isinstance(value, dict) else value


def _add_flush(parser: ArgumentParser) -> None:
    add_function(parser)
    parser.add_argument("--key", help="JSON: only what is held for this key; by default all")


async def _flush(options: Namespace) -> Answer:
    key = None if options.key is None else parsed(options.key)
    if not await Sender(options.store).flush(options.function, key):
        raise Nothing(
            f"nothing is held for function {options.function!r} that this would open: `durable held` lists it"
        )
    return Answer("", {"function_id": options.function, "key": key})


VERBS = (
    Verb("send", "send an event, now or when the store is opened next; print its id", _add_event, _send),
    Verb("signal", "send a signal to the run that waits for it", _add_signal, _signal),
    Verb("unsend", "take back an event that is still to come", _add_event_id, _unsend),
    Verb("flush", "open now what debounce and batch hold back for a function", _add_flush, _flush),
    Verb("start", "begin a run of a function; print its id", _add_start, _start),
    Verb("cancel", "cancel a run", _add_cancel, _cancel),
    Verb("fork", "begin a run with what another has finished; print its id", _add_fork, _fork),
    Verb("retry", "open a failed or cancelled run again, with its finished steps", add_run, _retry),
)
