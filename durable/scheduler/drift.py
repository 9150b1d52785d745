"""Log harmless differences between a function's code and its run's record.

Separate because it decides nothing: the record stands, and these lines are for people to read.
Leaves to `session` the detection, and the differences that are errors (R6).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta

from durable.events import Json
from durable.journal import Err, ForEvent, ForSignal, Ledger, Ok, StepFacts, Wait, outline
from durable.scheduler.parts import Parts
from durable.timers import few, shown

_Difference = tuple[str, str, str]  # name, as it is recorded, as it is asked for

# Older releases read the clock twice for one wait: once for its deadline, once for the time of its opening.
_NEARLY = timedelta(seconds=1)


def tell_other_wait(parts: Parts, ledger: Ledger, key: str, asked: Wait, span: timedelta | None) -> None:
    """Warn if an open wait is recorded differently from what the code now asks.

    It warns once for each function. `span` is the span from the call to the deadline; None for a sleep until an
    instant, which may be a different one at every call.
    """
    facts = ledger.steps[key]
    found = [(name, shown(was), shown(now)) for name, was, now in _parts(facts.wait, asked) if was != now]
    _tell_other(parts, ledger, key, [*found, *_other_time(facts, span)])


def tell_other_child(parts: Parts, ledger: Ledger, key: str, asked: str, span: timedelta | None) -> None:
    """Warn if an open invoke is recorded differently from what the code now asks.

    It has opened a run of another function, or has another deadline. `span` is as for `tell_other_wait`.
    """
    child = parts.decisions.state.child_of((ledger.run, key))
    found = [] if child is None or child.function == asked else [("function", repr(child.function), repr(asked))]
    _tell_other(parts, ledger, key, [*found, *_other_time(ledger.steps[key], span)])


def tell_late(parts: Parts, ledger: Ledger, keys: Iterable[str]) -> tuple[str, ...]:
    """Warn that the code has not asked for the next recorded steps; return their keys."""
    late = tuple([key for key in keys if not ledger.steps[key].is_unasked])  # R32: these are expected to come unasked
    if late:
        parts.logger.warn_sparingly(
            ledger.function,
            "run %r: its record goes on with step %s, but the code has not come to it again: the code has changed, or "
            "awaits something outside its steps",
            ledger.run,
            few(late),
        )
    return late


def tell_unasked(parts: Parts, ledger: Ledger, known: Collection[str]) -> None:
    """Log the recorded steps that an ended function has not asked for (R6).

    Steps in `known` are left out.
    """
    unasked = [key for key, facts in ledger.steps.items() if key not in known and isinstance(facts.outcome, Ok | Err)]
    if unasked:
        parts.logger.info("run %r ended without asking for recorded steps: %s", ledger.run, few(unasked))


def _tell_other(parts: Parts, ledger: Ledger, key: str, found: list[_Difference]) -> None:
    if not found:
        return
    parts.logger.warn_once(
        f"asked otherwise by function {ledger.function}",
        "step %r of run %r is still open and stands as it is recorded, although the code of function %r now asks "
        "otherwise (%s): a new id has it asked anew; this is said once for the function",
        key,
        ledger.run,
        ledger.function,
        "; ".join(f"{name} {was} is recorded, and {now} is asked for" for name, was, now in found),
    )


def _parts(was: Wait | None, asked: Wait) -> list[tuple[str, object, object]]:
    match was, asked:
        case ForEvent(), ForEvent():
            return [
                ("event", was.event, asked.event),
                ("match", was.match, asked.match),
                ("if_exp", was.expression, asked.expression),
                ("ask", _told(was.ask), _told(asked.ask)),
            ]
        case ForSignal(), ForSignal():
            return [("signal", was.signal, asked.signal), ("ask", _told(was.ask), _told(asked.ask))]
        case _:
            return []


def _told(ask: Json | None) -> object:
    return None if ask is None else outline(ask)


def _other_time(facts: StepFacts, span: timedelta | None) -> list[_Difference]:
    # A step that was opened anew in a later attempt keeps its first deadline: its recorded span is unknown then.
    if span is None or facts.openings or facts.wait is None:
        return []
    recorded = None if facts.wait.until is None else facts.wait.until - facts.opened_at
    if recorded is not None and abs(recorded - span) <= _NEARLY:
        return []
    return [("time", str(recorded), str(span))]
