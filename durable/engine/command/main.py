"""Run one command line, and tell its end by an exit status.

Separate because whatever goes wrong is told here, in one line, whichever verb it was.
Leaves to the modules with verbs what is done, to `watching` the doing again.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Sequence

from durable.engine.command import examining, keeping, looking, scheduling, steering
from durable.engine.command.arguments import parser_of
from durable.engine.command.output import complain, tell, tell_value
from durable.engine.command.verb import DONE, NO_STORE, NOTHING, WRONG_USE, Answer, Nothing
from durable.engine.command.watching import watch
from durable.errors import CodecError, LimitError, StoreError

VERBS = (*looking.VERBS, *steering.VERBS, *scheduling.VERBS, *keeping.VERBS, *examining.VERBS)
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0: it is done. 1: there is no such run, nothing to do, a run whose result is asked has failed, or the output could
    not be written. 2: an argument is wrong. 3: the store is missing, locked, damaged or none. After Ctrl-C it is 130,
    but 0 where that is the way to end: with `--watch`.
    """
    options = parser_of(VERBS).parse_args(arguments)
    is_watching = getattr(options, "watch", False)
    try:
        if is_watching:
            return asyncio.run(watch(options))
        return _told(options, asyncio.run(options.asked.answer(options)))
    except KeyboardInterrupt:
        return DONE if is_watching else _INTERRUPTED
    except (Nothing, TimeoutError) as error:
        complain(str(error))
        return NOTHING
    except LookupError as error:
        complain(f"{error.args[0]}: `durable runs` lists those that there are")
        return NOTHING
    except StoreError as error:
        complain(str(error))
        return NO_STORE
    except (TypeError, ValueError, CodecError, LimitError) as error:
        complain(str(error))
        return WRONG_USE


def _told(options: Namespace, answer: Answer) -> int:
    """Write an answer, and return the exit status."""
    if options.json:
        failure = tell_value(answer.value)
    else:
        failure = tell(answer.text) if answer.text else None
    if answer.trouble:
        complain(answer.trouble)
    if failure is None or isinstance(failure, BrokenPipeError):
        return answer.status
    complain(f"it was done, but cannot be told: {failure}")
    return NOTHING
