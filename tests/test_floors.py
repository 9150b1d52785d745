"""The shape of the library: a total order of modules, no cycles, no module or function too long to read at once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import durable

ROOT = Path(durable.__file__).parent
# From words up to the door: each module imports only modules that stand before it.
FLOORS = """
    spelling stderr times headers errors guests misuse words ids log records codec.* expressions.* bus retries
    limits ledger parked state retraction acceptance causes reopening clock timers workers stores.store stores.*
    messages entries journal history rounds pacing delivery claims branches arguments handlers request options step
    context function registry eager machine deadlines drift refusals calls session ending strays bounds tries
    awaitable execution recovery parking judging scheduler settling intake runtime owner neighbours timeline views
    listing run requests equipment sender engine foreground script cli testing.virtual testing.* __init__ __main__
""".split()
LONGEST_MODULE = 400
LONGEST_FUNCTION = 40


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1]) if parts[-1] == "__init__" and len(parts) > 1 else ".".join(parts)


def _floor(module: str) -> int:
    for number, floor in enumerate(FLOORS):
        if module == floor:
            return number
    for number, floor in enumerate(FLOORS):
        if floor.endswith(".*") and (module + ".").startswith(floor[:-1]):
            return number
    raise AssertionError(f"{module} stands on no floor: give it one in FLOORS")


def _imports(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        assert not relative, f"import from {'.' * node.level}{node.module or ''}: name it in full"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "durable":
            module = (node.module or "").removeprefix("durable").removeprefix(".")
            inner = [f"{module}.{name.name}" for name in node.names if f"{module}.{name.name}" in MODULES]
            found += inner or [module]
        elif isinstance(node, ast.Import):
            found += [name.name.removeprefix("durable.") for name in node.names if name.name.startswith("durable.")]
    return found


MODULES = {_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_floors_below(module: str) -> None:
    for imported in _imports(TREES[module]):
        own_package = imported.split(".")[0] == module.split(".")[0] and "." in imported + module
        assert _floor(imported) < _floor(module) or own_package, f"{module} imports {imported}, which is not below it"


def test_packages_have_no_cycles() -> None:
    seen: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a cycle: {' -> '.join((*above, module))}"
        if module in seen or module not in TREES:
            return
        for imported in _imports(TREES[module]):
            visit(imported, (*above, module))
        seen.add(module)

    for module in TREES:
        visit(module, ())


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
