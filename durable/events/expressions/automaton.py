"""Match a text against a pattern in time linear in the text.

Separate because `re` backtracks: `(a+)+$` against 10,000 a's would run longer than the process.
Leaves to `patterns` the meaning of a pattern's text. Source: Russ Cox, https://swtch.com/~rsc/regexp/regexp1.html

The idea is RE2's. The tree becomes a program of a few instructions (take a character, go two ways, check a place,
match), which is a nondeterministic automaton. All its threads are followed at once: a *state* is the set of
instructions at which threads stand before the next character, together with the kind of the character before (for `^`
and `\\b`). States and the steps between them are computed when a text first needs them, and kept. So after a while
reading a text costs one dictionary look-up per character.

Invariants. A state's `kernel` is the set before the free moves (splits, checks of places), because a check needs the
next character, too: `_threads` makes these moves, once per kind of next character. Every kernel holds the program's
start, so a match may begin anywhere. The question is only whether there is a match: so lazy and greedy are the same,
groups capture nothing, and the first match ends the reading.

Hostile patterns are harmless: there is no backtracking; a program has at most `_MAX_PROGRAM` instructions; kept states
are dropped whenever they outgrow `_MAX_KEPT`; and every character, step and thread costs fuel of the evaluation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, assert_never

from durable.events.expressions.charsets import Charset
from durable.events.expressions.faults import EvaluationError
from durable.events.expressions.patterns import Edge, Either, One, Pattern, Place, Repeat, Sequence, pattern_tree
from durable.events.expressions.scope import Scope

_MAX_PROGRAM = 4_000
_MAX_KEPT = 10_000

Kind = Literal["edge", "newline", "word", "other"]  # what a character is for `^ $ \b`; "edge" is the end of the text


class _Take:
    __slots__ = ("charset", "then")

    def __init__(self, charset: Charset, then: int) -> None:
        self.charset, self.then = charset, then


class _Split:
    __slots__ = ("ways",)

    def __init__(self, ways: tuple[int, ...]) -> None:
        self.ways = ways


class _Check:
    __slots__ = ("place", "then")

    def __init__(self, place: Place, then: int) -> None:
        self.place, self.then = place, then


class _Match:
    __slots__ = ()


_Instruction = _Take | _Split | _Check | _Match


class _Writer:
    """Writes a tree's program from its end to its start.

    So each instruction knows the next one.
    """

    def __init__(self) -> None:
        self.program: list[_Instruction] = [_Match()]

    def write(self, tree: Pattern, then: int) -> int:
        """Write the instructions of `tree` and return the first one's number.

        After a match of `tree` the program goes on at `then`.
        """
        match tree:
            case One(of=charset):
                return self._put(_Take(charset, then))
            case Edge(place=place):
                return self._put(_Check(place, then))
            case Sequence(parts=parts):
                for part in reversed(parts):
                    then = self.write(part, then)
                return then
            case Either(parts=parts):
                return self._put(_Split(tuple(self.write(part, then) for part in parts)))
            case Repeat():
                return self._repeat(tree, then)
            case _:
                assert_never(tree)

    def _put(self, instruction: _Instruction) -> int:
        if len(self.program) >= _MAX_PROGRAM:
            raise EvaluationError(
                f"the pattern is too large: more than {_MAX_PROGRAM:,} steps, its repetitions unrolled"
            )
        self.program.append(instruction)
        return len(self.program) - 1

    def _repeat(self, tree: Repeat, then: int) -> int:
        if tree.most is None:
            loop = self._put(_Split(()))
            self.program[loop] = _Split((self.write(tree.of, loop), then))
            start = loop
        else:
            start = then
            for _ in range(tree.most - tree.least):
                start = self._put(_Split((self.write(tree.of, start), then)))
        for _ in range(tree.least):
            before = len(self.program)
            start = self.write(tree.of, start)
            if len(self.program) == before:  # a repetition of nothing adds nothing
                break
        return start


class _State:
    """A state says where the threads stand, and keeps the steps taken from there."""

    __slots__ = ("before", "kernel", "steps", "threads")

    def __init__(self, kernel: frozenset[int], before: Kind) -> None:
        self.kernel = kernel
        self.before: Kind = before
        self.steps: dict[str, _State | None] = {}
        self.threads: dict[Kind, tuple[_Take, ...] | None] = {}


_UNKNOWN = _State(frozenset(), "edge")


def _kind(character: str) -> Kind:
    if character == "\n":
        return "newline"
    return "word" if character.isascii() and (character.isalnum() or character == "_") else "other"


def _holds(place: Place, before: Kind, after: Kind) -> bool:
    match place:
        case "text begins":
            return before == "edge"
        case "line begins":
            return before in ("edge", "newline")
        case "text ends":
            return after == "edge"
        case "line ends":
            return after in ("edge", "newline")
        case "word edge":
            return (before == "word") != (after == "word")
        case "no word edge":
            return (before == "word") == (after == "word")
        case _:
            assert_never(place)


class Automaton:
    """An automaton is a pattern that is ready to be matched."""

    def __init__(self, pattern: str) -> None:
        """Compile `pattern`.

        Raises:
            EvaluationError: not RE2's syntax, or too large.
        """
        writer = _Writer()
        self._start = writer.write(pattern_tree(pattern), 0)
        self._program = tuple(writer.program)
        self._has_places = any(isinstance(instruction, _Check) for instruction in self._program)
        self.size = len(self._program)
        self._kept = 0
        self._states: dict[tuple[frozenset[int], Kind], _State] = {}
        self._first = _State(frozenset((self._start,)), "edge")

    def matches(self, text: str, scope: Scope) -> bool:
        """Return whether the pattern matches anywhere in `text`.

        Raises:
            EvaluationError: the evaluation's fuel is spent.
        """
        scope.spend(len(text) >> 1)
        state = self._first
        for character in text:
            following = state.steps.get(character, _UNKNOWN)
            if following is _UNKNOWN:
                following = self._step(state, character, scope)
            if following is None:
                return True
            state = following
        return self._threads(state, "edge", scope) is None

    def _step(self, state: _State, character: str, scope: Scope) -> _State | None:
        """Return the state after `character`, and keep the step.

        None if the pattern has matched before the character.
        """
        kind: Kind = _kind(character) if self._has_places else "other"
        threads = self._threads(state, kind, scope)
        following = None
        if threads is not None:
            scope.spend(2 * len(threads) + 1)
            kernel = frozenset([thread.then for thread in threads if character in thread.charset] + [self._start])
            following = self._state(kernel, kind)
        self._kept += 1
        state.steps[character] = following
        return following

    def _state(self, kernel: frozenset[int], before: Kind) -> _State:
        if self._kept > _MAX_KEPT:
            self._kept = 0
            self._states = {}
            self._first = _State(frozenset((self._start,)), "edge")
        state = self._states.get((kernel, before))
        if state is None:
            self._kept += len(kernel)
            state = self._states[kernel, before] = _State(kernel, before)
        return state

    def _threads(self, state: _State, after: Kind, scope: Scope) -> tuple[_Take, ...] | None:
        """Return the instructions at which the state's threads wait for a character.

        None if one of the threads has matched.
        """
        if after not in state.threads:
            state.threads[after] = self._followed(state, after, scope)
        return state.threads[after]

    def _followed(self, state: _State, after: Kind, scope: Scope) -> tuple[_Take, ...] | None:
        takes, pending, seen = [], list(state.kernel), set(state.kernel)
        while pending:
            instruction = self._program[pending.pop()]
            ways: tuple[int, ...] = ()
            match instruction:
                case _Take():
                    takes.append(instruction)
                case _Split():
                    ways = instruction.ways
                case _Check():
                    ways = (instruction.then,) if _holds(instruction.place, state.before, after) else ()
                case _Match():
                    return None
                case _:
                    assert_never(instruction)
            fresh = [way for way in ways if way not in seen]
            seen.update(fresh)
            pending.extend(fresh)
        scope.spend(2 * len(seen))
        self._kept += len(takes)
        return tuple(takes)


@lru_cache(maxsize=128)
def automaton(pattern: str) -> Automaton:
    """Return the automaton of a pattern; each pattern is compiled once.

    Raises:
        EvaluationError: not RE2's syntax, or too large.
    """
    return Automaton(pattern)
