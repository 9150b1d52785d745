"""Begin all cases of a test at once, where each of them mostly waits for a process.

Separate because one after another they would wait for a good part of the suite's time.
Leaves to the test what is asked of each case.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

MOST = 4  # processes at a time: more would be in each other's way

T = TypeVar("T")
Case = TypeVar("Case", bound=Hashable)


class AtOnce(Generic[Case, T]):
    """Cases of a test, each played in a folder and a thread of its own once the first of them is asked for."""

    def __init__(self, play: Callable[[Case, Path], T], cases: Iterable[Case]) -> None:
        self._play = play
        self._cases = list(cases)
        self._begun: dict[Case, Future[T]] = {}

    def __call__(self, case: Case) -> T:
        """Wait for what a case comes to.

        Raises:
            Exception: whatever it raises.
        """
        if not self._begun:
            pool = ThreadPoolExecutor(MOST)
            self._begun = {one: pool.submit(self._in_a_folder, one) for one in self._cases}
            pool.shutdown(wait=False)
        return self._begun[case].result()

    def _in_a_folder(self, case: Case) -> T:
        with tempfile.TemporaryDirectory() as folder:
            return self._play(case, Path(folder))
