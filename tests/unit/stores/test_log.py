"""A log that raises harms nobody: whatever breaks in it, the rules' own paths go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import Context, DictStore, Engine, StoreError
from durable.stores.file.inbox import Inbox, Message
from durable.stores.log import Log
from durable.testing import Lab

LOGGER = logging.getLogger("durable")


class Broken(logging.Filter):
    """A filter as people write it for a web server: it asks for what is there inside a request only."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise LookupError("no request here")


class Refusing(logging.Handler):
    """A handler that does not catch what goes wrong in it."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ConnectionError("the log server is gone")


class Uncounted(logging.Handler):
    """A handler that takes everything; `lines` are what it took."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _raise(*_: Any) -> bool:
    raise RuntimeError("not configured")


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Iterator[Uncounted]:
    """Show every line of "durable" to a handler of its own; undo whatever a test does to the logger."""
    handler = Uncounted()
    for name, value in (("handlers", [handler]), ("filters", []), ("propagate", False), ("level", logging.DEBUG)):
        monkeypatch.setattr(LOGGER, name, value)
    LOGGER.manager._clear_cache()  # type: ignore[attr-defined]
    yield handler
    LOGGER.manager._clear_cache()  # type: ignore[attr-defined]


def filter_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    LOGGER.addFilter(Broken())


def handler_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    LOGGER.handlers.insert(0, Refusing())


def filter_of_a_handler_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    LOGGER.handlers[0].addFilter(Broken())


def level_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOGGER, "isEnabledFor", _raise, raising=False)


BREAKING = [filter_raises, handler_raises, filter_of_a_handler_raises, level_raises]


# Scenes in which the engine has something to say. Each returns what can be seen of it.


async def a_filter_fails(folder: Path) -> object:
    @durable.function(durable.TriggerEvent("paid", if_exp="event.data.n > 'x'"))
    async def never(ctx: Context) -> None: ...

    @durable.function("paid", idempotency="event.data.n > 'x'", cancel=durable.Cancel("stop", if_exp="async.data > 1"))
    async def waits(ctx: Context) -> Any:
        first = ctx.step.wait_for_event("a", event="go", timeout="1h", if_exp="async.data.n > 'x'")
        event = await ctx.step.wait_for_event("b", event="go", timeout="1h")
        assert event is not None
        return event.data, await first

    async with Lab([never, waits]) as lab:
        [run] = await lab.send("paid", {"n": 1})
        await lab.send("stop", {"n": 1})
        await lab.send("go", {"n": 1})
        return await lab.result(run)


async def a_scheduled_filter_fails(folder: Path) -> object:
    @durable.function(durable.TriggerEvent("late", if_exp="event.data.n > 'x'"))
    async def never(ctx: Context) -> None: ...

    @durable.function("late")
    async def other(ctx: Context) -> str:
        return ctx.event.name

    async with Lab([never, other]) as lab:
        slept = await lab.start(sleeps)
        await lab.send("late", {"n": 1}, ts=lab.clock.now().replace(hour=1))
        await lab.advance("1h")
        return [info.status for info in await lab.engine.runs(function=other)], await slept.result()


@durable.function
async def sleeps(ctx: Context) -> str:
    await ctx.step.sleep("s", "1h")
    return "slept"


async def a_function_is_missing(folder: Path) -> object:
    store = DictStore()
    async with Lab([sleeps], store=store) as lab:
        await lab.start(sleeps, id="r")
    async with Lab([], store=store) as lab:
        return (await lab.engine.info("r")).status


async def the_code_has_changed(folder: Path) -> object:
    asked = ["a", "b", "c"]

    @durable.function
    async def changes(ctx: Context) -> list[str]:
        for id in asked:
            await ctx.step.run(id, str)
        await ctx.step.sleep("s", "1h")
        return asked

    async with Lab([changes]) as lab:
        run = await lab.start(changes)
        asked[:] = ["c"]
        await lab.crash()
        return await lab.result(run)


async def a_task_is_left_behind(folder: Path) -> object:
    @durable.function
    async def leaves(ctx: Context) -> str:
        task = asyncio.create_task(ctx.step.sleep("s", "1h"))
        await asyncio.sleep(0)
        return task.get_name() and "left"

    async with Lab([leaves]) as lab:
        return await lab.result(await lab.start(leaves))


async def a_function_logs(folder: Path) -> object:
    @durable.function
    async def logs(ctx: Context) -> str:
        ctx.logger.info("begun with %s", ctx.event.data)
        ctx.logger.critical("enabled for %s", ctx.logger.isEnabledFor(logging.INFO))
        try:
            await ctx.step.run("a", ctx.logger.error, "in a handler")
            raise KeyError("k")
        except KeyError:
            ctx.logger.exception("caught")
        return "logged"

    async with Lab([logs]) as lab:
        return await lab.result(await lab.start(logs))


async def an_annotation_does_not_resolve(folder: Path) -> object:
    async def handler() -> NotThere:  # type: ignore[name-defined] # noqa: F821
        return 1

    @durable.function
    async def calls(ctx: Context) -> Any:
        return await ctx.step.run("a", handler)

    async with Lab([calls]) as lab:
        return await lab.result(await lab.start(calls))


class Failing(DictStore):
    """A store that fails from its third batch on."""

    async def append(self, entries: Any) -> None:
        if len(self.mapping) > 3:
            raise OSError("no space left")
        await super().append(entries)


async def the_store_fails(folder: Path) -> object:
    @durable.function
    async def steps(ctx: Context) -> None:
        for number in range(10):
            await ctx.step.run(f"{number}", str)

    async with Engine([steps], store=Failing()) as engine:
        with pytest.raises(StoreError) as failure:
            await engine.invoke(steps)
        return str(failure.value)


async def a_message_is_refused(folder: Path) -> object:
    path = folder / "x.db"
    async with Engine([sleeps], store=path):
        pass
    Inbox(str(path)).put([Message("1", "no such kind", "null")])
    async with Engine([sleeps], store=path) as engine:
        return await engine.send("nobody hears it") != []


SCENES = [
    a_filter_fails,
    a_scheduled_filter_fails,
    a_function_is_missing,
    the_code_has_changed,
    a_task_is_left_behind,
    a_function_logs,
    an_annotation_does_not_resolve,
    the_store_fails,
    a_message_is_refused,
]
Scene = Callable[[Path], Awaitable[object]]


@pytest.mark.parametrize("break_it", BREAKING)
@pytest.mark.parametrize("scene", SCENES)
def test_a_log_that_raises_changes_nothing(
    scene: Scene,
    break_it: Callable[[pytest.MonkeyPatch], None],
    whole: Uncounted,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is seen of a run is what is seen beside a log that works; stderr has one line an engine."""
    (tmp_path / "works").mkdir()
    (tmp_path / "raises").mkdir()
    monkeypatch.setattr("durable.functions.annotations._warned", set())
    expected = asyncio.run(scene(tmp_path / "works"))  # type: ignore[arg-type]
    assert whole.lines, "this scene has nothing to say: it tests nothing"
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("durable.functions.annotations._warned", set())
    monkeypatch.setattr("durable.functions.annotations._LOG", Log(LOGGER))
    break_it(monkeypatch)
    assert asyncio.run(scene(tmp_path / "raises")) == expected  # type: ignore[arg-type]
    said = capsys.readouterr().err.splitlines()
    assert said
    assert all("the log fails" in line and "this is said once" in line for line in said)
    assert len(said) <= 2  # of the two engines that a scene has at the most


def test_what_a_log_raises_is_said_with_the_line_that_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no text either")

    class Logger:
        def isEnabledFor(self, level: int) -> bool:
            return True

        def log(self, level: int, *args: Any, **kwargs: Any) -> None:
            raise Mute

    log = Log(Logger())
    log.warning("run %r is late", "r")
    log.error("and another")
    [line] = capsys.readouterr().err.splitlines()
    assert "<a Mute>" in line and "run %r is late" in line


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_a_stream_to_say_it_on_nothing_is_said(
    stream: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A daemon may have no stderr, or a pipe that nobody reads any more; on stdout it would be somebody else's."""
    if stream == "closed":
        stream = open("/dev/null", "w")  # noqa: SIM115
        stream.close()
    monkeypatch.setattr("sys.stderr", stream)
    Log(None).warning("a line")
    assert capfd.readouterr() == ("", "")


def test_a_line_is_shown_as_its_callers_own(whole: Uncounted) -> None:
    """%(filename)s and %(lineno)d are of use only where they name who said it, not who passed it on."""
    seen: list[str] = []
    whole.emit = lambda record: seen.append(record.filename)  # type: ignore[method-assign]
    log = Log(LOGGER)
    log.warning("plain")
    log.warn_once("this", "once")
    log.warn_once("this", "once")
    Log(log).info("through another")
    assert seen == ["test_log.py"] * 3


def test_what_was_warned_of_is_remembered_for_the_last_thousand(whole: Uncounted) -> None:
    log = Log(LOGGER)
    for number in [*range(1_001), 1, 1_000, 0]:
        log.warn_once(f"{number}", "about %d", number)
    assert len(whole.lines) == 1_002 and whole.lines[-1] == "about 0"
