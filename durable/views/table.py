"""Draw a list of runs as a table in plain text, one line for each run.

Separate because a list shows little of many runs, a timeline much of one.
Leaves to `listing` the choice of the runs, to `timeline` the spelling of durations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from durable.timers import on_a_line
from durable.views.info import RunInfo
from durable.views.timeline import span

_HEADS = ("OPENED (UTC)", "STATUS", "STEPS", "TOOK", "RUN", "FUNCTION", "WAITING FOR, OR HOW IT ENDED")
_MOST = 3  # steps of a run that are told of


def table_of(infos: Iterable[RunInfo], now: datetime) -> str:
    """Return a head and one line for each run.

    STEPS are the finished and the known ones, TOOK is the time from the opening to the end, or till `now`. Then comes
    what the run waits for or runs, or its error, or why it was cancelled.
    """
    rows = [_HEADS, *(tuple(map(on_a_line, _cells(info, now))) for info in infos)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(info: RunInfo, now: datetime) -> tuple[str, ...]:
    finished = sum(step.ended_at is not None for step in info.steps.values())
    return (
        f"{info.opened_at:%Y-%m-%d %H:%M:%S}",
        info.status,
        f"{finished}/{len(info.steps)}",
        span((info.ended_at or now) - info.opened_at),
        info.id,
        info.function_id,
        _told(info),
    )


def _told(info: RunInfo) -> str:
    if info.ended_at is not None:
        return info.reason or ("" if info.error is None else str(info.error))
    told = list(_doing(info))
    more = [f"and {len(told) - _MOST} more"] if len(told) > _MOST else []
    return "; ".join([*told[:_MOST], *more])


def _doing(info: RunInfo) -> Iterator[str]:
    for step in info.steps.values():
        if step.status == "running":
            yield f"runs {step.key}" if step.progress is None else f"runs {step.key}, {step.progress}"
        elif step.key in info.waiting_for:
            yield f"{step.key}: {info.waiting_for[step.key]}"
