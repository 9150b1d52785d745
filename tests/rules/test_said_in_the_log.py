"""What a run says in the log: `[run id] text`, whatever is in the id, and each record tells whose it is."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import durable
from durable import Context, Engine, StepOptions
from durable.testing import Lab
from tests.support.logged import is_usual
from tests.support.wordings import SHAPES

LOGGER = logging.getLogger("durable")
KEPT = {name: shape.plain for name, shape in SHAPES.items() if shape.refused is None}


class Lines(logging.Handler):
    """Keeps records; like rich's handler, it does not catch what goes wrong while a line is formatted."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if is_usual(record):
            return
        self.lines.append(record.getMessage())
        self.records.append(record)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    handler = Lines()
    for name, value in (("handlers", [handler]), ("propagate", False), ("level", logging.DEBUG)):
        monkeypatch.setattr(LOGGER, name, value)
    LOGGER.manager._clear_cache()  # type: ignore[attr-defined]
    yield handler
    LOGGER.manager._clear_cache()  # type: ignore[attr-defined]


@durable.function
async def logs(ctx: Context) -> None:
    ctx.logger.info("plain 100% {x}")
    ctx.logger.info("%s of %d", "one", 2)
    ctx.logger.info("%(a)s", {"a": "named"})
    ctx.logger.warning(KeyError("an error"))
    ctx.logger.log(logging.ERROR, "%r", None, exc_info=False)


@pytest.mark.parametrize("shape", KEPT)
def test_a_line_reads_run_id_and_text(shape: str, log: Lines) -> None:
    """Nothing in the id is formatted, and it stays on its line; the record has it as it is."""
    id = KEPT[shape]
    asyncio.run(_run(logs, id))
    head = log.lines[0].removesuffix("plain 100% {x}")
    assert head.startswith("[") and head.endswith("] ") and head.isprintable()
    if id.isprintable():
        assert head == f"[{id}] "
    said = ["plain 100% {x}", "one of 2", "named", "'an error'", "None"]
    assert log.lines == [head + line for line in said]
    for record in log.records:
        assert (record.run_id, record.function_id, record.step, record.attempt) == (id, "logs", None, 0)  # type: ignore[attr-defined]
        assert record.filename == "test_said_in_the_log.py" and record.funcName == "logs"


async def _run(function: durable.Function[Any], id: str) -> None:
    async with Engine([function]) as engine:
        await (await engine.start(function, id=id)).result()


def test_escapes_are_spelled_and_the_rest_is_as_it_is(log: Lines) -> None:
    asyncio.run(_run(logs, "ž\n\x1b[31m\\n \u202e😀"))
    assert log.lines[0] == r"[ž\n\x1b[31m\n \u202e😀] plain 100% {x}"


def test_in_a_handler_the_record_names_step_and_try(log: Lines) -> None:
    """In the function: None, and the function's attempt; also in another one's handler it is the run that counts."""
    tried: list[int] = []

    @durable.function(retries=1)
    async def steps(ctx: Context) -> None:
        async def handler() -> None:
            tried.append(1)
            ctx.logger.info("in a step")
            if len(tried) == 1:
                raise ValueError("once")

        await ctx.step.run(StepOptions("a", retries=1), handler)
        ctx.logger.info("outside")
        if ctx.attempt == 0:
            raise ValueError("again")

    async def story() -> None:
        async with Lab([steps]) as lab:
            await lab.result(await lab.start(steps, id="r"))

    asyncio.run(story())
    seen = [
        (record.getMessage(), record.step, record.attempt)  # type: ignore[attr-defined]
        for record in log.records
        if record.getMessage().startswith("[r]")
    ]
    said = [("in a step", "a", 0), ("in a step", "a", 1), ("outside", None, 0), ("outside", None, 1)]
    assert seen == [(f"[r] {text}", *at) for text, *at in said]


def test_a_users_own_extra_is_kept_and_wins(log: Lines) -> None:
    @durable.function
    async def extra(ctx: Context) -> None:
        ctx.logger.info("a", extra={"tenant": 7, "step": "mine"})

    asyncio.run(_run(extra, "r"))
    [record] = log.records
    assert (record.tenant, record.step, record.run_id) == (7, "mine", "r")  # type: ignore[attr-defined]


def test_what_reads_markup_is_told_that_there_is_none(log: Lines) -> None:
    """rich takes `[etl-1]` for a tag and shows nothing of it; a line of one's own may still ask for it."""

    @durable.function
    async def marks(ctx: Context) -> None:
        ctx.logger.info("a")
        ctx.logger.info("[b]", extra={"markup": True})

    asyncio.run(_run(marks, "r"))
    assert [record.markup for record in log.records] == [False, True]  # type: ignore[attr-defined]


def test_a_record_can_be_sent_to_another_process(log: Lines) -> None:
    asyncio.run(_run(logs, "100%"))
    for record in log.records:
        assert pickle.loads(pickle.dumps(record)).getMessage() == record.getMessage()
