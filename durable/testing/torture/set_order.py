"""Let sets be iterated in opposite orders by different processes.

Separate because the order of a set depends on memory addresses and on the hash seed. No process can change these for
itself, so the order is reversed here in other ways.
Leaves to `lives` the order that each process uses.

Tasks that a user's code makes get hashes in the order of their making, or in the opposite order. Other sets are
reversed where they are iterated, if the hashes of their elements differ between processes: those of texts and objects
do, those of numbers do not. For that, a function under torture and the plain functions that it names are compiled anew
from their source. Each `for`, `*`, unpacking, `pop()`, and each call of `list`, `tuple`, `iter` and the like then goes
through `walked` or `popped`. A function stays as it is if its source is missing, or is not the one that it was compiled
from.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, ClassVar
from uuid import UUID

from durable.functions import Function, running_body
from durable.testing.source_lines import FOREIGN
from durable.timers import asyncio_loop

_WALKED, _POPPED = "__durable_walked__", "__durable_popped__"
_WALKERS = frozenset("list tuple iter enumerate zip map filter dict deque join extend fromkeys gather".split())


class _Task(asyncio.Task[Any]):
    """A task whose hash is its number among the tasks of its run."""

    ascending = True
    made: ClassVar[Counter[str]] = Counter()

    def __init__(self, run: str, *args: Any, **kwargs: Any) -> None:
        _Task.made[run] += 1
        self._place = _Task.made[run] if _Task.ascending else (1 << 40) - 1 - _Task.made[run]
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._place


def _made(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
    # Tasks of the Lab and of the engine come at any moment. If they were counted, too, the hashes of the function's own
    # tasks would vary.
    body = running_body()
    if body is None:
        return asyncio.Task(coroutine, loop=loop, **kwargs)
    return _Task(body.ledger.run, coroutine, loop=loop, **kwargs)


def order_sets(*, ascending: bool) -> None:
    """Set the order in which sets are iterated from now on."""
    _Task.ascending = ascending
    _Task.made.clear()


@contextmanager
def ordered_sets(functions: Iterable[Function[Any]]) -> Iterator[None]:
    """Let sets be iterated as `order_sets` says, while in the context.

    This holds for sets of tasks of the running loop, unless it has a task factory of its own, and for the sets that the
    given functions, and the functions that they name, iterate.
    """
    loop = asyncio_loop()
    before = loop.get_task_factory()
    codes = {one: one.__code__ for one in _reached(one.code for one in functions)}
    if before is None:
        loop.set_task_factory(_made)
    try:
        for one, code in codes.items():
            one.__globals__.update({_WALKED: walked, _POPPED: popped})
            one.__code__ = _turning(code) or code
        yield
    finally:
        for one, code in codes.items():
            one.__code__ = code
        loop.set_task_factory(before)


def walked(value: Any) -> Any:
    """Return a value for iteration: a set's elements in reverse, if sets are reversed now."""
    return list(value)[::-1] if _is_turned(value) else value


def popped(value: Any, *given: Any) -> Any:
    """Pop from a set, a list or a mapping, in the order of `walked`."""
    if not _is_turned(value):
        return value.pop(*given)
    last = list(value)[-1]
    value.remove(last)
    return last


def _is_turned(value: Any) -> bool:
    return not _Task.ascending and type(value) in (set, frozenset) and any(map(_varies, value))


def _varies(one: Any) -> bool:
    """Return whether an object's hash may differ in another process.

    Tasks are left out: their hashes are set in `_Task`.
    """
    if isinstance(one, tuple | frozenset):
        return any(map(_varies, one))
    return not isinstance(one, int | float | complex | Decimal | UUID | _Task)


def _reached(codes: Iterable[Callable[..., Any]]) -> list[FunctionType]:
    """Return the user's plain functions among these, and the functions that they name."""
    found: dict[FunctionType, None] = {}
    ahead: list[Any] = list(codes)
    while ahead:
        one = ahead.pop()
        one = one.code if isinstance(one, Function) else one
        if not isinstance(one, FunctionType) or one in found or one.__code__.co_filename.startswith(FOREIGN):
            continue
        names = _names(one.__code__)
        if _WALKED in names:
            continue  # tortured already
        found[one] = None
        ahead += [inner for cell in one.__closure__ or () for inner in kept(cell)]
        for named in [one.__globals__.get(name) for name in names]:
            ahead += [vars(named).get(name) for name in names] if isinstance(named, ModuleType) else [named]
    return list(found)


def kept(cell: CellType) -> list[Any]:
    """Return a list of a cell's value, or an empty list if it is unbound."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _names(code: CodeType) -> set[str]:
    inner = [_names(one) for one in code.co_consts if isinstance(one, CodeType)]
    return set(code.co_names).union(*inner)


def _turning(code: CodeType) -> CodeType | None:
    """Return a function's code with its iterations of sets replaced.

    None if its source is not available.
    """
    try:
        lines, first = inspect.getsourcelines(code)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    definition.decorator_list = []
    ast.increment_lineno(tree, first - 1)
    plain = _compiled(definition, code)
    if plain is None or _shape(plain) != _shape(code):
        return None
    return _compiled(_Turned().visit(definition), code)


def _shape(code: CodeType) -> tuple[Any, ...]:
    return code.co_code, code.co_names, *(_shape(one) if isinstance(one, CodeType) else one for one in code.co_consts)


def _compiled(definition: ast.stmt, like: CodeType) -> CodeType | None:
    around = ast.parse(f"def around({', '.join(like.co_freevars)}): pass")
    outer = around.body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.body = [definition]
    flags = like.co_flags & annotations.compiler_flag
    module = compile(ast.fix_missing_locations(around), like.co_filename, "exec", flags, dont_inherit=True)
    inner = [one for code in module.co_consts if isinstance(code, CodeType) for one in code.co_consts]
    for one in inner:
        if isinstance(one, CodeType) and one.co_name == like.co_name and one.co_freevars == like.co_freevars:
            return one.replace(co_qualname=like.co_qualname)
    return None


class _Turned(ast.NodeTransformer):
    """Inserts a call of `walked` or `popped` wherever a set may be iterated."""

    def visit_For(self, node: ast.For) -> ast.For:
        self.generic_visit(node)
        node.iter = _asking(_WALKED, node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        if not node.is_async:
            node.iter = _asking(_WALKED, node.iter)
        return node

    def visit_Starred(self, node: ast.Starred) -> ast.Starred:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            node.value = _asking(_WALKED, node.value)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        self.generic_visit(node)
        if any(isinstance(target, ast.Tuple | ast.List) for target in node.targets):
            node.value = _asking(_WALKED, node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "pop" and not node.keywords:
            return _asking(_POPPED, node.func.value, *node.args)
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        if name in _WALKERS:
            node.args = [one if isinstance(one, ast.Starred) else _asking(_WALKED, one) for one in node.args]
        return node


def _asking(name: str, *values: ast.expr) -> ast.Call:
    function = ast.copy_location(ast.Name(name, ast.Load()), values[0])
    return ast.copy_location(ast.Call(function, list(values), []), values[0])
