"""Drift: what is said where a function's code asks otherwise than its run's record says, and that is no error.

Separate because it decides nothing: what is recorded stands, and this is for people to read.
Leaves to `session` to notice, and what is an error (R6).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta

from durable.ledger import Ledger, StepFacts
from durable.machine import Parts
from durable.records import Err, ForEvent, ForSignal, Ok, Wait

_Difference = tuple[str, str, str]  # of what, as it is recorded, as it is asked for

# Older releases read the clock twice for one wait: for its deadline, and for when it was opened.
_NEARLY = timedelta(seconds=1)


def tell_other_wait(machine: Parts, ledger: Ledger, key: str, asked: Wait, span: timedelta | None) -> None:
    """Warn once a function if a wait that is still open is recorded as another than the code now asks for.

    `span` is what the deadline counts from the call; None for an instant, which may be another at every call.
    """
    facts = ledger.steps[key]
    found = [(name, repr(was), repr(now)) for name, was, now in _parts(facts.wait, asked) if was != now]
    _tell_other(machine, ledger, key, [*found, *_other_time(facts, span)])


def tell_other_child(machine: Parts, ledger: Ledger, key: str, asked: str, span: timedelta | None) -> None:
    """Warn once a function if an invoke that is still open has opened a run of another function than is now asked, or
    has another deadline; `span` as for `tell_other_wait`."""
    child = machine.causes.state.child_of((ledger.run, key))
    found = [] if child is None or child.function == asked else [("function", repr(child.function), repr(asked))]
    _tell_other(machine, ledger, key, [*found, *_other_time(ledger.steps[key], span)])


def tell_late(machine: Parts, ledger: Ledger, keys: Iterable[str]) -> tuple[str, ...]:
    """Warn that the record goes on with steps that the code does not ask for; return which."""
    late = tuple([key for key in keys if not ledger.steps[key].is_unasked])  # R32: those may well come unasked
    if late:
        machine.logger.warning(
            "run %r: its record goes on with step %s, but the code has not come to it again: the code has changed, or "
            "awaits something outside its steps",
            ledger.run,
            _names(late),
        )
    return late


def tell_unasked(machine: Parts, ledger: Ledger, known: Collection[str]) -> None:
    """Say in one line which recorded steps a function that has ended has not asked for, but for those `known` (R6)."""
    unasked = [key for key, facts in ledger.steps.items() if key not in known and isinstance(facts.outcome, Ok | Err)]
    if unasked:
        machine.logger.info("run %r ended without asking for recorded steps: %s", ledger.run, _names(unasked))


def _tell_other(machine: Parts, ledger: Ledger, key: str, found: list[_Difference]) -> None:
    if not found:
        return
    machine.logger.warn_once(
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
            ]
        case ForSignal(), ForSignal():
            return [("signal", was.signal, asked.signal)]
        case _:
            return []


def _other_time(facts: StepFacts, span: timedelta | None) -> list[_Difference]:
    # In a later attempt the step was opened anew, and its first deadline stood: nothing says any more what it counted.
    if span is None or facts.openings or facts.wait is None:
        return []
    recorded = None if facts.wait.until is None else facts.wait.until - facts.opened_at
    if recorded is not None and abs(recorded - span) <= _NEARLY:
        return []
    return [("time", str(recorded), str(span))]


def _names(keys: Iterable[str]) -> str:
    return ", ".join(map(repr, keys))
