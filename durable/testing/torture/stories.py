"""Tell where two lives of a run differ, in a short message.

Separate because a failing test is read more often than it is written. The message says what was recorded, what the code
asks for instead, at which line, and what to write.
Leaves to `torture` the running of lives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from durable.scheduler import QUIET
from durable.testing.torture.handlers import Asked
from durable.testing.torture.lives import RUN, Life
from durable.testing.torture.outside import Sight

GENERAL = (
    "Whatever the function does between its steps must be the same each time it is called: random -> ctx.random, "
    "time.time() -> ctx.now(), a set of tasks -> a list, I/O outside a step -> a step"
)
OUTSIDE = "does something outside its steps"
Place = tuple[str, str]


@attrs.frozen
class Story:
    """A story says how two lives differ, and what to write instead.

    Attributes:
        text: what differs.
        remedy: what to write instead.
        may_be_race: whether a race that a crash has cut short may be the reason, too.
        title: what the function does wrong, as a predicate, if that is not that it goes on differently.
    """

    text: str
    remedy: str = GENERAL
    may_be_race: bool = False
    title: str = ""


def parting(first: Life, life: Life) -> Story | None:
    """Return the story of how a life differs from the first, or None."""
    replayed = _replays(life)
    if replayed is not None:
        return _harm(life) or Story(replayed)
    text = _arguments(life) or _steps(first, life) or _endings(first, life)
    return _harm(life) or (None if text is None else Story(text, may_be_race=True))


def told(title: str, story: Story, sights: Iterable[Sight]) -> str:
    """Return the whole message: the story, and the lines to look at.

    Without such lines it ends with the story's remedy.
    """
    seen = [f"    {sight}" for sight in sights]
    lines = ["  look here:", *seen] if seen else [f"  {story.remedy}"]
    return "\n".join([title, story.text, *lines])


def step_of(run: str, key: str) -> str:
    """Return the name of a step in a story."""
    return f"step {key!r}" if run == RUN else f"step {key!r} of run {run!r}"


def _harm(life: Life) -> Story | None:
    if life.lived.again:
        return Story(
            f"  recorded:  {life.lived.again[0]} had ended before the crash\n  but its handler was called again",
            "This breaks rule R1 and is a bug of durable: please report it",
        )
    for run, key, argument, before, after in life.lived.changed_args:
        return Story(
            f"  {step_of(run, key)} was given, at {life.lived.line(run, key)}, as its {argument}: {before:.500}\n"
            f"  and its handler has made of it: {after:.500}",
            "The function, and the next try, see what a handler does to its arguments live, but not after a crash, "
            "when a finished handler is not called again: give it a copy, and return what is to be kept",
            title=f"is not deterministic: step {key!r} changes its arguments",
        )
    if life.lived.outside:
        return Story(
            f"  it awaits something outside its steps, {life.lived.outside[0]}: on replay that comes at another moment",
            "Put it in a step: await ctx.step.run(...); to wait for time: ctx.step.sleep (what takes more than "
            f"{QUIET} rounds of the event loop between two steps counts as outside, too)",
            title=OUTSIDE,
        )
    return None


def _replays(life: Life) -> str | None:
    """Compare the step calls of each process with those of the process before it.

    They are compared delivery by delivery. Returns a text on the first difference, or None.
    """
    for before, after in zip(life.lived.processes, life.lived.processes[1:], strict=False):
        runs = {one.call.run for one in before} & {one.call.run for one in after}
        for run in sorted(runs, key=lambda run: (run != RUN, run)):
            story = _replay(_of(before, run), _of(after, run))
            if story is not None:
                return story
    return f"  the engine said: {life.heard[0]}" if life.heard else None


def _of(calls: Sequence[Asked], run: str) -> list[Asked]:
    return [one for one in calls if one.call.run == run]


def _replay(before: list[Asked], after: list[Asked]) -> str | None:
    attempt = after[-1].call.attempt
    if before[-1].call.attempt != attempt or after[0].call.attempt != attempt:
        return None
    before = [one for one in before if one.call.attempt == attempt]
    # The calls after a process's last delivery are not compared: its death may have cut them short.
    last = min(before[-1].call.turn, after[-1].call.turn)
    for turn in range(last):
        were, are = _by_key(before, turn), _by_key(after, turn)
        if were.keys() != are.keys():
            gone = next((were[place] for place in were if place not in are), None)
            new = next((are[place] for place in are if place not in were), None)
            return _instead(gone, new)
    return None


def _by_key(calls: Iterable[Asked], turn: int) -> dict[Place, Asked]:
    return {(one.call.key, one.call.kind): one for one in calls if one.call.turn == turn}


def _instead(gone: Asked | None, new: Asked | None) -> str:
    recorded = "nothing more at this point" if gone is None else _asked(gone)
    asked = "nothing more at this point" if new is None else _asked(new)
    return f"  recorded:  {recorded}\n  asked for: {asked}"


def _asked(one: Asked) -> str:
    return f"{step_of(one.call.run, one.call.key)} ({one.call.kind}) at {one.line}"


def _arguments(life: Life) -> str | None:
    for run, key, before, after in life.lived.other_args:
        return (
            f"  recorded:  {step_of(run, key)} called its handler with ({before}), at {life.lived.line(run, key)}\n"
            f"  asked for: {step_of(run, key)} with ({after})"
        )
    return None


def _steps(first: Life, life: Life) -> str | None:
    gone = [place for place, kind in first.steps.items() if life.steps.get(place) != kind]
    new = [place for place, kind in life.steps.items() if first.steps.get(place) != kind]
    if gone or new:
        recorded = _step(first, gone) if gone else _step(life, _unasked(life))
        return f"  recorded:  {recorded}\n  asked for: {_step(life, new)}"
    for run in [*first.opened, *life.opened]:
        one, other = first.opened.get(run, "nothing"), life.opened.get(run, "nothing")
        if one != other:
            return f"  recorded:  run {run!r} of {one}\n  asked for: {other}"
    return None


def _unasked(life: Life) -> list[Place]:
    """Return the steps that the last process did not ask for again."""
    asked = {(one.call.run, one.call.key) for one in life.lived.processes[-1]}
    return [place for place in life.steps if place not in asked]


def _step(life: Life, places: list[Place]) -> str:
    if not places:
        return "nothing more"
    run, key = places[0]
    return f"{step_of(run, key)} ({life.steps[run, key]}) at {life.lived.line(run, key)}"


def _endings(first: Life, life: Life) -> str | None:
    if first.ending == life.ending:
        return None
    return (
        f"  recorded:  all the same steps, and the run {_ended(first.ending)}\n"
        f"  and now:   the run {_ended(life.ending)}"
    )


def _ended(ending: tuple[str, str]) -> str:
    status, text = ending
    return f"returned {text:.500}" if status == "completed" else f"was {status}: {text:.500}"
