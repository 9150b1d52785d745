"""The front door, `import durable`, opens a room when one of its names is used, and no room for nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import durable
from tests.house.test_rooms import ROOMS
from tests.proof.crashes import ENVIRONMENT, ROOT

HEAVY = {"anyio", "asyncio", "attr", "attrs", "cattrs", "decimal", "durable", "json", "logging", "sqlite3", "typing"}
FIRST_STEP = """
import durable

async def one():
    return 1

@durable.function
async def first(ctx: durable.Context) -> int:
    return await ctx.step.run("one", one)

assert durable.run(first) == 1
"""
# What no first step needs.
RARE = ("durable.engine.command.", "durable.testing", "argparse", "gettext", "pytest", "pydantic", "numpy")


def loaded(code: str) -> set[str]:
    """Return the modules that are loaded once a new interpreter has run some code."""
    bare = "import sys\nbefore = set(sys.modules)\n"
    told = bare + code + "\nloaded = set(sys.modules) - before\nimport json\nprint(json.dumps(sorted(loaded)))"
    ended = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, env=ENVIRONMENT, cwd=ROOT
    )
    return set(json.loads(ended.stdout.splitlines()[-1]))


def test_a_bare_import_loads_no_room_and_no_package() -> None:
    assert {one for one in loaded("import durable") if one.partition(".")[0] in HEAVY} == {"durable"}


def test_the_first_name_loads_all_that_is_needed_later() -> None:
    """A process may give up the right to read more."""
    used = "import asyncio, durable; durable.Event"
    assert {one for one in loaded(used) if one.startswith("durable.")} >= {f"durable.{room}" for room in ROOMS[:-1]}
    opened = f"{used}\nasync def main():\n    async with durable.Engine():\n        pass\nasyncio.run(main())"
    assert {one for one in loaded(opened) - loaded(used) if one.startswith("durable")} == set()


@pytest.mark.parametrize("looks", ["True", "False"])
def test_while_the_rooms_are_loaded_nobody_looks_for_garbage(looks: str) -> None:
    code = f"""
import gc
gc.enable() if {looks} else gc.disable()
looked = []
gc.callbacks.append(lambda phase, _: looked.append(len(sys.modules)))
few = len(sys.modules) + 5
import durable
durable.Engine
assert all(count == len(sys.modules) for count in looked if count > few), looked
assert gc.isenabled() is {looks}
"""
    assert "durable.engine" in loaded(code)


def test_a_first_step_loads_no_command_line_and_no_testing_tools() -> None:
    found = loaded(FIRST_STEP)
    assert "durable.engine.script" in found
    assert [one for one in found if one.startswith(RARE)] == []


def test_a_room_can_be_named_without_being_imported() -> None:
    assert "durable.testing.lab" in loaded("import durable; durable.testing.Lab; durable.errors.StepError")


def test_what_editors_read_is_what_the_door_does() -> None:
    """Type checkers and editors read `__init__.pyi`; at run time each name is found in the room that it says."""
    tree = ast.parse(Path(durable.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    said = {
        (node.module or "").removeprefix("durable."): {one.name for one in node.names}
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
    }
    assert said == {room: set(names.split()) for room, names in vars(durable)["_NAMES"].items()}
    [shown] = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    assert sorted(shown) == list(durable.__all__)
    assert vars(durable)["_ROOMS"] == set(ROOMS)


def test_a_name_that_there_is_not_is_an_attribute_error_that_offers_another() -> None:
    with pytest.raises(AttributeError, match="module 'durable' has no attribute 'Engin'"):
        durable.Engin  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'functional' from 'durable'"):
        from durable import functional  # type: ignore[attr-defined]  # noqa: F401
    ended = subprocess.run(
        [sys.executable, "-c", "import durable; durable.Engin"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=ROOT,
    )
    assert "Did you mean: 'Engine'?" in ended.stderr
