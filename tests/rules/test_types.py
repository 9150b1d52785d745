"""R6, R10: what a step returned is held against its type all the way down, after a crash and under newer code."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import attrs
import pytest

import durable
from durable import Context, DictStore, Engine, FileStore, RunFailed, StepOptions, Store
from durable.testing import Lab
from tests.support.lives import same_lives


@attrs.frozen
class Line:
    price: int
    names: list[str] = attrs.field(factory=list)


def line_of(price: Any, by: str = "attrs") -> Any:
    if by == "attrs":
        return attrs.make_class("Line", {"price": attrs.field(type=price)})
    return dataclasses.make_dataclass("Line", [("price", price)])


def handler(returns: Any, value: Callable[[], Any]) -> Callable[[], Any]:
    def charge() -> Any:
        return value()

    charge.__annotations__["return"] = returns
    return charge


def deployed(returns: Any, value: Callable[[], Any], *, child: bool = False) -> list[durable.Function[Any]]:
    """One deploy of a function whose step, or whose child, returns this."""
    charge = handler(returns, value)

    async def invoked(ctx: Context) -> Any:
        return charge()

    invoked.__annotations__["return"] = returns
    worker = durable.function(id="worker")(invoked)

    @durable.function(id="orders")
    async def orders(ctx: Context) -> Any:
        if child:
            got = await ctx.step.invoke("charge", function=worker)
        else:
            got = await ctx.step.run("charge", charge)
        await ctx.step.sleep("night", "8h")
        try:
            return str(got)
        except Exception:
            return "swallowed"

    return [orders, worker]


OLD, NEW = line_of(int), line_of(str)
DATA_OLD, DATA_NEW = line_of(int, "dataclass"), line_of(str, "dataclass")
ROW_OLD, ROW_NEW = TypedDict("Row", {"id": int}), TypedDict("Row", {"id": str})


class MORE(TypedDict):
    id: int
    name: str


DEPLOYS: list[tuple[Any, Callable[[], Any], Any, str]] = [
    (OLD, lambda: OLD(1), NEW, "$.price"),
    (DATA_OLD, lambda: DATA_OLD(1), DATA_NEW, "$.price"),
    (list[OLD], lambda: [OLD(1)], list[NEW], "$[0].price"),
    (dict[str, DATA_OLD], lambda: {"a": DATA_OLD(1)}, dict[str, DATA_NEW], "$.a.price"),
    (list[int], lambda: [1], list[str], "$[0]"),
    (dict[str, int], lambda: {"a": 1}, dict[str, str], "$.a"),
    (dict[int, str], lambda: {1: "a"}, dict[str, str], "$[1]"),
    (ROW_OLD, lambda: {"id": 1}, ROW_NEW, "$.id"),
    (ROW_OLD, lambda: {"id": 1}, MORE, "$.name"),
    (list[ROW_OLD], lambda: [{"id": 1}], list[ROW_NEW], "$[0].id"),
    (tuple[int, int], lambda: (1, 2), tuple[int, str], "$[1]"),
    (set[int], lambda: {1}, set[str], "$["),
    (OLD | None, lambda: OLD(1), NEW | None, "$.price"),
    (dict[str, Any], lambda: {"a": [{"b": 1}]}, dict[str, list[dict[str, str]]], "$.a[0].b"),
]


@pytest.mark.parametrize("kind", ["dict", "file"])
@pytest.mark.parametrize("child", [False, True], ids=["step", "child"])
@pytest.mark.parametrize("deploy", DEPLOYS, ids=lambda deploy: f"{deploy[0]} {deploy[3]}"[-40:])
def test_a_type_that_changed_inside_between_two_deploys_is_a_drift(
    deploy: tuple[Any, Callable[[], Any], Any, str], child: bool, kind: str, tmp_path: Path
) -> None:
    """R6: it says which run and step, where inside, what is recorded, what is asked, and what to do; no retry."""
    before, value, now, path = deploy

    async def story() -> None:
        store: Store = DictStore() if kind == "dict" else FileStore(tmp_path / "x.db", durability="none")
        async with Engine(deployed(before, value, child=child), store=store) as engine:
            run = await engine.start("orders", id="r")
            await engine.settled()
        async with Lab(deployed(now, value, child=child), store=store) as lab:
            run = await lab.engine.run("r")
            with pytest.raises(RunFailed) as caught:
                await lab.result(run)
            error = caught.value.error
            assert error.name == "DriftError" and (await run.info()).attempt == 0
            for part in ("step 'charge' of run 'r'", f": {path}", "is recorded, which is not of the type", "new id"):
                assert part in error.message, error.message
        async with Lab(deployed(before, value, child=child), store=store) as lab:
            await lab.engine.retry("r")
            assert await lab.result(await lab.engine.run("r")) == str(value())

    asyncio.run(story())


@pytest.mark.parametrize("deploy", DEPLOYS, ids=lambda deploy: f"{deploy[0]} {deploy[3]}"[-40:])
def test_the_same_type_deployed_again_reads_what_it_wrote(deploy: tuple[Any, Callable[[], Any], Any, str]) -> None:
    """Also classes that are defined again, as a restart does."""
    before, value, _, _ = deploy
    [function, worker] = deployed(before, value)
    assert same_lives(function, functions=[worker]).ending == str(value())


@pytest.mark.parametrize(
    ("returns", "value"),
    [
        (list[str], lambda: [1, "b", None]),
        (dict[str, int], lambda: {"a": 1.5}),
        (ROW_OLD, lambda: {"id": "seven", "more": 1}),
        (Line, lambda: Line("free", [1])),
        (list[Line], lambda: [Line(1), Line(None)]),
        (tuple[int, int], lambda: (1, 2, 3)),
        (None, lambda: {"a": (1,)}),
    ],
)
def test_an_annotation_that_is_wrong_inside_harms_nothing(returns: Any, value: Callable[[], Any]) -> None:
    """R3, R10: live, after crashes and on replay the handler's value comes back as it was."""
    [function, worker] = deployed(returns, value)
    assert same_lives(function, functions=[worker]).ending == str(value())


def _as_an_earlier_release_wrote_it(store: DictStore) -> None:
    for key, batch in list(store.mapping.items()):
        if key.startswith("batch/"):
            store.mapping[key] = [tuple(_without_mark(one) for one in fact) for fact in batch]


def _without_mark(one: Any) -> Any:
    if not isinstance(one, str):
        return one
    head, _, value = one.replace(',"deep":true', "").partition("\n")
    if value.startswith('{"~loose":') and '"~at"' in value:
        value = value.removeprefix('{"~loose":').rpartition(',"~at"')[0]
    return f"{head}\n{value}" if value else head


def test_what_an_earlier_release_recorded_goes_on_under_the_same_code() -> None:
    """It looked at the outermost alone: what did not fit inside is not marked, and no drift."""

    async def story() -> None:
        store = DictStore()
        wrong = deployed(list[str], lambda: [1, {"a": None}])
        async with Lab(wrong, store=store) as lab:
            await lab.start(wrong[0], id="r")
        _as_an_earlier_release_wrote_it(store)
        assert not any("deep" in str(batch) or "loose" in str(batch) for batch in store.mapping.values())
        async with Lab(wrong, store=store) as lab:
            assert await lab.result(await lab.engine.run("r")) == "[1, {'a': None}]"

    asyncio.run(story())


def test_the_outermost_of_what_an_earlier_release_recorded_is_still_compared() -> None:
    async def story() -> None:
        store = DictStore()
        async with Lab(deployed(list[int], lambda: [1]), store=store) as lab:
            await lab.start("orders", id="r")
        _as_an_earlier_release_wrote_it(store)
        async with Lab(deployed(dict[str, int], dict), store=store) as lab:
            with pytest.raises(RunFailed, match=r"'charge' of run 'r' no longer fits its type: \$: \[1\] is recorded"):
                await lab.result(await lab.engine.run("r"))

    asyncio.run(story())


def test_a_drift_inside_a_value_cannot_be_swallowed() -> None:
    """R6: the session refuses at once."""
    went_on: list[str] = []

    def function(returns: Any) -> durable.Function[Any]:
        @durable.function(id="orders")
        async def orders(ctx: Context) -> Any:
            await ctx.step.run("first", lambda: None)
            try:
                await ctx.step.run(StepOptions("charge", output_type=returns), lambda: [1])
                await ctx.step.sleep("night", "8h")
            except BaseException:
                went_on.append("caught")
                try:
                    await ctx.step.run("after", lambda: went_on.append("after"))
                except BaseException:
                    return "as if nothing had been"

        return orders

    async def story() -> None:
        store = DictStore()
        async with Lab([function(list[int])], store=store) as lab:
            await lab.start("orders", id="r")
        went_on.clear()
        async with Lab([function(list[str])], store=store) as lab:
            with pytest.raises(RunFailed, match="DriftError"):
                await lab.result(await lab.engine.run("r"))
        assert "after" not in went_on

    asyncio.run(story())
