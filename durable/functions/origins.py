"""Tell whether two functions with one id are definitions of the same function.

Separate because a script that is imported under its own name, too, exists as two modules, which only this module knows.
Leaves to `registry` the choice between two definitions.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from durable.functions.function import Function, origin_of

_SCRIPT = "__main__"


def is_same(known: Function[Any], other: Function[Any]) -> bool:
    """Return whether both are defined by the same module, under the same name."""
    return origin_of(known) == origin_of(other) or is_twin(known, other)


def is_twin(known: Function[Any], other: Function[Any]) -> bool:
    """Return whether one is from the script that runs, the other from the same file, imported under its own name."""
    (module, name), (other_module, other_name) = origin_of(known), origin_of(other)
    if name != other_name or (module == _SCRIPT) == (other_module == _SCRIPT):
        return False
    script, imported = sys.modules.get(_SCRIPT), sys.modules.get(other_module if module == _SCRIPT else module)
    spec = getattr(script, "__spec__", None)
    if spec is not None and imported is not None and spec.name == imported.__name__:  # python -m
        return True
    files = [getattr(one, "__file__", None) or "" for one in (script, imported)]
    return "" not in files and os.path.realpath(files[0]) == os.path.realpath(files[1])
