"""Say `await` where a step call is used as if it were its value.

Separate because Python would name a class of durable, after all the tries of the function, and no remedy.
Leaves to `calls` the awaiting, to `codec` a call that is returned or passed on.
"""

from __future__ import annotations

from typing import Any, NoReturn

from durable.journal import misuse


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

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_") or name[2:3] == "_":  # Python asks coroutines for cr_code, gi_code and the like
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise misuse(AttributeError(f"{self!r} has no {name!r} until it is awaited: write `await` before it"))
