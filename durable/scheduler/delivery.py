"""Deliver outcomes to a run in the same order live and on replay.

Separate because this is why races replay exactly, and because it must be readable on one page.
Leaves to `session` the calls that wait for an outcome, to `journal` the durability of an outcome.

A store of results alone forgets which of two steps ended first: on replay both are there at once, and `asyncio.wait`
picks another winner. So outcomes come in *turns*. One turn is open: outcomes join it as they are posted, and its number
is part of their records. It closes when it holds an outcome and the turn before it has been delivered. It is delivered
when it is closed, all of it is durable, and the run is *quiet*. Quiet means that 96 rounds of the event loop have
passed without a step call, a delivery or a start. By then everything that the last delivery set off, through gather,
wait, TaskGroup and queues, has happened. A completion needs 2 x depth + 1 rounds, and nested groups that it begins and
ends need a third round for each level: 91 for 30 levels. Rounds in which nothing can happen are skipped, so code that
awaits one step after the other pays for two or three.

On replay the recorded turns are delivered by the same rule, so at each delivery the code is in the state in which it
was when it first ran. Three shortcuts look safe but are not: fewer rounds while only one task has called a step, fewer
rounds while no task has (a background task may have started without having called a step yet), and the delivery of a
turn's outcomes one by one.

A step that the code cancelled holds its place: the turns after it wait until the code has cancelled it again (R9). An
outcome that the code had not asked for when its turn was delivered is *late*. It waits for no turn and no cancelling:
it comes when the code has asked for it and the run is quiet. Changed code asks late. So does a run that was opened
again (R32): it does its failed step anew before it comes to what is recorded after that step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from durable.errors import StoreError
from durable.journal import Cancelled, Journal, Ledger
from durable.scheduler.rounds import Rounds

QUIET = 96
# Shared by the executions that hold no step, or have had no outcome, and never written to: else the held steps of one
# run would stop another.
_NONE_HELD: dict[str, int] = {}
_NO_NUMBERS: dict[int, int] = {}


class Receiver(Protocol):
    """A receiver is given the outcomes of one execution."""

    def deliver(self, keys: Sequence[str]) -> list[str]:
        """Give outcomes to the calls that wait for them; return the keys not asked for yet."""

    def tell_stuck(self, keys: Iterable[str]) -> None:
        """Note recorded steps that the code does not ask for, or not cancel, again."""

    def has_asked(self, key: str) -> bool:
        """Return whether the code has called the step of this key."""


class Delivery:
    """A delivery orders the outcomes of one execution of one run.

    `receiver` is that execution. Once it is over, nothing is delivered any more, and it takes the receiver away.
    `is_still` says that the receiver was found to be settled, and has not moved since: then it is not in
    `Rounds.moving`.
    """

    __slots__ = (
        "_held",
        "_journal",
        "_last",
        "_ledger",
        "_numbers",
        "_recorded",
        "_rounds",
        "_tells",
        "_watched",
        "delivered",
        "is_still",
        "is_stopped",
        "late",
        "quiet_at",
        "receiver",
    )

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        rounds: Rounds,
        receiver: Receiver,
    ) -> None:
        self.delivered = 0
        ledger.delivered = 0
        self._ledger = ledger
        self._journal = journal
        self._rounds = rounds
        self.receiver = receiver
        self.is_stopped = self.is_still = False
        rounds.moving[receiver] = None
        self._watched = False  # the rounds call back when the run is quiet
        self._tells = False  # the journal calls back when an outcome is durable
        self.quiet_at = rounds.now + QUIET
        # The number of the last record when this execution began: every turn recorded by then is durable with it.
        self._recorded = journal.posted
        self._last = max(ledger.turns) if ledger.turns else 0
        # By turn, the number of the last record that joined it: the turn is durable with that.
        self._numbers = _NO_NUMBERS
        # Keys whose turn was delivered before the code asked for them.
        self.late: Sequence[str] = ()
        # By key, the turn after which the code cancelled the step, until the code has cancelled it again (R9).
        self._held = _held(ledger) if ledger.steps else _NONE_HELD
        if self._last:
            self._close_open_turn()
            self._watch()

    @property
    def is_quiet(self) -> bool:
        """Whether enough rounds have passed since the run last did something."""
        return self._rounds.now >= self.quiet_at

    @property
    def is_delivering(self) -> bool:
        """Whether an outcome is on its way to the run."""
        return self.delivered < self._last and not self._is_held()

    @property
    def is_idle(self) -> bool:
        """Whether the run is quiet and no outcome is on its way to it."""
        return self.is_quiet and not self._watched and not self.is_delivering

    def touch(self) -> None:
        """Note that the run called or cancelled a step or received an outcome."""
        self.quiet_at = self._rounds.now + QUIET
        if self.is_still:
            self.move()
        if self.late:
            self._watch()

    def move(self) -> None:
        """Note that an execution that was still may move again."""
        self.is_still = False
        self._rounds.moving[self.receiver] = None

    def posted(self, turn: int, number: int) -> None:
        """Note that an outcome joined a turn as record `number`."""
        if self.is_still:
            self.move()
        self._last = turn
        if self._numbers is _NO_NUMBERS:
            self._numbers = {}
        self._numbers[turn] = number
        self._close_open_turn()
        if not self._tells:
            self._wait_for(number)
        if self.quiet_at > self._rounds.until:
            self._rounds.keep(self.quiet_at)

    def cancelled_again(self, key: str) -> None:
        """Note that the code has cancelled a step again whose cancelling is recorded."""
        if self._held.pop(key, None) is not None:
            self._watch()

    def _watch(self) -> None:
        if not self._watched and not self.is_stopped:
            self._rounds.call_at(self.quiet_at, self._round_came)
            self._watched = True  # after that: on a full stack it may have been in vain, and is asked for again

    def _round_came(self) -> None:
        self._watched = False
        if self.is_stopped:
            return
        if self._rounds.now < self.quiet_at:
            self._watch()
        elif self.late and self._deliver_late():
            return  # late outcomes come first: the code may be waiting for one before it cancels a held step
        elif self._held and self._is_held():
            self._wait_for_cancels()
        else:
            self._deliver_turn()

    def _is_held(self) -> bool:
        return any(turn <= self.delivered for turn in self._held.values())

    def _wait_for_cancels(self) -> None:
        held = [key for key, turn in self._held.items() if turn <= self.delivered]
        self.receiver.tell_stuck(held)
        for key in held:
            if not self.receiver.has_asked(key):
                del self._held[key]  # a step that the code no longer has cannot be cancelled again
        if not self._is_held():
            self._watch()

    def _deliver_late(self) -> bool:
        before, self.late = self.late, ()
        self.late = self.receiver.deliver(before)
        if len(self.late) == len(before):
            return False
        self.touch()
        self._watch()
        return True

    def _deliver_turn(self) -> None:
        turn = self.delivered + 1
        if turn > self._last:
            return
        number = self._numbers.get(turn, self._recorded)  # what joins a turn comes after all that was recorded
        if number > self._journal.durable:
            if not self._tells:
                self._wait_for(number)
            return
        self._numbers.pop(turn, None)
        self.delivered = self._ledger.delivered = turn
        self.touch()
        unclaimed = self.receiver.deliver(self._ledger.turns.get(turn, []))
        if unclaimed:
            self.late = [*self.late, *unclaimed]
            self.receiver.tell_stuck(unclaimed)
        if turn < self._last:
            self._close_open_turn()
            self._watch()

    def _close_open_turn(self) -> None:
        ledger = self._ledger
        if ledger.open_turn == self.delivered + 1 and ledger.open_turn <= self._last:
            ledger.open_turn += 1

    def _wait_for(self, number: int) -> None:
        if number <= self._journal.durable:
            self._watch()
        else:
            self._journal.tell(number, self._became_durable)
            self._tells = True  # after that, as in `_watch`

    def _became_durable(self, error: StoreError | None) -> None:
        self._tells = False
        if error is None and not self._watched:
            self._round_came()


def _held(ledger: Ledger) -> dict[str, int]:
    # By key, the turn after which the code cancelled the step.
    held: dict[str, int] = {}
    for key, facts in ledger.steps.items():
        if type(facts.outcome) is Cancelled and facts.turn is not None:
            held[key] = facts.turn
    return held or _NONE_HELD
