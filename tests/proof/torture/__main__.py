"""Run the long form of the torture, and print each failure with the way to repeat it.

Run it as `python -m tests.proof.torture --minutes 60`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable

import tests.proof.torture.corpus_bugs  # noqa: F401
from tests.proof.torture.corpus import CORPUS
from tests.proof.torture.ordeals import agrees_with_the_model, survives_a_loss_of_power, survives_every_death

TOLD_EVERY = 30.0


async def _ordeals(seed: str) -> AsyncIterator[Awaitable[Counter[str]]]:
    for entry in CORPUS.values():
        yield survives_every_death(entry)
    number = 0
    while True:
        for _ in range(20):
            number += 1
            yield agrees_with_the_model(f"{seed}/{number}")
        yield survives_a_loss_of_power(f"{seed}/{number}")


def again(what: str) -> Awaitable[Counter[str]]:
    """Return the ordeal that a failure has named: `corpus/NAME`, `power/SEED`, or the seed of a generated case."""
    kind, _, rest = what.partition("/")
    match kind:
        case "corpus":
            return survives_every_death(CORPUS[rest])
        case "power":
            return survives_a_loss_of_power(rest)
        case _:
            return agrees_with_the_model(what)


async def _played(ordeal: Awaitable[Counter[str]]) -> Counter[str]:
    return await ordeal


async def _run(minutes: float, seed: str) -> int:
    begun = told = time.monotonic()
    total: Counter[str] = Counter()
    async for ordeal in _ordeals(seed):
        try:
            total += await ordeal
        except Exception as error:
            total["broken"] += 1
            print(f"BROKEN: {error}", flush=True)
        now = time.monotonic()
        if now - told > TOLD_EVERY or now - begun > 60 * minutes:
            told = now
            figures = ", ".join(f"{count:,} {what}" for what, count in sorted(total.items()))
            print(f"{(now - begun) / 60:.1f} min: {figures}; {total['cases'] / (now - begun):.1f} cases/s", flush=True)
        if now - begun > 60 * minutes:
            break
    return total["broken"]


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--again", metavar="WHAT", help="play again what a failure has named")
    asked = parser.parse_args()
    for name in ("durable", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if asked.again:
        print(dict(asyncio.run(_played(again(asked.again)))))
        return
    raise SystemExit(bool(asyncio.run(_run(asked.minutes, asked.seed))))


if __name__ == "__main__":
    main()
