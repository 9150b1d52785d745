"""Give each step call its key, counting every task of a run by itself.

Separate because keys decide what replay finds: they must follow from the order of calls alone.
Leaves to `session` the calls, to `ledger` their records.

A step id that is called again gets the next number: `id`, `id:1`, `id:2`, skipping keys that its branch already uses. A
task that the function started is a branch of its own. Its keys carry a prefix that no step id can contain, so that
parallel tasks which use the same ids cannot exchange results. A branch gets its number, under the branch that started
its task, at its first step call. A key is given when the step method is called, not when the step is awaited:
`asyncio.wait` and `as_completed` put their arguments into sets, so the order of awaiting is arbitrary (R4).
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from contextvars import Context, ContextVar, copy_context
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from durable.functions import BODY, CURRENT, is_own
from durable.journal import PREFIX_END


def numbered(counts: dict[str, int], name: str) -> str:
    """Count a call under a name, and return a key that is not used yet: the name itself for the first."""
    count = counts.get(name)
    if count is None:
        counts[name] = 1
        return name
    while (key := f"{name}:{count}") in counts:
        count += 1
    counts[key] = 1
    counts[name] = count + 1
    return key


class Branch:
    """A branch counts the step calls of one task of a function (R4)."""

    __slots__ = ("children", "counts", "prefix")

    def __init__(self, prefix: str, counts: dict[str, int]) -> None:
        self.prefix = prefix
        self.children = 0
        self.counts = counts  # by key; all branches of a session share it, and their prefixes keep them apart

    def key(self, step_id: str) -> str:
        """Count a call of `step_id` and return a key that is not used yet."""
        return numbered(self.counts, self.prefix + step_id)

    def child(self) -> Branch:
        """Return a new branch for a task that was started in this branch.

        The task is just calling its first step.
        """
        number, self.children = self.children, self.children + 1
        return Branch(
            f"{self.prefix.removesuffix(PREFIX_END)}{'.' if self.prefix else ''}{number}{PREFIX_END}", self.counts
        )


Tasks = MutableMapping[asyncio.Task[Any], Branch | None]  # None: the task only awaits what another task called

BRANCH: ContextVar[tuple[Branches, Branch] | None] = ContextVar("durable_branch", default=None)

OWN: frozenset[ContextVar[Any]] = frozenset({CURRENT, BODY, BRANCH})
"""The variables in a context that are durable's own."""

# Shared by the executions that have no other tasks, and never written to: else a run would see another run's tasks.
_NO_TASKS: dict[asyncio.Task[Any], Branch | None] = {}


class Running(Protocol):
    """A running execution has a task in which its function runs."""

    main: asyncio.Task[Any]


class Branches:
    """Branches are the tasks of one execution, with the keys they have used.

    `tasks` are the tasks, besides the function's own, that have called or awaited its steps. `strangers` are tasks that
    do not belong to the run: they are never cancelled with it.
    """

    __slots__ = ("_root", "asked", "strangers", "tasks")

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.strangers: Tasks | None = None
        self._root: Branch | None = None  # made when another task than the function's own calls a step
        self.tasks: Tasks = _NO_TASKS

    def key(self, step_id: str, task: asyncio.Task[Any] | None, of: Running) -> str:
        """Count a call of `step_id` in the calling task's branch, and return its key."""
        if task is of.main or task is None:
            return numbered(self.asked, step_id)
        tasks = self._mine(of)
        branch = tasks.get(task)
        if branch is None:
            inherited = BRANCH.get()
            parent = inherited[1] if inherited is not None and inherited[0] is self else self._of_function()
            branch = tasks[task] = parent.child()
        inherited = BRANCH.get()
        if inherited is None or inherited[1] is not branch:
            BRANCH.set((self, branch))
        return branch.key(step_id)

    def _of_function(self) -> Branch:
        if self._root is None:
            self._root = Branch("", self.asked)
        return self._root

    def note(self, task: asyncio.Task[Any], of: Running) -> None:
        """Note that a task awaits a step, which another task may have called."""
        self._mine(of).setdefault(task, None)

    def forget_done(self) -> None:
        """Forget the tasks that are done: the context of each knows these branches."""
        self.tasks = {task: branch for task, branch in self.tasks.items() if not task.done()}

    def _mine(self, of: Running) -> Tasks:
        """Return the table to which the calling task belongs."""
        if is_own(of):
            if self.tasks is _NO_TASKS:
                self.tasks = {}
            return self.tasks
        if self.strangers is None:
            self.strangers = WeakKeyDictionary()
        return self.strangers


def outside() -> Context:
    """Return a copy of the context that belongs to no handler, function or branch.

    An engine may be opened inside a handler, as the test of a handler does, and must not seem to be part of it.
    """
    variables = copy_context()
    for variable in OWN:
        variables.run(variable.set, None)
    return variables
