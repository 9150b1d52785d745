"""Branches: the tasks of one execution, whose steps are counted apart.

Separate because keys decide what replay finds: they must come from the order of calls alone.
Leaves to `session` which calls there are, to `ledger` what is recorded of them.

A step called again gets the next number: `id`, `id:1`, `id:2`, skipping what its branch already uses. A task that the
function started is a branch of its own, whose keys carry a prefix that no step id can spell, so that parallel tasks
which use the same ids cannot exchange results. Branches are numbered by their first step call under the branch that
started them, keys when the step method is called, not when it is awaited: `asyncio.wait` and `as_completed` put their
arguments into sets, so the order of awaiting is no order at all (R4).
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from contextvars import Context, ContextVar, copy_context
from typing import Any
from weakref import WeakKeyDictionary

from durable.claims import BODY, CURRENT, is_own
from durable.ids import PREFIX_END


class Branch:
    """The steps of one task of a function: repeats are counted in each branch of its own (R4)."""

    __slots__ = ("children", "counts", "prefix")

    def __init__(self, prefix: str, counts: dict[str, int]) -> None:
        self.prefix = prefix
        self.children = 0
        self.counts = counts  # by key; one for all branches of a session, whose prefixes keep them apart

    def key(self, step_id: str) -> str:
        """Count one more call of `step_id` and return its key, skipping those that the branch already uses."""
        name = key = self.prefix + step_id
        count = self.counts.get(name, 0)
        while key in self.counts:
            key = f"{name}:{count}"
            count += 1
        self.counts[key] = 1
        self.counts[name] = max(count, 1)
        return key

    def child(self) -> Branch:
        """Return the branch of a task that this branch started and that now calls its first step."""
        number, self.children = self.children, self.children + 1
        return Branch(
            f"{self.prefix.removesuffix(PREFIX_END)}{'.' if self.prefix else ''}{number}{PREFIX_END}", self.counts
        )


Tasks = MutableMapping[asyncio.Task[Any], Branch | None]  # None: it only awaits what another task called

BRANCH: ContextVar[tuple[object, Branch] | None] = ContextVar("durable_branch", default=None)

_NO_TASKS: dict[asyncio.Task[Any], Branch | None] = {}  # shared, and never written to: most executions have none


class Branches:
    """The branches of one execution: the function's own, and those of the tasks that have called or awaited its steps.

    `tasks` are those beside the function's own. `strangers` are tasks that are none of the run's: they are never
    cancelled with it.
    """

    __slots__ = ("_of", "_root", "asked", "strangers", "tasks")

    def __init__(self, of: object) -> None:
        self.asked: dict[str, int] = {}
        self.strangers: Tasks | None = None
        self._of = of
        self._root = Branch("", self.asked)
        self.tasks: Tasks = _NO_TASKS

    def key(self, step_id: str, task: asyncio.Task[Any] | None, main: asyncio.Task[Any]) -> str:
        """Count a call of `step_id` in the branch of the task that makes it, and return its key."""
        if task is None or task is main:
            return self._root.key(step_id)
        branch = self._mine().get(task)
        if branch is None:
            inherited = BRANCH.get()
            parent = inherited[1] if inherited is not None and inherited[0] is self._of else self._root
            branch = parent.child()
            self._note(task, branch)
        inherited = BRANCH.get()
        if inherited is None or inherited[1] is not branch:
            BRANCH.set((self._of, branch))
        return branch.key(step_id)

    def note(self, task: asyncio.Task[Any]) -> None:
        """Take note that a task awaits a step, whoever has called it."""
        self._note(task, self._mine().get(task))

    def _mine(self) -> Tasks:
        if is_own(self._of):
            return self.tasks
        if self.strangers is None:
            self.strangers = WeakKeyDictionary()
        return self.strangers

    def _note(self, task: asyncio.Task[Any], branch: Branch | None) -> None:
        tasks = self._mine()
        if tasks is _NO_TASKS:
            tasks = self.tasks = {}
        tasks[task] = branch


def outside() -> Context:
    """Return a copy of the context that is no handler's, no function's and no branch's: an engine may be opened inside
    a handler, as a test of one does."""
    variables = copy_context()
    for variable in (CURRENT, BODY, BRANCH):
        variables.run(variable.set, None)
    return variables
