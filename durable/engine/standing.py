"""Say where a script's run stands: what is done, what runs, and what is waited for.

Separate because this is read from an open engine's memory, and changes and waits for nothing.
Leaves to `live_line` the moments at which it is said, to `shell_line` the commands that answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import attrs

from durable.engine.runtime import Runtime
from durable.engine.shell_line import answer
from durable.functions import progress_of
from durable.journal import ForChild, ForEvent, ForSignal, Ledger, ParkedRun, Until, Wait, without_ask
from durable.timers import on_a_line, shown
from durable.views import readable

_NAMED = 3  # of the steps that run, and of those that wait
_VISITED = 50  # of a run's unfinished descendants
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@attrs.frozen
class Part:
    """A part says one thing: `what` it is, then the `times` and counts that move by themselves.

    `more` and `command` are told where there is room: what is asked, and the command that answers.
    """

    what: str
    times: str = ""
    more: str = ""
    command: str = ""

    @property
    def gist(self) -> tuple[str, str, str]:
        """What the part says, without the times that move by themselves."""
        return self.what, self.more, self.command

    @property
    def text(self) -> str:
        """All that the part says, but for the command."""
        return f"{self.what}{self.times}{self.more}"

    @property
    def whole(self) -> str:
        """All that the part says."""
        return f"{self.text}: {self.command}" if self.command else self.text


@attrs.frozen
class Standing:
    """A standing is how far a run has come at one instant."""

    name: str
    finished: int
    known: int
    works: tuple[Part, ...]
    waits: tuple[Part, ...]

    @property
    def gist(self) -> tuple[object, ...]:
        """What is said, without the times that move by themselves."""
        return self.finished, self.known, *(part.gist for part in (*self.works, *self.waits))

    def told(self, *, is_whole: bool = True) -> str:
        """Return the standing as one line, `is_whole` with all that its parts say."""
        parts = [f"{self.name}: {self.finished} of {self.known} {'step' if self.known == 1 else 'steps'}"]
        parts += _listed("runs ", self.works, is_whole=is_whole)
        return on_a_line(", ".join([*parts, *_listed("", self.waits, is_whole=is_whole)]))

    @property
    def named(self) -> tuple[Part, ...]:
        """The waits that are told; of more there is only the number."""
        return self.waits[:_NAMED]


class Look:
    """A look finds out where a run stands, again and again.

    It times the tries that it sees running. `place` is the path of the store, or None if no other process can reach it.
    """

    def __init__(self, runtime: Runtime, run: str, name: str, place: str | None) -> None:
        self._runtime, self._run, self._name, self._place = runtime, run, name, place
        self._state = runtime.state
        self._counts = 0, 0
        self._since: dict[tuple[str, str, int], float] = {}
        self._before = self._since
        self._answers: dict[tuple[str, str], tuple[Wait, str, str]] = {}
        self._known = self._answers
        self._records: dict[str, Ledger] = {}

    async def learn(self) -> None:
        """Read the records of the runs that are parked now: what they ask, and have done, is not in memory."""
        to_visit = [self._run]
        for run in to_visit:
            ledger = self._state.known(run)
            if isinstance(ledger, ParkedRun) or (ledger is not None and not ledger.is_whole):
                ledger = await self._runtime.history.ledger(run)
                if ledger is not None:
                    self._records[run] = ledger
            for facts in () if ledger is None else ledger.steps.values():
                if facts.is_waiting and isinstance(facts.wait, ForChild) and len(to_visit) < _VISITED:
                    to_visit.append(facts.wait.child)

    def standing(self) -> Standing:
        """Return where the run stands now."""
        self._before, self._since = self._since, {}
        self._known, self._answers = self._answers, {}
        works: list[Part] = []
        waits: list[Part] = []
        for part, is_running in self._parts():
            (works if is_running else waits).append(part)
        waits.sort(key=lambda part: not part.command)  # first what a person can bring on
        return Standing(self._name, *self._counts, tuple(works), tuple(waits))

    def _parts(self) -> Iterator[tuple[Part, bool]]:
        to_visit = [(self._run, "")]
        for run, above in to_visit:
            known = self._state.known(run)
            if isinstance(known, ParkedRun) and known.wait is not None:
                yield self._waiting(run, above, known.key, self._recorded(run, known)), False
            if not isinstance(known, Ledger) or known.status is not None:
                continue
            running = self._runtime.scheduler.status(known)[1]
            if run == self._run and known.is_whole:
                keys = {*known.steps, *running}
                self._counts = sum(facts.outcome is not None for facts in known.steps.values()), len(keys)
            for key in running:
                facts = known.steps.get(key)
                yield self._working(run, above, key, 0 if facts is None else facts.attempt), True
            for key, facts in known.steps.items():
                if facts.outcome is not None or key in running:
                    continue
                if not facts.is_waiting:
                    if facts.due is not None:
                        yield Part(f"tries {above + key!r} again", f" {self._until(facts.due)}"), False
                elif isinstance(facts.wait, ForChild) and len(to_visit) < _VISITED:
                    to_visit.append((facts.wait.child, f"{above}{key}/"))
                elif facts.wait is not None:
                    yield self._waiting(run, above, key, facts.wait), False

    def _recorded(self, run: str, parked: ParkedRun) -> Wait:
        """Return the wait of a parked run, with what is asked where its record was read."""
        ledger = self._records.get(run)
        facts = None if ledger is None else ledger.steps.get(parked.key)
        if ledger is not None and run == self._run:
            self._counts = sum(one.outcome is not None for one in ledger.steps.values()), len(ledger.steps)
        if facts is None or facts.wait is None or without_ask(facts.wait) != parked.wait:
            return parked.wait
        return facts.wait

    def _working(self, run: str, above: str, key: str, attempt: int) -> Part:
        now = self._runtime.loop.time()
        since = self._since[run, key, attempt] = self._before.get((run, key, attempt), now)
        told = progress_of(self._runtime.parts.settings.engine, run, key)
        again = f" (try {attempt + 1})" if attempt else ""
        return Part(f"{above + key!r}{again}", f" {span(now - since)}{'' if told is None else f' ({told})'}")

    def _waiting(self, run: str, above: str, key: str, wait: Wait) -> Part:
        until = "" if wait.until is None else f" {self._until(wait.until)}"
        match wait:
            case Until():
                return Part(f"sleeps in {above + key!r}", until)
            case ForChild():
                return Part(f"waits for run {wait.child!r}", until)
            case ForSignal():
                return Part(f"waits for signal {wait.signal!r}", until, *self._answer(run, key, wait))
            case ForEvent():
                return Part(f"waits for event {wait.event!r}", until, *self._answer(run, key, wait))

    def _answer(self, run: str, key: str, wait: ForEvent | ForSignal) -> tuple[str, str]:
        """Return what a wait asks, and the command that answers it."""
        if (found := self._known.get((run, key))) is None or found[0] is not wait:
            more = "" if wait.ask is None else f", asks {shown(readable(wait.ask, object))}"
            if self._place is None:
                found = wait, f"{more}, which only this process can send: give store= a path", ""
            else:
                placed = self._state.bus.at((run, key))
                line = answer(self._place, wait, None if placed is None else placed[0], self._runtime.clock.now())
                found = wait, more, line or ""
        self._answers[run, key] = found
        return found[1:]

    def _until(self, when: datetime) -> str:
        left = (when - self._runtime.clock.now()).total_seconds()
        shown = f"{when:%H:%M:%S}" if left < 86_400 else f"{when:%Y-%m-%d %H:%M:%S}"
        return f"until {shown} UTC (in {span(max(left, 0.0))})"


def span(seconds: float) -> str:
    """Return a time as a person says it, such as "2.1 s", "42 s" or "1 h 5 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for number, (unit, size) in enumerate(_UNITS):
        if whole >= size:
            rest = whole % size // _UNITS[number + 1][1] if number + 1 < len(_UNITS) else 0
            return f"{whole // size} {unit}" + (f" {rest} {_UNITS[number + 1][0]}" if rest else "")
    return f"{whole} s"


def _listed(before: str, parts: tuple[Part, ...], *, is_whole: bool) -> list[str]:
    if not parts:
        return []
    named = [part.whole if is_whole else f"{part.what}{part.times}" for part in parts[:_NAMED]]
    more = f" and {len(parts) - _NAMED:,} more" if len(parts) > _NAMED else ""
    return [f"{before}{', '.join(named)}{more}"]
