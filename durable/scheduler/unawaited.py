"""Say what to write where a function uses a step call as its value, or asks for a name that is not there.

Separate because Python would name a class of durable, after all the tries of the function, and no remedy.
Leaves to `calls` the awaiting, to `codec` a call that is returned or passed on, to `errors` the names.
"""

from __future__ import annotations

from typing import Any, NoReturn

from durable.journal import all_in, misuse
from durable.timers import lack_of


class Unawaited:
    """What must be awaited to be a value refuses to be used as one."""

    __slots__ = ()

    def _refuse(self, *_others: Any) -> NoReturn:
        raise misuse(TypeError(f"{self!r} was not awaited, and so is no value: write `await` before it"))

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _refuse
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __neg__ = __pos__ = __abs__ = __invert__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __int__ = __float__ = __index__ = __round__ = __bytes__ = _refuse
    __getitem__ = __setitem__ = __delitem__ = __iter__ = __contains__ = __reversed__ = _refuse
    __enter__ = __exit__ = __aenter__ = __aexit__ = __aiter__ = _refuse


def explain_names(error: BaseException) -> None:
    """Say in an AttributeError what to write, if it is about an object that a function has of durable.

    It counts for the members of a group, too. Python raised it in a line of the user's, but it cannot get better
    (R13a). That `__getattr__` does not say it is for speed: it would slow down each use of what each step uses.
    """
    for one in all_in(error):
        if type(one) is not AttributeError or type(one.name) is not str:
            continue
        if isinstance(one.obj, Unawaited):
            text: str | None = f"{one.obj!r} has no {one.name!r} until it is awaited: write `await` before it"
        else:
            text = lack_of(type(one.obj), one.name)
        if text is not None:
            one.args = (text,)
            misuse(one)
