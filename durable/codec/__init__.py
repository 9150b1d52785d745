"""Values, exceptions and records to text and back.

Separate because what is durable is text, and only here is it known how to read it.
Leaves to the stores where the text is kept.
"""

from durable.codec.bodies import read, write
from durable.codec.classes import converter
from durable.codec.enclosing import enclose
from durable.codec.failures import raised, recorded
from durable.codec.fitting import ABSENT
from durable.codec.remedies import Whose
from durable.codec.values import copied, decode, encode, outline

__all__ = [
    "ABSENT",
    "Whose",
    "converter",
    "copied",
    "decode",
    "enclose",
    "encode",
    "outline",
    "raised",
    "read",
    "recorded",
    "write",
]
