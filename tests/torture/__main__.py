"""The long form: `python -m tests.torture --minutes 60 --seed 1`. What breaks is printed with how to see it again."""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from random import Random

import tests.torture.corpus_bugs  # noqa: F401
from tests.torture.corpus import CORPUS
from tests.torture.ordeals import agrees_with_the_model, survives_every_death
from tests.torture.power import loses_power

TOLD_EVERY = 30.0


async def _ordeals(seed: str) -> AsyncIterator[Awaitable[Counter[str]]]:
    for entry in CORPUS.values():
        yield survives_every_death(entry)
    number = 0
    while True:
        for _ in range(20):
            number += 1
            yield agrees_with_the_model(f"{seed}/{number}")
        yield _loses_power(f"{seed}/{number}")


async def _loses_power(seed: str) -> Counter[str]:
    with tempfile.TemporaryDirectory() as folder:
        return await loses_power(Path(folder), Random(seed))


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
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--again", metavar="SEED/NUMBER", help="play one generated case again")
    asked = parser.parse_args()
    for name in ("durable", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if asked.again:
        print(dict(asyncio.run(agrees_with_the_model(asked.again))))
        return
    raise SystemExit(bool(asyncio.run(_run(asked.minutes, asked.seed))))


if __name__ == "__main__":
    main()
