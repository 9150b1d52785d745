"""Send to a store: events and signals, and what becomes of its runs.

Separate because these verbs ask and do not wait: the engine that has the store open takes what they send, else the next
one that opens it.
Leaves to `sender` the messages.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from durable.engine.command.arguments import add_data, add_run, instant, named, parsed
from durable.engine.command.verb import Answer, Nothing, Verb
from durable.engine.sender import Sender


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
        raise Nothing(f"no event {options.event!r} is still to come: it was delivered, or was never sent")
    return Answer("", {"id": options.event})


def _add_start(parser: ArgumentParser) -> None:
    parser.add_argument("function", metavar="FUNCTION", type=named("function"), help="the id of a function")
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


VERBS = (
    Verb("send", "send an event, now or when the store is opened next; print its id", _add_event, _send),
    Verb("signal", "send a signal to the run that waits for it", _add_signal, _signal),
    Verb("unsend", "take back an event that is still to come", _add_event_id, _unsend),
    Verb("start", "begin a run of a function; print its id", _add_start, _start),
    Verb("cancel", "cancel a run", _add_cancel, _cancel),
    Verb("retry", "open a failed or cancelled run again, with its finished steps", add_run, _retry),
)
