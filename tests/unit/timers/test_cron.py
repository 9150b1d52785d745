"""Cron expressions: their ticks where clocks are set, on leap days, over a year; what is refused. F9"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from durable.timers import EveryTicks, cron_ticks, is_tick, last_tick
from durable.timers.cron import Ticks, brought_in

MINUTE = timedelta(minutes=1)
# The days on which the clocks of 2030 are set, forward and back.
CHANGES = {
    "Europe/Berlin": (datetime(2030, 3, 31, tzinfo=UTC), datetime(2030, 10, 27, tzinfo=UTC)),
    "America/New_York": (datetime(2030, 3, 10, tzinfo=UTC), datetime(2030, 11, 3, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2030, 10, 5, tzinfo=UTC), datetime(2030, 4, 6, tzinfo=UTC)),  # by half an hour
}
BY_THE_CLOCK = ["* * * * *", "0 * * * *", "*/10 2 * * *", "*/5 1 * * *", "*/7 */2 * * *", "45 * * * SUN"]
ONCE_A_DAY = ["30 2 * * *", "15 2 * * *", "0 2 * * *", "0 3 * * *", "15,45 1,2,3 * * *", "30 1 * * SUN", "59 23 27 * *"]


def ticks_in(ticks: Ticks, begin: datetime, end: datetime) -> list[datetime]:
    found, tick = [], ticks.after(begin)
    while tick is not None and tick <= end:
        found.append(tick)
        tick = ticks.after(tick)
    return found


def numbers(field: str, lowest: int, highest: int) -> set[int]:
    found: set[int] = set()
    for part in field.replace("SUN", "0").split(","):
        span, _, step = part.partition("/")
        first, last = (lowest, highest) if span == "*" else (int(span), int(span))
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def fits(cron: str, local: datetime) -> bool:
    minute, hour, day, month, weekday = cron.split()
    days = local.day in numbers(day, 1, 31), local.isoweekday() % 7 in numbers(weekday, 0, 6)
    return (
        local.minute in numbers(minute, 0, 59)
        and local.hour in numbers(hour, 0, 23)
        and local.month in numbers(month, 1, 12)
        and (all(days) if "*" in (day, weekday) else any(days))
    )


def minutes(begin: datetime, end: datetime) -> Iterator[datetime]:
    while begin < end:
        begin += MINUTE
        yield begin


def computed(cron: str, tz: str, begin: datetime, end: datetime) -> list[datetime]:
    """The ticks by a look at every minute: an independent computation."""
    zone = ZoneInfo(tz)
    if cron in BY_THE_CLOCK:
        return [minute for minute in minutes(begin, end) if fits(cron, minute.astimezone(zone))]
    shown: dict[datetime, datetime] = {}
    for minute in minutes(begin - 2 * timedelta(days=1), end + 2 * timedelta(days=1)):
        shown.setdefault(minute.astimezone(zone).replace(tzinfo=None), minute)
    found = set()
    for local in minutes(min(shown), max(shown)):
        if fits(cron, local):
            while local not in shown:  # no clock shows it: the next that one shows
                local += MINUTE
            found.add(shown[local])
    return sorted(one for one in found if begin < one <= end)


@pytest.mark.parametrize("tz", CHANGES)
@pytest.mark.parametrize("cron", [*BY_THE_CLOCK, *ONCE_A_DAY])
def test_ticks_where_clocks_are_set_are_those_of_a_look_at_every_minute(cron: str, tz: str) -> None:
    for day in CHANGES[tz]:
        begin, end = day - timedelta(hours=18), day + timedelta(hours=36)
        assert ticks_in(cron_ticks(cron, tz), begin, end) == computed(cron, tz, begin, end)


@pytest.mark.parametrize("tz", CHANGES)
@pytest.mark.parametrize("cron", ["*/10 2 * * *", "*/5 1 * * *", "30 2 * * *", "15,45 1,2,3 * * *"])
def test_the_next_tick_is_the_same_from_wherever_one_looks(cron: str, tz: str) -> None:
    for day in CHANGES[tz]:
        begin, end = day - timedelta(hours=12), day + timedelta(hours=36)
        ticks, known = cron_ticks(cron, tz), computed(cron, tz, begin, end)
        for minute in minutes(begin, known[-1] - MINUTE):
            when = minute + timedelta(seconds=17, microseconds=3)
            assert ticks.after(when) == next(tick for tick in known if tick > when)


def test_an_hour_that_does_not_exist_runs_when_the_gap_ends_and_one_that_comes_twice_at_its_first() -> None:
    nightly = cron_ticks("30 2 * * *", "Europe/Berlin")
    assert nightly.after(datetime(2030, 3, 30, 12, tzinfo=UTC)) == datetime(2030, 3, 31, 1, 0, tzinfo=UTC)
    autumn = ticks_in(nightly, datetime(2030, 10, 26, 12, tzinfo=UTC), datetime(2030, 10, 28, 12, tzinfo=UTC))
    assert autumn == [datetime(2030, 10, 27, 0, 30, tzinfo=UTC), datetime(2030, 10, 28, 1, 30, tzinfo=UTC)]


@pytest.mark.parametrize("tz", ["UTC", *CHANGES])
def test_a_year_of_half_hours_and_of_days(tz: str) -> None:
    begin, end = datetime(2030, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
    halves = [begin + timedelta(minutes=30) * number for number in range(1, 365 * 48 + 1)]
    assert ticks_in(cron_ticks("*/30 * * * *", tz), begin, end) == halves
    noons = [datetime(2030, 1, 1, 12, tzinfo=ZoneInfo(tz)) + timedelta(days=number) for number in range(365)]
    assert ticks_in(cron_ticks("0 12 * * *", tz), begin, end) == [noon.astimezone(UTC) for noon in noons]


def test_a_leap_day_comes_every_four_years_but_not_in_2100() -> None:
    leap = ticks_in(cron_ticks("0 0 29 2 *", "UTC"), datetime(2088, 3, 1, tzinfo=UTC), datetime(2110, 1, 1, tzinfo=UTC))
    assert [day.year for day in leap] == [2092, 2096, 2104, 2108]


@pytest.mark.parametrize(
    ("cron", "like"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@Hourly", "0 * * * *"),
    ],
)
def test_a_nickname_is_what_it_stands_for(cron: str, like: str) -> None:
    now = datetime(2030, 5, 5, 5, 5, tzinfo=UTC)
    assert cron_ticks(cron, "Asia/Tokyo").after(now) == cron_ticks(like, "Asia/Tokyo").after(now)


def test_six_fields_begin_with_the_second() -> None:
    begin = datetime(2030, 1, 1, tzinfo=UTC)
    found = ticks_in(cron_ticks("*/20 30 1 * * *", "UTC"), begin, begin + timedelta(hours=3))
    assert found == [begin + timedelta(hours=1, minutes=30, seconds=second) for second in (0, 20, 40)]


REFUSED = {
    "nonsense": "nonsense",
    "* * * *": "Wrong number of fields",
    "* * * * * * *": "Wrong number of fields",
    "60 * * * *": "Bad minute",
    "* 24 * * *": "Bad hour",
    "* * 0 * *": "Bad day-of-month",
    "* * * 13 *": "Bad month",
    "* * * * 8": "Bad day-of-week",
    "*/0 * * * *": "Bad minute",
    f"{'9' * 5000} * * * *": "cron cannot be",
    "0 0 30 2 *": "Bad day-of-month",
    "0 0 31 4,6 *": "Bad day-of-month",
    "0 0 31 2,4 *": "Bad day-of-month",
    "@reboot": "@hourly",
    "@every 5m": "@hourly",
    "TZ=Europe/Berlin 0 9 * * *": "tz=",
    "CRON_TZ=UTC 0 9 * * *": "tz=",
    "": "Wrong number of fields",
}


@pytest.mark.parametrize("cron", REFUSED, ids=lambda cron: cron[:20])
def test_what_is_no_expression_or_never_comes_is_a_value_error_with_words(cron: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[cron]):
        cron_ticks(cron, "UTC")


@pytest.mark.parametrize("tz", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "Europe", "Europe/Berlin\0"])
def test_no_time_zone_is_a_value_error(tz: str) -> None:
    with pytest.raises(ValueError, match="tz cannot be"):
        cron_ticks("@daily", tz)


def test_ticks_end_where_datetimes_end() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    for tz in ("UTC", "Europe/Berlin"):
        assert cron_ticks("@daily", tz).after(last - timedelta(hours=1)) is None
    assert EveryTicks(timedelta(days=7)).after(last) is None


def test_every_is_the_multiples_since_1970() -> None:
    ticks = EveryTicks(timedelta(minutes=90))
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert ticks.after(noon - timedelta(seconds=1)) == noon
    assert ticks.after(noon) == noon + timedelta(minutes=90)
    assert ticks.after(datetime(1969, 12, 31, 23, tzinfo=UTC)) == datetime(1970, 1, 1, tzinfo=UTC)
    assert EveryTicks(timedelta(milliseconds=250)).after(noon) == noon + timedelta(milliseconds=250)


@pytest.mark.parametrize("cron", ["*/30 * * * *", "30 2 * * *", "@monthly", "0 0 29 2 *", "* 3 * * *"])
def test_the_last_tick_of_a_span_is_found_without_a_walk(cron: str) -> None:
    ticks, since = cron_ticks(cron, "Europe/Berlin"), datetime(2029, 12, 30, tzinfo=UTC)
    for hours in (0, 1, 26, 700, 4000):
        until = since + timedelta(hours=hours, minutes=3)
        assert last_tick(ticks, since, until) == max(ticks_in(ticks, since, until), default=None)
    assert last_tick(ticks, since, since) is None
    assert is_tick(ticks, ticks.after(since) or since) and not is_tick(ticks, since + timedelta(seconds=1))


def test_without_the_package_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(ImportError, match=r"pip install 'durable-steps\[cron\]'"):
        brought_in("cronsim", "cron")
