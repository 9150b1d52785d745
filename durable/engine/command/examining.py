"""Examine a store and its place: is it whole, and can it be kept there?

Separate because these verbs read all that there is, and judge it.
Leaves to `checkup` the reading of the store, to `doctor` the measuring of its place.
"""

from __future__ import annotations

from argparse import Namespace

from durable.engine.checkup import check
from durable.engine.command.arguments import add_nothing
from durable.engine.command.verb import DONE, NO_STORE, Answer, Verb
from durable.engine.doctor import Examination, examine


async def _check(options: Namespace) -> Answer:
    found = await check(options.store)
    return Answer(str(found), found.to_dict(), DONE if found.is_whole else NO_STORE)


async def _doctor(options: Namespace) -> Answer:
    found = await examine(options.store)
    return Answer(str(found), found.to_dict(), _status(found))


def _status(found: Examination) -> int:
    return DONE if found.verdict != "bad" and found.has_store else NO_STORE


VERBS = (
    Verb("check", "read every row of a store, and say what is damaged", add_nothing, _check),
    Verb("doctor", "say what a commit costs at a store's place, and what is wrong there", add_nothing, _doctor),
)
