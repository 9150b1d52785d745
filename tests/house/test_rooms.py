"""The shape of the library: ten rooms in one order, each entered by its door; nothing too long to read at once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import durable

ROOT = Path(durable.__file__).parent
# From the ground up: a room imports only rooms that stand before it, by the names in their doors.
ROOMS = "timers errors events stores journal functions views scheduler engine testing".split()
TOP = {*ROOMS, "__init__", "__main__"}
# Rooms and parts of rooms that decide: nothing in them waits, asks the time, reads a file or says anything.
PURE = ("events", "journal.records", "journal.ids", "journal.codec", "journal.rules")
IMPURE = {"anyio", "asyncio", "logging", "os", "sqlite3", "threading", "time"}
LONGEST_MODULE = 400
LONGEST_FUNCTION = 40


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1]) if parts[-1] == "__init__" and len(parts) > 1 else ".".join(parts)


MODULES = {_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def _room(module: str) -> str:
    return module.partition(".")[0]


def _imports(module: str) -> list[str]:
    """Return the modules of the library that a module imports from, as it names them."""
    found = []
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: import from {'.' * node.level}{node.module or ''}: name it in full"
            if (node.module or "") == "durable":
                found += [one.name for one in node.names]
            elif (node.module or "").startswith("durable."):
                inside = (node.module or "").removeprefix("durable.")
                inner = [f"{inside}.{one.name}" for one in node.names]
                found += [one if one in MODULES else inside for one in inner]
        elif isinstance(node, ast.Import):
            found += [one.name.removeprefix("durable.") for one in node.names if one.name.startswith("durable.")]
    return found


def test_the_house_shows_its_rooms_and_nothing_else() -> None:
    entries = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert entries == TOP
    assert (ROOT / "errors.py").is_file() and (ROOT / "py.typed").is_file()


@pytest.mark.parametrize("module", [one for one in MODULES if _room(one) in ROOMS])
def test_a_room_imports_only_from_rooms_below_it_and_by_their_doors(module: str) -> None:
    here = _room(module)
    for imported in _imports(module):
        there = _room(imported)
        if there != here and there in ROOMS:
            assert ROOMS.index(there) < ROOMS.index(here), f"{module} imports {imported}: {there} stands above {here}"
            assert imported == there, f"{module} enters {there} by a window, {imported}: put the name into its door"


@pytest.mark.parametrize("module", [one for one in MODULES if _room(one) in ROOMS])
def test_inside_a_room_nobody_goes_round_by_the_door(module: str) -> None:
    if module != _room(module):
        assert _room(module) not in _imports(module), f"{module} imports from its own room's door: name the module"


def test_no_imports_go_round_in_a_circle() -> None:
    seen: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a circle: {' -> '.join((*above, module))}"
        if module in seen or module not in TREES:
            return
        for imported in _imports(module):
            visit(imported, (*above, module))
        seen.add(module)

    for module in TREES:
        visit(module, ())


@pytest.mark.parametrize("room", [one for one in ROOMS if one != "errors"])
def test_a_door_names_all_that_goes_through_it(room: str) -> None:
    names = [
        one.asname or one.name
        for node in TREES[room].body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for one in node.names
    ]
    [shown] = [
        ast.literal_eval(node.value)
        for node in TREES[room].body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert sorted(shown) == sorted(names)


@pytest.mark.parametrize("module", [one for one in MODULES if f"{one}.".startswith(tuple(f"{one}." for one in PURE))])
def test_what_decides_does_nothing_else(module: str) -> None:
    for node in ast.walk(TREES[module]):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith), f"{module} awaits"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            assert not IMPURE & {one.partition(".")[0] for one in names}, f"{module} imports {names}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_for_and_is_short_enough_to_read(module: str) -> None:
    assert ast.get_docstring(TREES[module]), "a module says what it is for"
    assert MODULES[module].read_text(encoding="utf-8").count("\n") <= LONGEST_MODULE


@pytest.mark.parametrize("module", MODULES)
def test_a_function_is_short_and_imports_nothing(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        doc = ast.get_docstring(node)
        lines -= doc.count("\n") + 1 if doc else 0
        assert lines <= LONGEST_FUNCTION, f"{module}.{node.name} has {lines} lines"
        inner = [one for one in ast.walk(node) if isinstance(one, ast.Import | ast.ImportFrom)]
        assert not inner, f"{module}.{node.name} imports inside"


@pytest.mark.parametrize("module", MODULES)
def test_types_are_imported_like_everything_else(module: str) -> None:
    assert "TYPE_CHECKING" not in MODULES[module].read_text(encoding="utf-8")


# What asyncio does not promise, by how it is written: a private name of asyncio's, or of a loop or task.
UNDOCUMENTED = r"\basyncio(\.\w+)*\._|from asyncio\S* import _|\._(ready|scheduled|log_destroy_pending|current_tasks)\b"


@pytest.mark.parametrize("module", MODULES)
def test_what_asyncio_does_not_promise_is_used_in_one_module(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8").replace("self._ready", "")  # rounds' own
    assert module == "scheduler.undocumented" or not re.findall(UNDOCUMENTED, text)
