"""Send to a store: events and signals, and what becomes of its runs.

Separate because these verbs ask and do not wait: the engine that has the store open takes what they send, else the next
one that opens it.
Leaves to `sender` the messages.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from durable.engine.command.arguments import add_data, named, parsed
from durable.engine.command.verb import Answer, Verb
from durable.engine.sender import Sender


def _add_event(parser: ArgumentParser) -> None:
    parser.add_argument("event", metavar="EVENT", type=named("event"), help="the event's name")
    add_data(parser, "{}")
    parser.add_argument("--id", type=named("id"), help="the event's own id: one seen in the last 24 h is dropped")


async def _send(options: Namespace) -> Answer:
    data = parsed(options.data)
    async with Sender(options.store) as sender:
        ids = await sender.send(options.event, data, id=options.id)
    return Answer("\n".join(ids), {"ids": ids})


def _add_signal(parser: ArgumentParser) -> None:
    parser.add_argument("signal", metavar="SIGNAL", type=named("signal"), help="the signal's name")
    add_data(parser, "null")


async def _signal(options: Namespace) -> Answer:
    data = parsed(options.data)
    async with Sender(options.store) as sender:
        await sender.send_signal(options.signal, data)
    return Answer("", {"signal": options.signal})


VERBS = (
    Verb("send", "send an event, now or when the store is opened next; print its id", _add_event, _send),
    Verb("signal", "send a signal to the run that waits for it", _add_signal, _signal),
)
