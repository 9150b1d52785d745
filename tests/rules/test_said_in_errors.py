"""What errors say, whatever characters are in it, never breaks a run, an engine, a store or a listing. R31

And the doors that stand in another process: the command line, whose arguments are bytes, and the Sender.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, FileStore, LimitError, RunCancelled, RunFailed, Sender, Store
from durable.engine.command import main
from durable.stores.file.store import FileReader
from durable.stores.store import RunQuery
from durable.testing import Lab
from tests.support.wordings import SHAPES, says


def with_note(text: str) -> Exception:
    error = ValueError("noted")
    error.add_note(text)
    return error


def with_cause(text: str) -> Exception:
    error = ValueError("caused")
    error.__cause__ = KeyError(text)
    return error


ERRORS: dict[str, Callable[[str], BaseException]] = {
    "a message": ValueError,
    "a key": KeyError,
    "a note": with_note,
    "a cause": with_cause,
    "a group's message": lambda text: ExceptionGroup(str.__str__(text) or "-", [ValueError("a member")]),
    "a member of a group": lambda text: ExceptionGroup("several", [ValueError(text)]),
    "a class": lambda text: type(str.__str__(text).replace("\0", "") or "-", (Exception,), {})("of a class"),
    "a file's name": lambda text: OSError(2, "not found", text),
    "an error of ours": durable.NonRetriableError,
    "a step's error": lambda text: durable.StepError(text, text, text, text),
}
ODDEST = [name for name in SHAPES if SHAPES[name].refused is not LimitError or name == "a megabyte"]


@pytest.mark.parametrize("shape", ODDEST)
@pytest.mark.parametrize("error", ERRORS)
def test_a_run_fails_with_its_error_whatever_that_says(error: str, shape: str, tmp_path: Path) -> None:
    """In a step and in the function: the engine goes on, the store opens again, and whoever looks sees the failure."""
    text = SHAPES[shape].text

    def fail() -> None:
        raise ERRORS[error](text)

    @durable.function(retries=0)
    async def fails(ctx: Context) -> None:
        if ctx.event.data["where"] == "step":
            await ctx.step.run("s", fail)
        fail()

    async def story(store: Store) -> None:
        async with Engine([fails, says], store=store) as engine:
            for where in ("step", "function"):
                run = await engine.start(fails, {"where": where}, id=where)
                with pytest.raises(RunFailed):
                    await run.result()
            assert await engine.invoke(says, {"text": "alive"}) == "alive"
            before = await engine.runs()
        rows = await found(store)
        assert len(rows) == 3 and all((row.error or "").encode() is not None for row in rows)
        async with Engine([fails, says], store=store) as engine:
            assert await engine.runs() == before
            assert [info.status for info in before] == ["completed", "failed", "failed"]

    for store in (DictStore(), FileStore(tmp_path / "s.db", durability="none")):
        asyncio.run(story(store))


async def found(store: Store) -> list[Any]:
    await store.open()
    try:
        return await store.find(RunQuery())
    finally:
        await store.close()


def test_halves_of_a_pair_are_spelled_where_a_store_shows_a_run() -> None:
    """The error itself has them as they were, or spelled the same."""

    @durable.function(retries=0)
    async def fails(ctx: Context) -> None:
        raise ValueError(f"unknown item {ctx.event.data['name']}")

    async def story() -> None:
        store = DictStore()
        async with Engine([fails], store=store) as engine:
            run = await engine.start(fails, {"name": "\ud83d \ud83d\ude00"})
            with pytest.raises(RunFailed) as caught:
                await run.result()
            spelled = r"unknown item \ud83d \ud83d\ude00"
            assert caught.value.error.message in ("unknown item \ud83d \ud83d\ude00", spelled)
        [row] = await found(store)
        assert row.error == r"ValueError: unknown item \ud83d \ud83d\ude00"

    asyncio.run(story())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_reason_is_kept_or_refused(shape: str, tmp_path: Path) -> None:
    """R27: it is a text of up to 16 KiB; None is "by hand"."""
    text = SHAPES[shape]

    @durable.function
    async def sleeps(ctx: Context) -> None:
        await ctx.step.sleep("s", "1d")

    async def story(store: Store) -> None:
        async with Engine([sleeps], store=store) as engine:
            run = await engine.start(sleeps, id="r")
            await engine.settled()
            is_short = len(text.plain) < 2_000
            refused = text.refused if not is_short or (text.plain and text.refused is ValueError) else None
            if refused is not None:
                with pytest.raises(refused, match="the reason of a cancel"):
                    await run.cancel(text.text)
                assert (await run.info()).status == "waiting"
                assert await run.cancel()
            else:
                assert await engine.cancel("r", text.text)
            with pytest.raises(RunCancelled) as caught:
                await run.result()
            assert caught.value.reason == ("by hand" if refused else text.plain) and type(caught.value.reason) is str
        [row] = await found(store)
        assert row.error == caught.value.reason

    for store in (DictStore(), FileStore(tmp_path / "s.db", durability="none")):
        asyncio.run(story(store))


@pytest.mark.parametrize("bad", [7, b"why", ["why"]])
def test_what_is_no_reason_is_refused(bad: Any) -> None:
    async def story() -> None:
        async with Engine([says]) as engine:
            with pytest.raises(TypeError, match="the reason of a cancel must be a string"):
                await engine.cancel((await engine.start(says)).id, bad)

    asyncio.run(story())


# A Sender.


@durable.function("e/*", id="hears")
async def hears(ctx: Context) -> Any:
    return [ctx.event.name, ctx.event.id, ctx.event.v, ctx.event.data]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store that is there."""

    async def made() -> None:
        async with Engine([], store=FileStore(tmp_path / "s.db", durability="none")):
            pass

    asyncio.run(made())
    return tmp_path / "s.db"


async def taken(path: Path) -> list[Any]:
    """Open the store, take what waits in its inbox, and return what came of it."""
    async with Engine([hears], store=FileStore(path, durability="none")) as engine:
        await engine.settled()
        return [info.output for info in await engine.runs()]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_sent_from_another_process_is_kept_or_refused_there(shape: str, path: Path) -> None:
    """Name, id, v and signal; what is refused leaves nothing in the inbox."""
    text = SHAPES[shape]
    name = "e/" + (text.plain if text.refused else text.plain[:1_022])

    async def story() -> None:
        async with Sender(path) as sender:
            for call in (
                lambda: sender.send(name),
                lambda: sender.send("e/x", id=text.text),
                lambda: sender.send(durable.Event("e/y", {"text": text.plain}, v=text.text)),
                lambda: sender.send_signal(text.text),
            ):
                if text.refused is None:
                    await call()
                elif text.plain:
                    with pytest.raises(text.refused):
                        await call()
        outputs = await taken(path)
        if text.refused is None:
            names = [[name, None], ["e/x", text.plain], ["e/y", None]]
            assert [[output[0], output[1] if output[0] == "e/x" else None] for output in outputs][::-1] == names
            assert outputs[0][2:] == [text.plain, {"text": text.plain}]
        else:
            assert outputs == [] if text.plain else True

    asyncio.run(story())


# The command line.


def command(*arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a shell does, whose arguments are bytes."""
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": os.getcwd()}
    line = [os.fsencode(sys.executable), b"-m", b"durable", *[os.fsencode(one) for one in arguments]]
    return subprocess.run(line, capture_output=True, env=environment, timeout=60)


def test_bytes_that_are_no_text_are_refused_as_names_and_taken_as_values(path: Path) -> None:
    """One such message in the inbox was the end of the engine at every start."""
    store = os.fsencode(path)
    for arguments in ((b"send", store, b"e/\xff", b"{}"), (b"send", store, b"e/x", b"{}", b"--id", b"\xff")):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (2, b""), done
        assert b"holds half of a surrogate pair" in done.stderr and done.stderr.count(b"\n") == 1
    assert command(b"signal", store, b"\xff").returncode == 2
    assert command(b"send", store, b"e/x", b'{"text": "\xff"}').returncode == 0
    assert asyncio.run(taken(path)) == [["e/x", asyncio.run(only(path)), None, {"text": "\udcff"}]]
    for arguments, status in (
        ((b"runs", store, b"--function", b"\xff"), 2),
        ((b"runs", store, b"--event", b"\xff"), 2),
        ((b"show", store, b"\xff"), 2),
        ((b"runs", store, b"--limit", b"-1"), 2),
        ((b"runs", store + b"\xff"), 3),
    ):
        done = command(*arguments)
        assert done.returncode == status and b"Traceback" not in done.stderr, done


async def only(path: Path) -> str | None:
    async with FileReader(path) as reader:
        [row] = await reader.find(RunQuery())
        return row.id.partition("/")[0]


def test_json_may_hold_what_text_cannot(path: Path) -> None:
    """Any web client can send it: `"\\ud83d"` is plain JSON."""
    data = '{"name": "\\ud83d", "\\ud83d\\ude00": "\\ud83d\\ude00"}'
    assert main(["send", str(path), "e/x", data]) == 0
    [output] = asyncio.run(taken(path))
    assert output[3] == json.loads(data)


def test_a_store_whose_path_is_no_text_is_a_store(tmp_path: Path) -> None:
    """Paths are bytes; what stands for one in a string is taken for that."""
    path = tmp_path / os.fsdecode(b"caf\xe9\n.db")

    async def story() -> None:
        async with Engine([says], store=path) as engine:
            await engine.invoke(says)

    asyncio.run(story())
    done = command(b"runs", os.fsencode(path))
    assert done.returncode == 0 and b"says" in done.stdout, done
    with pytest.raises(ValueError, match="a store cannot be at"):
        Engine(store=str(tmp_path / "half \ud800.db"))


@pytest.mark.parametrize("shape", [name for name in SHAPES if SHAPES[name].refused is None])
def test_a_listing_has_one_line_for_a_run_whatever_its_id(
    shape: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No id forges a line, moves the cursor or breaks the listing; neither does an error."""
    id = SHAPES[shape].plain

    @durable.function(id=id, retries=0)
    async def fails(ctx: Context) -> None:
        await ctx.step.run(id, str)
        raise ValueError(f"{id}\ud800\x1b[31m")

    async def story() -> None:
        async with Engine([fails], store=FileStore(path, durability="none")) as engine:
            await engine.start(fails, id=id)
            await engine.settled()

    asyncio.run(story())
    assert main(["runs", str(path)]) == 0
    head, listed, end = capsys.readouterr().out.split("\n")
    assert head.isprintable() and listed.isprintable() and r"\ud800\x1b[31m" in listed and end == ""
    assert main(["show", str(path), id]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert all(line.isprintable() for line in lines)
    assert lines[0].startswith("run ") and " of " in lines[0] and "run completed" in lines[1]


def test_a_run_is_shown_on_a_terminal_that_knows_no_character_of_it(path: Path) -> None:
    async def story() -> None:
        async with Engine([says], store=FileStore(path, durability="none")) as engine:
            await engine.start(says, id="žluť 😀")

    asyncio.run(story())
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.getcwd()}
    line = [sys.executable, "-m", "durable", "runs", str(path)]
    done = subprocess.run(line, capture_output=True, env=environment, timeout=60)
    assert done.returncode == 0 and rb"\u017elu\u0165 \U0001f600" in done.stdout, done


def test_live_and_replayed_a_value_is_the_same_whatever_characters_it_has() -> None:
    """R3"""

    @durable.function
    async def keeps(ctx: Context) -> Any:
        kept = [await ctx.step.run("s", lambda text=shape.plain: text) for shape in SHAPES.values()]
        await ctx.step.sleep("z", 1)
        return kept

    async def story() -> None:
        async with Lab([keeps]) as lab:
            run = await lab.start(keeps)
            await lab.crash()
            assert await lab.result(run) == [shape.plain for shape in SHAPES.values()]
            assert lab.calls["s"] == len(SHAPES)

    asyncio.run(story())
