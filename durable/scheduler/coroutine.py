"""Define the coroutine that step methods return.

Separate because a wait is recorded at the call, so a wait that is never awaited must be taken back, and a plain
coroutine cannot tell: cancelled before its first part ran, it is thrown away without notice, and the traceback may keep
its arguments alive for as long as the task is held.
Leaves to `calls` what awaiting, cancelling and dropping a step mean.

The coroutine inside is made when the first part runs. If the outer one ends before that, because an error is thrown
into it, or it is closed or collected, the step is taken back (R19). So asyncio's warning "was never awaited" is given
here, with the step's name.
"""

from __future__ import annotations

import warnings
from collections.abc import Coroutine, Generator
from types import CodeType, FrameType
from typing import Any

from durable.journal import misplaced
from durable.scheduler.calls import StepCall
from durable.scheduler.session import Session


class StepCoroutine(Coroutine[Any, Any, Any]):
    """A step coroutine is awaited once, or put into a task.

    Without a `call` it refuses when it is awaited (R8).
    """

    __slots__ = ("__weakref__", "_call", "_is_over", "_session", "_step")

    def __init__(self, session: Session, call: StepCall | None) -> None:
        self._session = session
        self._call = call
        self._is_over = False
        self._step: Coroutine[Any, Any, Any] | None = None

    def __repr__(self) -> str:
        if self._call is None:
            return f"<a step of run {self._session.ledger.run!r}, refused>"
        return f"<step {self._call.key!r} of run {self._session.ledger.run!r}>"

    def _running(self) -> Coroutine[Any, Any, Any]:
        if self._is_over:
            raise misplaced("a step can be awaited only once, and not after its coroutine was closed: call it again")
        if self._step is None:
            self._step = self._session.refusals.refuse() if self._call is None else self._call.answer()
        return self._step

    def __await__(self) -> Generator[Any, Any, Any]:
        step = self._running()
        self._is_over = True  # from here on only the coroutine inside goes on
        return step.__await__()

    def send(self, value: Any) -> Any:
        """Run the coroutine up to where it suspends."""
        return self._running().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error where the coroutine is suspended.

        Before its first part has run, this takes the step back.
        """
        if self._step is None:
            self._drop()
        return self._running().throw(*error) if self._step is not None else _thrown(*error)

    def close(self) -> None:
        """Close the coroutine; before its first part has run, take the step back."""
        if self._step is None:
            self._drop()
        elif not self._is_over:
            self._step.close()

    def _drop(self) -> None:
        if not self._is_over and self._call is not None:
            self._is_over = True
            self._call.abandon_unawaited()

    def __del__(self) -> None:
        if self._step is not None or self._is_over or self._call is None or self._session.refused:
            return
        self._drop()
        name = f"step {self._call.key!r} of run {self._session.ledger.run!r}"
        warnings.warn(f"{name} was called, but never awaited: write `await`", RuntimeWarning, stacklevel=1, source=self)

    # These are read by inspect.getcoroutinestate and asyncio's debugging.

    @property
    def cr_running(self) -> bool:
        """Whether the coroutine is running now."""
        return bool(getattr(self._step, "cr_running", False))

    @property
    def cr_suspended(self) -> bool:
        """Whether the coroutine has begun and is suspended."""
        return bool(getattr(self._step, "cr_suspended", False))

    @property
    def cr_frame(self) -> FrameType | None:
        """The coroutine's frame, or None before it has begun and after it has ended."""
        return getattr(self._step, "cr_frame", None)

    @property
    def cr_await(self) -> Any:
        """The object that the coroutine awaits."""
        return getattr(self._step, "cr_await", None)

    @property
    def cr_code(self) -> CodeType:
        """The coroutine's code."""
        return StepCall.answer.__code__


def _thrown(error: Any, value: Any = None, traceback: Any = None) -> Any:
    # The old three-argument form, `throw(class, value, traceback)`, is still allowed.
    raise error if isinstance(error, BaseException) else value or error
