"""The text of messages: a format, since the sender and the engine may be of two releases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from durable.engine.forks import Written
from durable.engine.messages import (
    Sent,
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
    write_sent,
)
from durable.events import Event, Signal

AT = datetime(2030, 1, 1, tzinfo=UTC)
_AT = '{"~datetime":"2030-01-01T00:00:00+00:00"}'

# Never change one of these: engines of earlier releases and messages on disks have them.
GOLDEN: list[tuple[Sent, str, str]] = [
    (
        SentEvents(AT, (("id1", Event("a", {"n": 1}, "mine", AT, "v1")),)),
        "events",
        f'{{"at":{_AT},"ids":["id1"],"events":[{{"name":"a","data":"{{\\"n\\":1}}","id":"mine","ts":{_AT},"v":"v1"}}]}}',
    ),
    (SentSignal(AT, "go", (1, 2)), "signal", f'{{"at":{_AT},"signal":"go","data":"{{\\"~tuple\\":[1,2]}}"}}'),
    (
        SentStart(AT, "job", "mine", {"n": 1}, is_named=True),
        "start",
        f'{{"format":2,"at":{_AT},"function":"job","run":"mine","data":"{{\\"n\\":1}}","is_named":true}}',
    ),
    (SentCancel(AT, "r", "why"), "cancel", f'{{"format":2,"at":{_AT},"run":"r","reason":"why"}}'),
    (SentRetry(AT, "r"), "retry", f'{{"format":2,"at":{_AT},"run":"r"}}'),
    (
        SentFork(AT, "r", "new", "ship", {"n": 1}, {"w": Event("a", {"n": 1}, "mine", AT)}, is_named=True),
        "fork",
        f'{{"format":2,"at":{_AT},"origin":"r","run":"new","before":"ship","data":"{{\\"n\\":1}}","steps":{{"w":'
        f'{{"event":{{"name":"a","data":"{{\\"n\\":1}}","id":"mine","ts":{_AT},"v":null}}}}}},"is_named":true}}',
    ),
    (
        SentFork(AT, "r", "x", None, None, {"s": Signal("go", (1, 2)), "v": Written("[7]")}, is_named=False),
        "fork",
        f'{{"format":2,"at":{_AT},"origin":"r","run":"x","before":null,"data":null,"steps":{{"s":{{"signal":"go","data":'
        '"{\\"~tuple\\":[1,2]}"},"v":{"value":"[7]"}},"is_named":false}',
    ),
    (SentPause(AT, "job"), "pause", f'{{"format":2,"at":{_AT},"function":"job"}}'),
    (SentResume(AT, "job"), "resume", f'{{"format":2,"at":{_AT},"function":"job"}}'),
    (
        SentBackfill(AT, "job", AT, AT),
        "backfill",
        f'{{"format":2,"at":{_AT},"function":"job","after":{_AT},"before":{_AT}}}',
    ),
    (
        SentSchedule(AT, "nightly", "job", "0 1 * * *", "UTC", "last", {"n": 1}, 2.5),
        "schedule",
        f'{{"format":2,"at":{_AT},"id":"nightly","function":"job","cron":"0 1 * * *","tz":"UTC","missed":"last",'
        '"data":"{\\"n\\":1}","jitter":2.5}',
    ),
    (SentUnschedule(AT, "nightly"), "unschedule", f'{{"format":2,"at":{_AT},"id":"nightly"}}'),
    (SentFlush(AT, "job", '"k"'), "flush", f'{{"format":2,"at":{_AT},"function":"job","key":"\\"k\\""}}'),
    (SentUnsend(AT, "id1"), "unsend", f'{{"format":2,"at":{_AT},"event":"id1"}}'),
]


@pytest.mark.parametrize(("sent", "kind", "body"), GOLDEN, ids=[kind for _, kind, _ in GOLDEN])
def test_a_message_is_written_and_read_as_ever(sent: Sent, kind: str, body: str) -> None:
    assert write_sent(sent) == (kind, body)
    assert read_sent(kind, body) == sent


def test_every_kind_of_message_is_written_down_here() -> None:
    assert {type(sent) for sent, _, _ in GOLDEN} == set(get_args(Sent))


@pytest.mark.parametrize(("sent", "kind", "body"), GOLDEN, ids=[kind for _, kind, _ in GOLDEN])
def test_a_damaged_message_is_refused_in_words(sent: Sent, kind: str, body: str) -> None:
    for damaged in (body[:-1], "[]", "{}", body.replace("~datetime", "datetime"), body.replace('"at"', '"to"')):
        with pytest.raises(ValueError, match=f"the body of a message of kind '{kind}' is not one"):
            read_sent(kind, damaged)


@pytest.mark.parametrize(
    ("body", "format"), [('{"format":7,"at":0}', "7"), ('{"at":0}', "unknown"), ("[1]", "unknown")]
)
def test_a_kind_of_a_later_release_is_refused_with_both_formats(body: str, format: str) -> None:
    with pytest.raises(ValueError, match=f"kind 'dance', .* its format is {format}, this version takes formats 1 to 2"):
        read_sent("dance", body)


@pytest.mark.parametrize(("sent", "kind", "body"), GOLDEN, ids=[kind for _, kind, _ in GOLDEN])
def test_a_known_kind_in_a_later_format_is_refused_with_both_formats(sent: Sent, kind: str, body: str) -> None:
    """What it says beyond the known format would be passed over in silence."""
    with pytest.raises(ValueError, match=f"kind '{kind}', .* its format is 3, this version takes formats 1 to 2"):
        read_sent(kind, json.dumps({**json.loads(body), "format": 3}))


@pytest.mark.parametrize(("sent", "kind", "body"), GOLDEN, ids=[kind for _, kind, _ in GOLDEN])
def test_whatever_stands_in_a_body_it_is_a_message_or_a_value_error(sent: Sent, kind: str, body: str) -> None:
    """An engine and a sender that look at messages expect no other error."""
    for other in _others(json.loads(body)):
        try:
            assert isinstance(read_sent(kind, json.dumps(other)), get_args(Sent))
        except ValueError as error:
            assert "a message" in str(error)


def _others(value: Any) -> Iterator[Any]:
    """Yield a JSON value with each of its parts left out, and with something odd in its place."""
    yield from (None, True, 1.5, 10**40, "x", "[1]", "{", "\ud800", [], [None], {}, {"event": 1}, {"a": [1]})
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for at, part in parts:
        rest = {key: one for key, one in value.items() if key != at} if isinstance(value, dict) else value[:at]
        yield rest
        for other in _others(part):
            yield {**rest, at: other} if isinstance(value, dict) else [*rest, other, *value[at + 1 :]]
