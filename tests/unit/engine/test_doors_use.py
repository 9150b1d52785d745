"""Wrong use at the doors of an engine: each option, each call from the wrong place, told at once and clearly."""

from __future__ import annotations

import asyncio
import functools
import inspect
import shelve
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

import durable
from durable import (
    Backoff,
    Context,
    DictStore,
    Engine,
    Event,
    FileStore,
    Limits,
    RunFailed,
    Sender,
    TriggerEvent,
    current_step,
)
from durable.functions.function import origin_of
from durable.testing import Lab
from tests.support.wordings import SHAPES, Odd, Word, says

# What an engine is equipped with.


class Incomplete:
    async def open(self) -> None: ...


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"store": {}}, TypeError, "store must be a path or a Store, not {} (dict), which has no open, append"),
        ({"store": 42}, TypeError, "store must be a path or a Store, not 42 (int)"),
        ({"store": b"x.db"}, TypeError, "store must be a path or a Store, not b'x.db' (bytes)"),
        ({"store": DictStore}, TypeError, "store must be a path or a Store, not the class DictStore: pass an instance"),
        ({"store": Incomplete()}, TypeError, "which has no append, unfinished, history, find, prune, close"),
        ({"store": False}, TypeError, "store must be a path or a Store, not False"),
        ({"store": ""}, ValueError, "a store cannot be at ''"),
        ({"store": ":memory:"}, ValueError, "use DictStore()"),
        ({"store": Odd("")}, ValueError, "a store cannot be at ''"),
        ({"clock": time.time}, TypeError, "clock must be a Clock, not <built-in function time>"),
        ({"clock": durable.testing.VirtualClock}, TypeError, "not the class VirtualClock"),
        (
            {"clock": 0},
            TypeError,
            "clock must be a Clock, not 0 (int), which has no now, call_at: None is the wall clock",
        ),
        ({"clock": SimpleNamespace(now=time.time, call_at=print)}, TypeError, "what now() of the clock gives must be"),
        ({"limits": {}}, TypeError, "limits must be a Limits, not {} (dict): write Limits(...)"),
        ({"limits": {"steps": 5}}, TypeError, "limits must be a Limits"),
        ({"limits": Limits}, TypeError, "limits must be a Limits"),
        ({"limits": 0}, TypeError, "limits must be a Limits, not 0"),
        (
            {"logger": "durable"},
            TypeError,
            "logger must be a logging.Logger, not 'durable' (str): pass logging.getLogger",
        ),
        ({"logger": SimpleNamespace(info=print, log=print)}, TypeError, "structlog, loguru"),
        ({"functions": [says, says.code]}, TypeError, "decorate it with @durable.function"),
        ({"functions": {"says": says}}, TypeError, "Engine takes functions, not 'says'"),
        ({"functions": 7}, TypeError, "Engine takes a list of functions, not 7"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_what_an_engine_cannot_be_equipped_with_is_refused_at_the_call(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Falsy ones too: only None is the default."""
    with pytest.raises(error) as caught:
        Engine(**options)
    assert words in str(caught.value), str(caught.value)


@pytest.mark.parametrize("bad", [[], (), "text", 7, set(), dict, MappingProxyType({}), frozenset()], ids=repr)
def test_a_dict_store_keeps_in_a_mapping_that_can_be_changed(bad: Any) -> None:
    with pytest.raises(TypeError, match="DictStore keeps in a mapping that can be changed"):
        DictStore(bad)


def test_a_shelve_is_such_a_mapping(tmp_path: Path) -> None:
    """What it holds names no class of the user's: it is read again where that is not there."""

    async def story() -> None:
        with shelve.open(str(tmp_path / "s")) as shelf:
            async with Engine([word], store=DictStore(shelf)) as engine:
                await (await engine.start(Word.ONE, {"text": 1}, id=Word.ONE)).result()
            assert b"wordings" not in b"".join(shelf.dict.values())
            async with Engine([word], store=DictStore(shelf)) as engine:
                assert await engine.result("word7") == 1

    word = durable.function(id=Word.ONE)(says.code)
    asyncio.run(story())


@pytest.mark.parametrize("bad", [{}, 7, Limits, "x"], ids=repr)
def test_the_limits_of_a_sender_are_limits(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="limits must be a Limits"):
        Sender(tmp_path / "s.db", limits=bad)


@pytest.mark.parametrize("stubs", [["charge"], "charge", 7], ids=repr)
def test_stubs_are_a_mapping(stubs: Any) -> None:
    with pytest.raises(TypeError, match="stubs must be a mapping from step ids"):
        Lab([says], stubs=stubs)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stub_is_for_the_step_that_its_key_spells(shape: str) -> None:
    text = SHAPES[shape]

    @durable.function
    async def asks(ctx: Context) -> Any:
        return await ctx.step.run(text.plain, "never called".upper)

    async def story() -> None:
        async with Lab([asks], stubs={text.text: "stub"}) as lab:
            assert await lab.result(await lab.start(asks)) == "stub"
            assert lab.calls == {text.plain: 1}

    if text.refused is None:
        asyncio.run(story())
    else:
        with pytest.raises(text.refused, match="a step's id"):
            asyncio.run(story())


# Functions.


def made(name: str) -> durable.Function[str]:
    """A function of a factory: all of them have one name."""

    @durable.function
    async def process(ctx: Context) -> str:
        return name

    return process


class Handlers:
    def __init__(self, name: str) -> None:
        self.name = name

    async def handle(self, ctx: Context) -> str:
        return self.name


async def with_more(ctx: Context, more: int = 0) -> int:
    return more


async def whatever(ctx: Context) -> None: ...


@pytest.mark.parametrize(
    "functions",
    [
        [made("a"), made("b"), made("c")],
        [durable.function(Handlers(name).handle) for name in "ab"],
        [durable.function(functools.partial(with_more, more=more)) for more in (1, 2)],
        [durable.function(on_failure=made(name).code, id="f")(says.code) for name in "ab"],
        [made("a"), durable.function(id="process-failure")(made("a").code), durable.function(id="process")(says.code)],
        [
            durable.function(id="f", on_failure=whatever)(says.code),
            durable.function(id="f-failure")(whatever),
        ],
    ],
    ids=["factory", "methods", "partials", "failures", "another", "the failure of another"],
)
def test_two_functions_of_one_list_with_one_id_are_refused(functions: list[durable.Function[Any]]) -> None:
    """The last would take the place of the others without a word; the message says what tells them apart."""
    with pytest.raises(ValueError, match=r"two functions have the id .*give one of them another id, .*function\(id="):
        Engine(functions)
    told_apart = [durable.function(id=f"f{number}")(one.code) for number, one in enumerate(functions)]
    assert Engine(told_apart)


def test_a_function_may_be_listed_twice() -> None:
    one = made("a")
    assert durable.run(one, functions=[one]) == "a"


def test_a_function_that_is_refused_leaves_the_engine_as_it_was() -> None:
    """Nothing of it was taken in: neither itself, nor its on_failure."""
    mine = durable.function(id="f-failure")(whatever)
    other = durable.function(id="f", on_failure=says.code)(says.code)

    async def story() -> None:
        async with Engine([mine]) as engine:
            with pytest.raises(ValueError, match="two functions have the id 'f-failure'"):
                await engine.start(other)
            with pytest.raises(LookupError, match="no function 'f'"):
                await engine.start("f")
            assert await engine.invoke("f-failure", {"text": "of the other"}) is None

    asyncio.run(story())


def test_a_partial_has_the_name_of_what_it_calls() -> None:
    one = durable.function(functools.partial(functools.partial(with_more), more=3))
    assert one.id == "with_more" and origin_of(one) == (__name__, "with_more")
    assert durable.run(one) == 3


def test_code_that_cannot_be_named_is_refused() -> None:
    """What the name of the code is counts where no id is given, and what it may be is what an id may be."""
    code = AsyncMock(return_value="mocked")
    assert durable.run(durable.function(id="mock")(code)) == "mocked"
    code.__name__ = "half \ud800"
    with pytest.raises(ValueError, match="the name of a function's code, which is its id, holds half of a surrogate"):
        durable.function(code)
    with pytest.raises(TypeError, match=r"async def with_more\(ctx\)"):
        durable.function(functools.partial(with_more, 1, 2))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="from 3.12 on, what is no function may be marked as one")
def test_code_without_a_name_needs_an_id() -> None:
    class Code:
        async def __call__(self, ctx: Context) -> str:
            return "called"

    code = inspect.markcoroutinefunction(Code())  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"has no name by which it could be recorded: give it one, function\(id=...\)"):
        durable.function(code)
    assert durable.run(durable.function(id="code")(code)) == "called"


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("fn_id", "write id="),
        ("name", "write id="),
        ("event", "write trigger="),
        ("triggers", "write trigger="),
        ("retry", "write retries="),
        ("max_retries", "write retries="),
        ("timeout", "write timeouts="),
        ("on_failures", "write on_failure="),
        ("middleware", "its options are trigger, id, retries"),
    ],
)
def test_an_option_of_another_library_is_told_by_the_name_it_has_here(option: str, hint: str) -> None:
    """As when Inngest's decorator is pasted."""
    with pytest.raises(TypeError) as caught:
        durable.function(trigger=TriggerEvent("e"), **{option: 3})  # type: ignore[call-overload]
    assert f"got an unexpected keyword argument '{option}': {hint}" in str(caught.value)


# The data that a function is invoked with.


@pytest.mark.parametrize("door", ["start", "invoke", "step", "run"])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1], "must be a mapping, not [1] (list)"),
        (3, "must be a mapping, not 3 (int)"),
        ({1: 2}, "must have string keys, not 1"),
        ({"a": 1, Odd("a"): 2}, "have two keys that spell the same"),
        ({"a": "x" * 600_000}, "are 600,008 bytes, the limit is"),
    ],
    ids=["a list", "a number", "a key", "two keys", "too large"],
)
def test_wrong_data_for_a_function_is_told_with_the_functions_name(door: str, data: Any, words: str) -> None:
    """The event that carries them is the runtime's own, and nobody has written its name."""

    @durable.function
    async def asks(ctx: Context) -> None:
        with pytest.raises((TypeError, ValueError, durable.LimitError)) as caught:
            await ctx.step.invoke("child", function=says, data=data)
        told.append(str(caught.value))

    async def story() -> None:
        async with Engine([says, asks]) as engine:
            if door == "step":
                await engine.invoke(asks)
                return
            with pytest.raises((TypeError, ValueError, durable.LimitError)) as caught:
                await getattr(engine, door)(says, data)
            told.append(str(caught.value))
            assert await engine.runs() == []

    told: list[str] = []
    if door == "run":
        with pytest.raises((TypeError, ValueError, durable.LimitError)) as caught:
            durable.run(says, data)
        told.append(str(caught.value))
    else:
        asyncio.run(story())
    assert len(told) == 1 and told[0].startswith("the data for function 'says' " + words), told


# Runs that are asked for.


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["run", "result", "info", "cancel", "retry"])
def test_a_run_that_is_not_there_is_a_key_error_whatever_its_id(name: str, shape: str, tmp_path: Path) -> None:
    """Of any length: the ids of runs that are invoked deep below others are long."""

    async def story(store: Any) -> None:
        async with Engine(store=store) as engine:
            with pytest.raises(KeyError, match="there is no run"):
                await getattr(engine, name)(SHAPES[shape].text)

    for store in (DictStore(), FileStore(tmp_path / "s.db", durability="none")):
        asyncio.run(story(store))


@pytest.mark.parametrize("bad", [None, 7, b"r", Mock(spec=str)], ids=repr)
@pytest.mark.parametrize("name", ["run", "result", "info", "cancel", "retry"])
def test_what_is_no_id_of_a_run_is_a_type_error(name: str, bad: Any) -> None:
    async def story() -> None:
        async with Engine([says]) as engine:
            with pytest.raises(TypeError, match="the id of a run must be a string"):
                await getattr(engine, name)(bad)
            with pytest.raises(TypeError, match="give its id"):
                await getattr(engine, name)(await engine.start(says))

    asyncio.run(story())


@pytest.mark.parametrize("field", ["function", "event"])
def test_runs_are_asked_for_by_words(field: str, tmp_path: Path) -> None:
    """On both stores alike: an empty or an unknown one is that of no run."""

    async def story(store: Any) -> None:
        async with Engine([says], store=store) as engine:
            await engine.invoke(says)
            for shape in SHAPES.values():
                if shape.refused is ValueError and shape.plain:
                    with pytest.raises(ValueError, match=f"the {field} of runs to find holds half of a surrogate"):
                        await engine.runs(**{field: shape.text})  # type: ignore[arg-type]
                else:
                    assert await engine.runs(**{field: shape.text}) == []  # type: ignore[arg-type]
            for bad in (7, b"f", Mock(spec=str)):
                with pytest.raises(TypeError, match=f"the {field} of runs to find must be a string"):
                    await engine.runs(**{field: bad})

    for store in (DictStore(), FileStore(tmp_path / "s.db", durability="none")):
        asyncio.run(story(store))


def test_a_status_may_be_spelled_by_any_kind_of_string() -> None:
    async def story() -> None:
        async with Engine([says]) as engine:
            await engine.invoke(says)
            assert len(await engine.runs(status=Odd("completed"))) == 1  # type: ignore[arg-type]
            for bad in ("done", "", 7, ["completed"], Mock(spec=str), None.__class__):
                with pytest.raises(ValueError, match="status must be one of queued, running"):
                    await engine.runs(status=bad)  # type: ignore[arg-type]

    asyncio.run(story())


@pytest.mark.parametrize("id", ["a/b", "/", "etl~2", "~0", "a~00", Odd("a~7")], ids=str.__str__)
def test_ids_that_are_spelled_as_the_runtimes_own_are_refused(id: str) -> None:
    """R36: those of what a run invokes, and of later openings."""

    async def story() -> None:
        async with Engine([says]) as engine:
            with pytest.raises(ValueError, match="which is for derived ids"):
                await engine.start(says, id=id)

    asyncio.run(story())


@pytest.mark.parametrize("id", ["a~", "~", "a~2b", "~2~", "a~٢", "a#1", "a:1"])
def test_ids_that_look_a_little_like_them_are_not(id: str) -> None:
    async def story() -> None:
        async with Engine([says]) as engine:
            assert (await engine.start(says, id=id)).id == id

    asyncio.run(story())


# R21: the id of a start is its key.


@pytest.mark.parametrize("given", [True, False])
def test_the_same_id_again_is_the_same_run_whatever_the_idempotency_of_its_function(given: bool) -> None:
    """Another run, which has claimed the key, is not it; a start without an id is asked."""

    @durable.function(idempotency="event.data.cart")
    async def pays(ctx: Context) -> Any:
        return ctx.event.data["n"]

    async def story() -> None:
        async with Lab([pays]) as lab:
            first = await lab.start(pays, {"cart": 1, "n": 1})
            other = await lab.start(pays, {"cart": 1, "n": 2}, id="mine" if given else None)
            assert (other.id == "mine") is given and (other.id == first.id) is not given
            assert await lab.result(other) == (2 if given else 1)
            await lab.crash()
            if given:
                assert (await lab.start(pays, {"cart": 1, "n": 2}, id="mine")).id == "mine"
            assert (await lab.start(pays, {"cart": 1, "n": 3})).id == first.id  # nor does it claim the key
            assert len(await lab.engine.runs()) == 1 + given

    asyncio.run(story())


@pytest.mark.parametrize(
    ("expression", "data", "warnings"),
    [
        ("event.data.cart", {}, 0),
        ("event.data.cart.id", {}, 0),
        ("event.data.cart.id", {"cart": 7}, 0),
        ("event.data.cart", {"cart": None}, 0),
        ("1 / event.data.n", {"n": 0}, 1),
        ("type(event.data.n)", {"n": 1}, 1),
    ],
)
def test_without_a_value_every_event_opens_a_run(
    expression: str, data: dict[str, Any], warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    """R21: where it is missing without a word, where the expression fails with one warning for all."""

    @durable.function("e", idempotency=expression)
    async def pays(ctx: Context) -> None: ...

    async def story() -> None:
        async with Lab([pays]) as lab:
            for _ in range(3):
                await lab.send("e", data)
                await lab.start(pays, data)
            assert len(await lab.engine.runs()) == 6

    asyncio.run(story())
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == warnings and all("'pays'" in record.getMessage() for record in told)


# In a function's own code.


INSIDE: dict[str, tuple[Callable[[Engine], Awaitable[Any]], str]] = {
    "send": (lambda engine: engine.send("e"), "ctx.step.send_event"),
    "send of events": (lambda engine: engine.send([Event("e")]), "ctx.step.send_event"),
    "send_signal": (lambda engine: engine.send_signal("s"), "ctx.step.send_signal"),
    "start": (lambda engine: engine.start("says"), "ctx.step.invoke"),
    "invoke": (lambda engine: engine.invoke("says"), "ctx.step.invoke"),
    "cancel": (lambda engine: engine.cancel("other"), "a step whose handler calls it"),
    "retry": (lambda engine: engine.retry("other"), "a step whose handler calls it"),
    "result": (lambda engine: engine.result("other"), "would wait for itself"),
    "settled": (lambda engine: engine.settled(), "would wait for itself"),
    "close": (lambda engine: engine.close(), "would wait for itself"),
}


@pytest.mark.parametrize("where", ["its own task", "a task", "a task of a task", "to_thread's way back"])
@pytest.mark.parametrize("name", INSIDE)
def test_the_engine_is_not_asked_in_a_functions_own_code(name: str, where: str) -> None:
    """It would be done again at every replay; the message names run, function and what to write."""
    call, instead = INSIDE[name]

    async def in_a_task(depth: int) -> Any:
        if depth:
            return await asyncio.create_task(in_a_task(depth - 1))
        return await call(engines[0])

    @durable.function(retries=0)
    async def asks(ctx: Context) -> Any:
        if where == "to_thread's way back":
            loop = asyncio.get_running_loop()
            return await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(in_a_task(0), loop).result())
        return await in_a_task(["its own task", "a task", "a task of a task"].index(where))

    async def story() -> None:
        async with Engine([asks, says]) as engine:
            engines.append(engine)
            run = await engine.start(asks, id="asking")
            with pytest.raises(RunFailed) as caught:
                await run.result()
            text = caught.value.error.message
            assert caught.value.error.name == "RuntimeError", text
            for part in ("'asks'", "'asking'", instead):
                assert part in text, text
            assert [info.id for info in await engine.runs()] == ["asking"]

    engines: list[Engine] = []
    asyncio.run(story())


def test_a_handler_may_ask_the_engine() -> None:
    """Once: a replay does not call it again. So may a task that a handler has started, also after its step."""
    started: list[asyncio.Task[Any]] = []
    go = asyncio.Event()

    async def later() -> list[str]:
        await go.wait()
        return await engines[0].send("later")

    async def handler() -> str:
        started.append(asyncio.create_task(later()))
        await engines[0].send("now")
        return (await engines[0].start(says)).id

    @durable.function(retries=0)
    async def asks(ctx: Context) -> Any:
        id = await ctx.step.run("ask", handler)
        await ctx.step.wait_for_event("w", event="never", timeout="1h")
        return id

    async def story() -> None:
        async with Engine([asks, says]) as engine:
            engines.append(engine)
            await engine.start(asks)
            await engine.settled()
            go.set()
            assert len(await started[0]) == 1

    engines: list[Engine] = []
    asyncio.run(story())


def test_a_task_that_has_outlived_its_function_is_nobodys() -> None:
    """What it sends is not done again."""
    started: list[asyncio.Task[Any]] = []
    go = asyncio.Event()

    async def later() -> list[str]:
        await go.wait()
        return await engines[0].send("later")

    @durable.function
    async def leaves(ctx: Context) -> None:
        started.append(asyncio.create_task(later()))

    async def story() -> None:
        async with Engine([leaves]) as engine:
            engines.append(engine)
            await engine.invoke(leaves)
            go.set()
            try:
                assert len(await started[0]) == 1
            except asyncio.CancelledError:  # It may have been cancelled with its run
                assert started[0].cancelled()

    engines: list[Engine] = []
    asyncio.run(story())


def test_a_function_that_ends_cannot_ask_in_its_cleaning_up_either() -> None:
    """A `finally` runs at every parking and closing."""
    told: list[str] = []

    @durable.function
    async def cleans(ctx: Context) -> None:
        try:
            await ctx.step.sleep("s", "1h")
        finally:
            try:
                await engines[0].send("cleaned")
            except RuntimeError as error:
                told.append(str(error))

    async def story() -> None:
        async with Engine([cleans]) as engine:
            engines.append(engine)
            await engine.start(cleans)
            await engine.settled()

    engines: list[Engine] = []
    asyncio.run(story())
    assert len(told) == 1 and "ctx.step.send_event" in told[0]


def test_an_engine_opened_in_a_handler_is_outside() -> None:
    """As in a test of one: its functions and its callers are judged by themselves."""

    async def handler() -> Any:
        async with Engine([says]) as inner:
            await inner.send("e")
            return await inner.invoke(says, {"text": "inner"})

    @durable.function
    async def outer(ctx: Context) -> Any:
        return await ctx.step.run("inner", handler)

    assert durable.run(outer) == "inner"


def test_a_sender_is_not_asked_in_a_functions_own_code_either(tmp_path: Path) -> None:
    path = tmp_path / "s.db"

    async def send() -> Any:
        async with Sender(path) as sender:
            return await sender.send("e")

    @durable.function(retries=0)
    async def sends(ctx: Context) -> Any:
        await ctx.step.run("send", send)
        return await send()

    async def story() -> None:
        async with Engine([sends], store=path) as engine:
            with pytest.raises(RunFailed, match=r"RuntimeError: send is called in the code of function 'sends'"):
                await engine.invoke(sends)

    asyncio.run(story())


# Names of keywords.


@pytest.mark.parametrize("name", ["self", "step_id", "handler", "args", "kwargs", "function", "value", "options"])
def test_a_handlers_keyword_may_have_any_name(name: str) -> None:
    """Names that the library uses itself are free for a handler."""

    async def handler(**given: Any) -> Any:
        return {**given, "key": current_step().key}

    def blocking(**given: Any) -> Any:
        return given

    @durable.function(retries=0)
    async def calls(ctx: Context) -> Any:
        found = await ctx.step.run("a", handler, **{name: 1})
        again = await ctx.step.run(durable.StepOptions("b", backoff=Backoff()), blocking, **{name: 2})
        return found, again

    async def story() -> None:
        async with Lab([calls], threads=True) as lab:
            run = await lab.start(calls)
            assert await lab.result(run) == ({name: 1, "key": "a"}, {name: 2})

    asyncio.run(story())
