"""The sender: what is sent from outside stands in the store's inbox, whole and once, or is refused at the call."""

from __future__ import annotations

import asyncio
import io
import os
import sqlite3
import stat
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durable
from durable.engine.command import main
from durable.engine.messages import SentSignal, read_sent
from durable.engine.opened import inside
from tests.proof.crashes import run
from tests.proof.crashes.senders import beside, copied, made, mortals, opened, openings, sent, waiting

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path / "x.db")


@durable.function("shop/*")
async def seen(ctx: durable.Context) -> list[Any]:
    """Return what its event was."""
    event = ctx.event
    return [event.name, event.data, event.id, event.ts, event.v]


@durable.function
async def signalled(ctx: durable.Context) -> Any:
    """Return what its signal brought."""
    signal = await ctx.step.wait_for_signal("s", signal="go", timeout="1d")
    return signal and signal.data


async def outputs(path: Path) -> dict[str, Any]:
    async with opened(path, seen) as engine:
        return {info.id: info.output for info in await engine.runs()}


# What arrives.


def test_what_was_sent_while_the_store_was_shut_arrives_at_opening(path: Path) -> None:
    """Its run derives from the id that was returned, its event has the time of the call."""
    began = datetime.now(UTC)
    [first] = sent(path, "shop/paid", data={"when": began, "tuple": (1, b"x")})
    given = durable.Event("shop/sent", {"n": 1}, "mine", datetime(2020, 1, 1, tzinfo=UTC), "v1")
    second, third = sent(path, [given, durable.Event("shop/left")])
    ended = datetime.now(UTC)
    found = asyncio.run(outputs(path))
    assert set(found) == {f"{first}/seen", f"{second}/seen", f"{third}/seen"}
    name, data, id, ts, v = found[f"{first}/seen"]
    assert (name, data, id, v) == ("shop/paid", {"when": began, "tuple": (1, b"x")}, first, None)
    assert began <= ts <= ended
    assert found[f"{second}/seen"] == ["shop/sent", {"n": 1}, "mine", given.ts, "v1"]
    assert waiting(path) == []


def test_what_waits_in_the_inbox_comes_before_what_is_sent_to_the_engine_itself(path: Path) -> None:
    """An engine has taken it when it is open."""

    async def story() -> list[str]:
        async with durable.Engine([seen], store=path) as engine:
            later = await engine.send("shop/later")
            return [later[0], *[info.event.name for info in await engine.runs()]]

    sent(path, "shop/sooner")
    assert asyncio.run(story())[1:] == ["shop/later", "shop/sooner"]


def test_an_event_with_a_ts_to_come_is_delivered_then(path: Path) -> None:
    """R21"""
    later = datetime.now(UTC) + timedelta(days=1)
    [id] = sent(path, "shop/paid", ts=later)

    async def scheduled() -> list[str]:
        async with opened(path, seen) as engine:
            assert await engine.runs() == []
            return list(inside(engine, "test").state.scheduled)

    assert asyncio.run(scheduled()) == [id]


def test_an_id_that_was_seen_in_the_last_24_hours_is_dropped(path: Path) -> None:
    """R21: among what is sent from outside, and between that and the engine's own."""
    first, _ = sent(path, durable.Event("shop/paid", id="one"), durable.Event("shop/paid", id="one"))

    async def story() -> list[str]:
        async with opened(path, seen) as engine:
            assert await engine.send("shop/paid", id="one") == [first]
            await engine.send("shop/paid", id="two")
        sent_ids.extend(await asyncio.to_thread(sent, path, durable.Event("shop/paid", id="two")))
        async with opened(path, seen) as engine:
            return [info.id for info in await engine.runs()]

    sent_ids: list[str] = []
    found = asyncio.run(story())
    assert len(found) == 2 and f"{first}/seen" in found and f"{sent_ids[0]}/seen" not in found


def test_a_signal_reaches_the_run_that_waits_for_it_and_is_not_kept_for_another(path: Path) -> None:
    """R23"""

    async def story() -> list[Any]:
        async with durable.Sender(path) as sender:
            await sender.send_signal("go", "nobody waits")
            async with opened(path, signalled) as engine:
                run = await engine.start(signalled)
                await engine.settled()
            await sender.send_signal("go", {"yes": 1})
        async with opened(path, signalled) as engine:
            return [await (await engine.run(run.id)).result(), waiting(path)]

    assert asyncio.run(story()) == [{"yes": 1}, []]


def test_data_may_be_as_deep_as_for_the_engine(path: Path) -> None:
    deep: Any = 1
    for _ in range(197):
        deep = [deep]
    [id] = sent(path, "shop/paid", data={"deep": deep})
    assert asyncio.run(outputs(path))[f"{id}/seen"][1] == {"deep": deep}


# What is refused at the call.


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (durable.Event("durable/mine"), ValueError),
        (durable.Event("shop/*"), ValueError),
        (durable.Event("a", {"x": object()}), durable.CodecError),
        (durable.Event("a", {"x": "x" * 600_000}), durable.LimitError),
        (7, TypeError),
        ([durable.Event("a"), "b"], TypeError),
    ],
)
def test_what_an_engine_would_refuse_is_refused_at_the_call(path: Path, event: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        sent(path, event)
    assert beside(path) == {"", ".lock"}


def test_a_signal_that_an_engine_would_refuse_is_refused_at_the_call(path: Path) -> None:
    async def signal(name: Any, data: Any) -> None:
        async with durable.Sender(path) as sender:
            await sender.send_signal(name, data)

    for name, data, error in ((7, 1, TypeError), ("", 1, ValueError), ("s", object(), durable.CodecError)):
        with pytest.raises(error):
            asyncio.run(signal(name, data))
    assert beside(path) == {"", ".lock"}


def test_a_sender_refuses_a_path_where_no_store_is_and_leaves_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(durable.StoreError, match=r"no store at .*typo.db"):
        sent(tmp_path / "typo.db", "a")
    (tmp_path / "notes.txt").write_text("notes " * 1000)
    with pytest.raises(durable.StoreCorruptError, match=r"notes.txt"):
        sent(tmp_path / "notes.txt", "a")
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(durable.StoreError, match=r"other.db.* something else"):
        sent(tmp_path / "other.db", "a")
    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "other.db"]


def test_a_sender_that_is_not_open_opens_what_it_needs_for_each_call(path: Path) -> None:
    async def story() -> None:
        sender, before = durable.Sender(path), threading.active_count()
        [first] = await sender.send("shop/a")
        async with sender:
            with pytest.raises(RuntimeError, match="open already"):
                await sender.open()
            await sender.send("shop/b")
        await sender.close()
        await sender.send_signal("nobody waits")
        assert len(waiting(path)) == 3 and first in waiting(path)[0].body
        while threading.active_count() > before:  # a thread ends soon after its last task
            await asyncio.sleep(0)

    asyncio.run(story())


_FORK = """
import asyncio, os, sys, warnings, durable

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads

async def main():
    async with durable.Sender(sys.argv[1]) as sender:
        await sender.send("a")
        child = os.fork()
        if not child:
            refused = 0
            for call in (sender.send("a"), sender.close()):
                try:
                    call.send(None)
                except RuntimeError as error:
                    refused += "forked child" in str(error)
            os._exit(refused)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        await sender.send("a")

asyncio.run(main())
"""


@posix
def test_a_sender_refuses_a_forked_child_and_its_parent_goes_on(path: Path) -> None:
    assert run(_FORK, path) == (0, "2\n")
    assert len(waiting(path)) == 2


# Who may write there.


@posix
def test_an_inbox_has_the_rights_of_its_store_so_that_the_engine_can_write_to_it(path: Path) -> None:
    path.chmod(0o660)
    sent(path, "a")
    assert stat.S_IMODE(os.stat(f"{path}.inbox").st_mode) == 0o660


# Senders that are killed.

_SENDER = """
import asyncio, durable

async def main():
    async with durable.Sender(sys.argv[1]) as sender:
        await sender.send([durable.Event("shop/paid", {"n": n}) for n in range(3)])

asyncio.run(main())
"""


@posix
def test_a_sender_killed_at_any_instant_has_sent_all_of_a_call_or_nothing(path: Path) -> None:
    """The inbox that it leaves goes on working, for others and for the engine."""
    number, counts = 1, []
    with mortals(_SENDER) as died:
        while True:
            store = copied(path, f"{number}.db")
            is_dead = died(store, number)
            sent(store, "shop/after")
            asyncio.run(outputs(store))
            counts.append(len(openings(store)))
            if not is_dead:
                break
            number += 1
    assert number > 6
    assert counts == [1] * (number - 1) + [4]


# The command line.


def test_the_command_line_sends_an_event_and_prints_its_id(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", str(path), "shop/paid", '{"order": 7}', "--id", "mine"]) == 0
    id = capsys.readouterr().out.strip()
    found = asyncio.run(outputs(path))
    assert list(found) == [f"{id}/seen"] and found[f"{id}/seen"][:3] == ["shop/paid", {"order": 7}, "mine"]
    assert main(["show", str(path), f"{id}/seen"]) == 0


def test_the_command_line_sends_a_signal(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["signal", str(path), "go", "[1, 2]"]) == 0
    assert main(["signal", str(path), "go"]) == 0
    assert capsys.readouterr().out == ""
    found = [read_sent(message.kind, message.body) for message in waiting(path)]
    assert [(one.signal, one.data) for one in found if isinstance(one, SentSignal)] == [("go", [1, 2]), ("go", None)]


def test_the_command_line_reads_data_from_the_standard_input(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"order": "x"}'))
    assert main(["send", str(path), "shop/paid", "-"]) == 0
    assert [output[1] for output in asyncio.run(outputs(path)).values()] == [{"order": "x"}]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["send", "typo.db", "a"], 3, "no store at"),
        (["signal", "typo.db", "a"], 3, "no store at"),
        (["send", "x.db", "a", "{order: 7}"], 2, "the data are not JSON"),
        (["send", "x.db", "a", "[7]"], 2, "must be a mapping"),
        (["send", "x.db", "durable/a"], 2, "the runtime's own"),
        (["send", "x.db", "a", "--id", ""], 2, "id of event"),
        (["signal", "x.db", ""], 2, "must not be empty"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    command, name, *rest = arguments
    assert main([command, str(path.parent / name), *rest]) == status
    assert said in capsys.readouterr().err
    assert beside(path) == {"", ".lock"}
