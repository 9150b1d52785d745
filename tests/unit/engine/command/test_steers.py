"""The verbs that steer: what is sent is taken by the engine that has the store open, or a later one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

import durable
from tests.proof.crashes.senders import waiting
from tests.support.commands import ODD, Command, Said, aside, filled, opened


async def taken(path: Path) -> None:
    """Wait until an engine has taken what was sent: before that nobody knows what comes of it."""
    while await asyncio.to_thread(waiting, path):
        await asyncio.sleep(0)


def test_runs_are_started_cancelled_and_opened_again_while_the_store_is_closed(path: Path, command: Command) -> None:
    id = command("start", path, "counts", '{"n": 1}').out.strip()
    assert command("start", path, "naps", "--id", "mine").out == "mine\n"
    assert command("start", path, "naps", "--id", "mine", "--json").value == {"id": "mine", "function_id": "naps"}
    assert command("cancel", path, "waiting") == command("retry", path, "gone") == Said(0, "", "")
    assert command("cancel", path, "parent", "--reason", "late", "--json").value == {"id": "parent", "reason": "late"}

    async def story(engine: durable.Engine) -> None:
        await engine.settled()
        assert await engine.result(id, 5) == {"count": 7, "text": (await engine.info(id)).output["text"]}
        assert (await engine.info("mine")).status == (await engine.info("gone")).status == "waiting"
        assert [(await engine.info(run)).reason for run in ("waiting", "parent")] == ["by hand", "late"]

    opened(path, story)


def test_an_engine_that_has_the_store_open_takes_it_at_once(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "x.db"

    async def story(engine: durable.Engine) -> None:
        await filled(engine)
        assert (await aside(command, "cancel", path, "waiting", "--reason", "enough")).status == 0
        with pytest.raises(durable.RunCancelled, match="enough"):
            await engine.result("waiting", 20)
        await taken(path)
        assert (await aside(command, "cancel", path, "waiting")).status == 1
        assert (await aside(command, "retry", path, "waiting", "--json")).value == {"id": "waiting"}
        await taken(path)
        assert (await aside(command, "retry", path, "waiting")).status == 1  # it waits again
        assert (await aside(command, "signal", path, "go", "[1]", "--json")).value == {"signal": "go"}
        assert await engine.result("waiting", 20) == [1]
        [id] = (await aside(command, "send", path, "shop/order", "{}", "--json")).value["ids"]
        assert (await aside(command, "result", path, f"{id}/fails", "--timeout", "20")).status == 1

    opened(path, story)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cancel none", "there is no run 'none'"),
        ("retry none", "there is no run 'none'"),
        ("why none", "there is no run 'none'"),
        ("fork none", "there is no run 'none'"),
        ("fork waiting --before none", "'none'"),
        ("fork waiting --set none=1", "'none'"),
        ("unsend none", "no event 'none' is still to come"),
        ("cancel gone", "run 'gone' has ended already"),
        ("retry waiting", "has not ended"),
        ("retry r\n", "there is no run"),
    ],
)
def test_what_the_store_shows_to_be_in_vain_is_status_1(path: Path, command: Command, line: str, words: str) -> None:
    said = command(*line.split(" ")[:1], path, *line.split(" ")[1:])
    assert (said.status, said.out, said.err.count("\n")) == (1, "", 1) and words in said.err
    assert waiting(path) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("start naps [1]", "must be a mapping"),
        ("start naps {} --id a/b", "'a/b'"),
        ("start naps {} --id gone~2", "'gone~2'"),
        ("start waits {} --id gone", "gone"),
        ("start", "the following arguments are required: FUNCTION"),
        ("send a/b {} --ts soon", "'soon' is no instant"),
        ("schedule naps @hourly --id a --jitter soon", "a duration cannot be 'soon'"),
        ("backfill naps --after soon --before 2030-01-01", "'soon' is no instant"),
        ("fork waiting --set ask", "is no STEP=JSON"),
        ("fork waiting --set ask=x=y", "is no STEP=JSON"),
        ("fork waiting --data 7", "7"),
        ("fork waiting --id a/b", "'a/b'"),
        ("cancel", "the following arguments are required: RUN"),
    ],
)
def test_wrong_use_is_status_2_and_sends_nothing(path: Path, command: Command, line: str, words: str) -> None:
    verb, *rest = line.split()
    said = command(verb, path, *rest)
    assert (said.status, said.out, said.err.count("\n")) == (2, "", 1) and words in said.err
    assert waiting(path) == []


@pytest.mark.parametrize("line", ["start f", "cancel r", "retry r", "unsend e", "fork r", "send e", "signal s"])
def test_a_store_that_is_none_is_status_3_and_is_not_made(tmp_path: Path, command: Command, line: str) -> None:
    verb, word = line.split()
    said = command(verb, tmp_path / "none.db", word)
    assert (said.status, said.err.count("\n")) == (3, 1) and list(tmp_path.iterdir()) == []


def test_an_event_may_be_sent_for_later(path: Path, command: Command) -> None:
    [id] = command("send", path, "shop/order", "--ts", "2099-01-01", "--id", "later", "--json").value["ids"]

    async def story(engine: durable.Engine) -> None:
        await engine.settled()
        with pytest.raises(KeyError):
            await engine.info(f"{id}/fails")

    opened(path, story)


def test_an_event_that_is_still_to_come_can_be_taken_back(path: Path, command: Command) -> None:
    [id] = command("send", path, "shop/order", "--ts", "2099-01-01", "--json").value["ids"]
    assert command("unsend", path, id) == Said(0, "", "")

    async def story(engine: durable.Engine) -> None:
        await taken(path)
        assert not await engine.unsend(id)
        assert (await aside(command, "unsend", path, id)).status == 1
        [id2] = await engine.send("shop/order", ts=datetime(2099, 1, 1, tzinfo=UTC))
        assert (await aside(command, "unsend", path, id2, "--json")).value == {"id": id2}

    opened(path, story)


def test_a_run_is_forked_with_other_outcomes(path: Path, command: Command) -> None:
    command("cancel", path, "waiting")
    begun = command("fork", path, "waiting", "--before", "answer", "--set", 'ask="="', "--id", "again")
    assert begun == Said(0, "again\n", "")
    line = [path, ODD, "--set", "count=8", "--set", "count=9", "--data", '{"n": 2}', "--json"]
    other = command("fork", *line).value
    assert other["forked_from"] == ODD

    async def story(engine: durable.Engine) -> None:
        await engine.settled()
        info = await engine.info("again")
        assert (info.forked_from, info.steps["ask"].output, info.status) == ("waiting", "=", "waiting")
        assert (await engine.result(other["id"], 5))["count"] == 9  # the last one counts
        assert (await engine.info(other["id"])).event.data == {"n": 2}
        await engine.send_signal("go", 1)
        assert await engine.result("again", 5) == 1

    opened(path, story)
    received = ["--set", 'answer={"name": "go", "data": "from here"}']
    run = command("fork", path, "again", *received).out.strip()

    async def ended(engine: durable.Engine) -> None:
        assert await engine.result(run, 5) == "from here"

    opened(path, ended)


def test_why_says_what_a_run_waits_for(path: Path, command: Command) -> None:
    said = command("why", path, "waiting")
    assert said.status == 0 and "'answer'" in said.out and "signal 'go'" in said.out
    value = command("why", path, "waiting", "--json").value
    [wait] = value["waits"]
    assert value["text"] in (said.out, said.out.rstrip("\n"))
    assert (wait["step"], wait["kind"], wait["signal"]) == ("answer", "wait_for_signal", "go")
    assert wait["until"].endswith("+00:00")
    assert command("why", path, "gone", "--json").value["waits"] == []
