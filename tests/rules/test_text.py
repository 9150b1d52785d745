"""Text at every door, in every shape: kept and given back as it was, or refused at the call. R28, R31

A name is a plain string afterwards, whatever subclass it was of. Whatever becomes of it, the engine goes on and the
store opens again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import durable
from durable import DictStore, Engine, FileStore, LimitError, RunFailed, RunInfo, Store
from tests.support.wordings import NAMES, SHAPES, VALUES, Place, says

STORES = ("dict", "file")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind; the same object is opened again."""
    return DictStore() if request.param == "dict" else FileStore(tmp_path / "s.db", durability="none")


async def kept(engine: Engine) -> list[RunInfo]:
    """Return all that the engine tells of its runs, but for what it keeps for exports."""
    return await engine.runs(limit=1_000)


async def goes_on(engine: Engine) -> None:
    """Check that a run still ends as it should."""
    assert await engine.invoke(says, {"text": "alive"}) == "alive"


def try_place(store: Store, place: Place, text: str) -> object:
    """Return what is given back of a text at a place, or the error with which it was refused there.

    The engine must go on, and tell the same of all its runs when its store is opened again.
    """

    async def story() -> object:
        found: object
        async with Engine([says], store=store) as engine:
            try:
                found = await place(engine, text)
            except Exception as error:
                found = error
            await goes_on(engine)
            before = await kept(engine)
        async with Engine([says], store=store) as engine:
            assert await kept(engine) == before
            await goes_on(engine)
        return found

    return asyncio.run(story())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", NAMES)
def test_a_name_is_kept_as_it_was_or_refused(store: Store, place: str, shape: str) -> None:
    text = SHAPES[shape]
    found = try_place(store, NAMES[place], text.text)
    if text.refused is None:
        assert isinstance(found, list), found
        assert all(type(one) is str and one == text.plain for one in found), found
        return
    if isinstance(found, RunFailed):  # at the call of a step
        assert found.error.name == text.refused.__name__
        message = found.error.message
    else:
        assert type(found) is text.refused, found
        message = str(found)
    assert len(message) < 600 and message.isprintable(), message
    if text.refused is LimitError:
        assert f"is {len(text.plain.encode()):,} bytes" in message and "the limit is 1,024" in message, message
    elif text.plain:
        assert "holds half of a surrogate pair" in message and "UTF-8" in message, message


EXACT = {name: shape for name, shape in SHAPES.items() if type(shape.text) is str}


@pytest.mark.parametrize("shape", EXACT)
@pytest.mark.parametrize("place", VALUES)
def test_a_value_is_kept_as_it_was(store: Store, place: str, shape: str) -> None:
    """Whatever characters it holds; an event's data have a limit of their own."""
    found = try_place(store, VALUES[place], EXACT[shape].text)
    if len(EXACT[shape].text) > 512 << 10:
        assert isinstance(found, LimitError) and "Limits(event_bytes=...)" in str(found)
    else:
        assert found == [EXACT[shape].text] * 2


@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - EXACT.keys()))
def test_a_key_of_an_events_data_is_taken_as_a_plain_string(store: Store, shape: str) -> None:
    found: Any = try_place(store, VALUES["a key"], SHAPES[shape].text)
    assert found == [SHAPES[shape].plain] * 2 and {type(one) for one in found} == {str}


def test_two_keys_that_spell_the_same_are_refused() -> None:
    """One of them would be lost."""
    with pytest.raises(ValueError, match="two keys that spell the same"):
        durable.Event("e", {"odd7": 1, SHAPES["a subclass"].text: 2})
