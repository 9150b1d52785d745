"""The two clocks: the machine's, on a loop whose monotonic time a test decides, and the virtual one."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, timezone

import pytest

from durable.testing.clock import VirtualClock
from durable.timers.clock import SystemClock
from durable.timers.wheel import TimerWheel

START = datetime(2030, 1, 1, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
SECOND = timedelta(seconds=1)
name: ContextVar[str] = ContextVar("name", default="nobody")


class LeapingSelector(selectors.DefaultSelector):
    """Never waits: a wait moves `elapsed` on instead, and its length is kept in `waits`."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0
        self.waits: list[float] = []

    def select(self, timeout: float | None = None):
        if timeout:
            self.elapsed += timeout
            self.waits.append(timeout)
        return super().select(0)


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop without waiting: its monotonic time leaps to the next timer."""

    def __init__(self) -> None:
        self.selector = LeapingSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.elapsed


class Wall(SystemClock):
    """The SystemClock on the time of a LeapingLoop, `offset` apart: setting that is setting the wall clock."""

    def __init__(self, loop: LeapingLoop) -> None:
        self.loop = loop
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.time()) + self.offset

    def steady(self) -> float:
        return self.loop.time()


def leap(scene: Callable[[Wall, list[datetime]], asyncio.Future[object]]) -> tuple[list[datetime], list[float]]:
    """Run a scene until the future that it returns is done; return the instants it noted and the loop's waits."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, LeapingLoop)
        noted: list[datetime] = []

        async def play() -> None:
            await scene(Wall(loop), noted)

        runner.run(play())
        return noted, loop.selector.waits


def ringing(clock: Wall, noted: list[datetime], when: datetime) -> asyncio.Future[object]:
    done = asyncio.get_running_loop().create_future()
    clock.call_at(when, lambda: (noted.append(clock.now()), done.set_result(None)))
    return done


def test_a_callback_runs_at_its_instant() -> None:
    """R17: never early, and with no more wake-ups than one in 30 s."""
    rang, waits = leap(lambda clock, noted: ringing(clock, noted, START + timedelta(seconds=100)))
    assert START + timedelta(seconds=100) <= rang[0] <= START + timedelta(seconds=100.05)
    assert len(waits) <= 5 and max(waits) <= 30


def test_a_clock_set_forward_is_noticed_within_30_seconds() -> None:
    """R17: at most 30 s late after the clock jumped; a resumed machine looks the same."""

    def scene(clock: Wall, noted: list[datetime]) -> asyncio.Future[object]:
        done = ringing(clock, noted, START + timedelta(days=1))
        asyncio.get_running_loop().call_later(7, lambda: setattr(clock, "offset", timedelta(days=1)))
        return done

    rang, _ = leap(scene)
    assert START + timedelta(days=1) <= rang[0] <= START + timedelta(days=1, seconds=37)


def test_a_clock_set_back_makes_nothing_early() -> None:
    """R17: `now() >= when` when the callback runs, also where the loop has waited as long as was asked."""

    def scene(clock: Wall, noted: list[datetime]) -> asyncio.Future[object]:
        done = ringing(clock, noted, START + timedelta(seconds=20))
        clock.offset = timedelta(minutes=-10)
        return done

    rang, _ = leap(scene)
    assert START + timedelta(seconds=20) <= rang[0] <= START + timedelta(seconds=20.05)


@pytest.mark.parametrize("by", [timedelta(milliseconds=60), timedelta(seconds=10), timedelta(days=400)], ids=str)
def test_a_clock_that_was_set_back_says_so_within_30_seconds(by: timedelta) -> None:
    """R17: by how much, once, to each who watches; a clock that is slewed is not set."""
    told: list[tuple[datetime, timedelta]] = []

    def scene(clock: Wall, noted: list[datetime]) -> asyncio.Future[object]:
        loop = asyncio.get_running_loop()
        clock.watch(lambda by: told.append((START + timedelta(seconds=loop.time()), by)))
        clock.watch(lambda by: told.append((START, by)))()
        loop.call_later(40, lambda: setattr(clock, "offset", timedelta(milliseconds=-40)))
        loop.call_later(100, lambda: setattr(clock, "offset", timedelta(milliseconds=-80)))
        loop.call_later(200, lambda: setattr(clock, "offset", timedelta(milliseconds=-80) - by))
        clock.call_at(LAST, lambda: None)
        done = loop.create_future()
        loop.call_later(260, done.set_result, None)
        return done

    leap(scene)
    (at, told_by), *more = told
    assert more == [] and abs(told_by - by) < timedelta(milliseconds=1)
    assert START + timedelta(seconds=200) <= at <= START + timedelta(seconds=230.1)


def test_a_clock_set_forward_or_a_machine_that_slept_tells_nobody() -> None:
    told: list[timedelta] = []

    def scene(clock: Wall, noted: list[datetime]) -> asyncio.Future[object]:
        clock.watch(told.append)
        asyncio.get_running_loop().call_later(7, lambda: setattr(clock, "offset", timedelta(days=1)))
        return ringing(clock, noted, START + timedelta(days=1, seconds=100))

    leap(scene)
    assert told == []


Later = Callable[[float, Callable[[], object]], object]


def spans(scene: Callable[[Wall, TimerWheel[str], Later], None]) -> dict[str, float]:
    """Let timers run for ten minutes of the machine's steady time, and return at which second of it each was due."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, LeapingLoop)
        due: dict[str, float] = {}

        async def play() -> None:
            clock = Wall(loop)
            timers: TimerWheel[str] = TimerWheel(
                clock, lambda given: due.update((key, loop.time()) for key, _ in given), loop.call_soon
            )
            scene(clock, timers, loop.call_later)
            await asyncio.sleep(600)
            timers.close()
            assert clock._told == ()

        runner.run(play())
        return due


def test_spans_are_brought_forward_when_the_clock_is_set_back_and_deadlines_are_not() -> None:
    """R17: a back-off of a minute is one, whatever becomes of the wall clock; it is at most 30 s late."""

    def scene(clock: Wall, timers: TimerWheel[str], later: Later) -> None:
        timers.set_span("span", START + timedelta(seconds=60))
        timers.set("deadline", START + timedelta(seconds=60))
        timers.set_span("now a deadline", START + timedelta(seconds=60))
        timers.set("now a deadline", START + timedelta(seconds=60))
        later(10, lambda: setattr(clock, "offset", timedelta(seconds=-100)))
        # Set after the clock was, and before anybody noticed: it is not early by what it has no part in.
        later(11, lambda: timers.set_span("later", clock.now() + timedelta(seconds=60)))

    due = spans(scene)
    assert due.keys() == {"span", "later", "deadline", "now a deadline"}
    assert 60 <= due["span"] <= 60.1 and 71 <= due["later"] <= 71.1
    assert 160 <= due["deadline"] <= 160.1 and 160 <= due["now a deadline"] <= 160.1


def test_spans_of_many_are_brought_forward_in_order_a_few_in_a_turn() -> None:
    order: list[int] = []

    def scene(clock: Wall, timers: TimerWheel[str], later: Later) -> None:
        for number in range(5_000):
            timers.set_span(str(number), START + timedelta(seconds=60))
        timers.on_due = lambda due: order.extend(int(key) for key, _ in due)
        later(10, lambda: setattr(clock, "offset", timedelta(days=-1)))

    spans(scene)
    assert order == list(range(5_000))


def test_a_span_is_over_when_the_wall_clock_says_so_too() -> None:
    def scene(clock: Wall, timers: TimerWheel[str], later: Later) -> None:
        timers.set_span("span", START + timedelta(seconds=300))
        later(10, lambda: setattr(clock, "offset", timedelta(seconds=300)))

    assert spans(scene)["span"] <= 40.1


def test_the_last_instant_there_is_can_be_armed_and_cancelled() -> None:
    """R17: year 9999 is a deadline like any other."""

    def scene(clock: Wall, noted: list[datetime]) -> asyncio.Future[object]:
        alarm = clock.call_at(LAST, lambda: noted.append(LAST))
        done = ringing(clock, noted, START + timedelta(minutes=5))
        done.add_done_callback(lambda _: alarm.cancel())
        return done

    rang, _ = leap(scene)
    assert len(rang) == 1 and rang[0] < LAST


def test_a_callback_cancelled_between_two_hops_is_not_called() -> None:
    def scene(clock: Wall, noted: list[datetime]) -> asyncio.Future[object]:
        alarm = clock.call_at(START + timedelta(seconds=90), lambda: noted.append(START))
        asyncio.get_running_loop().call_later(45, alarm.cancel)
        return ringing(clock, noted, START + timedelta(seconds=120))

    rang, _ = leap(scene)
    assert rang != [] and START not in rang and len(rang) == 1


def test_an_instant_in_the_past_runs_on_a_later_turn_of_the_loop() -> None:
    def scene(clock: Wall, noted: list[datetime]) -> asyncio.Future[object]:
        done = ringing(clock, noted, START - timedelta(days=1))
        assert noted == []
        return done

    assert leap(scene) == ([START], [])


@pytest.mark.parametrize("kind", ["asyncio", "debug", "uvloop"])
def test_the_machines_clock_is_never_early(kind: str) -> None:
    """R17, on real loops: deadlines a fraction of a millisecond apart, which loops round."""
    factory = pytest.importorskip("uvloop").new_event_loop if kind == "uvloop" else None
    clock = SystemClock()

    async def play() -> list[timedelta]:
        deadlines = [clock.now() + timedelta(microseconds=310 * n) for n in range(60)]
        waits = [asyncio.get_running_loop().create_future() for _ in deadlines]
        for when, wait in zip(deadlines, waits, strict=True):
            clock.call_at(when, lambda wait=wait, when=when: wait.set_result(clock.now() - when))
        return await asyncio.gather(*waits)

    with asyncio.Runner(debug=kind == "debug", loop_factory=factory) as runner:
        assert min(runner.run(play())) >= timedelta(0)


def test_a_virtual_clock_stops_at_each_instant_in_order() -> None:
    clock = VirtualClock(START)
    seen: list[tuple[str, datetime]] = []
    for label, seconds in (("c", 3), ("a", 1), ("b", 1), ("late", 4)):
        clock.call_at(START + seconds * SECOND, lambda label=label: seen.append((label, clock.now())))
    clock.advance(3)
    assert seen == [("a", START + SECOND), ("b", START + SECOND), ("c", START + 3 * SECOND)]
    assert (clock.now(), clock.next_due()) == (START + 3 * SECOND, START + 4 * SECOND)


def test_a_callback_armed_while_the_clock_moves_runs_in_the_same_move() -> None:
    clock = VirtualClock(START)
    seen: list[datetime] = []

    def tick() -> None:
        seen.append(clock.now())
        clock.call_at(clock.now() + SECOND, tick)

    clock.call_at(START + SECOND, tick)
    clock.advance("3500ms")
    assert seen == [START + n * SECOND for n in (1, 2, 3)]
    assert clock.now() == START + 3.5 * SECOND


def test_a_virtual_clock_does_not_go_back() -> None:
    clock = VirtualClock(START)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance_to(START - SECOND)
    with pytest.raises(ValueError, match="negative"):
        clock.advance(-1)
    assert clock.now() == START


def test_a_callback_for_the_past_runs_at_the_next_move_at_the_present_time() -> None:
    clock = VirtualClock(START)
    seen: list[datetime] = []
    clock.call_at(START - SECOND, lambda: seen.append(clock.now()))
    assert (seen, clock.next_due()) == ([], START)
    clock.advance(0)
    assert (seen, clock.next_due()) == ([START], None)


def test_a_cancelled_callback_of_a_virtual_clock_is_forgotten() -> None:
    clock = VirtualClock(START)
    seen: list[str] = []
    first = clock.call_at(START + SECOND, lambda: seen.append("first"))
    second = clock.call_at(START + SECOND, lambda: seen.append("second"))
    first.cancel()
    first.cancel()
    clock.advance(1)
    second.cancel()
    assert seen == ["second"]


def test_an_exception_leaves_a_virtual_clock_where_it_was_raised() -> None:
    clock = VirtualClock(START)
    seen: list[datetime] = []
    clock.call_at(START + SECOND, lambda: 1 // 0)
    clock.call_at(START + 2 * SECOND, lambda: seen.append(clock.now()))
    with pytest.raises(ZeroDivisionError):
        clock.advance(5)
    assert clock.now() == START + SECOND
    clock.advance(5)
    assert (seen, clock.now()) == ([START + 2 * SECOND], START + 6 * SECOND)


def test_a_callback_cannot_move_the_clock_that_calls_it() -> None:
    clock = VirtualClock(START)
    clock.call_at(START, lambda: clock.advance(1))
    with pytest.raises(RuntimeError, match="call_at"):
        clock.advance(1)


def test_a_virtual_clock_speaks_utc_and_ends_at_the_last_instant() -> None:
    clock = VirtualClock(datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == START and clock.now().tzinfo is UTC
    clock.call_at(LAST, lambda: None)
    clock.advance(timedelta.max)
    assert (clock.now(), clock.next_due()) == (LAST, None)
    with pytest.raises(ValueError, match="time zone"):
        VirtualClock(datetime(2030, 1, 1))


def test_a_callback_runs_in_the_context_in_which_it_was_armed() -> None:
    clock = VirtualClock(START)
    seen: list[str] = []
    token = name.set("armed")
    clock.call_at(START, lambda: seen.append(name.get()))
    name.reset(token)
    clock.advance(0)
    assert seen == ["armed"]
