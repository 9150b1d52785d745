"""Run rounds of `kill -9` and of other attacks on a store.

    python -m tests.proof.crashes --rounds 200 --seed 1

Separate because the child processes import the package without this module.
Leaves to `stories` the rounds themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from pathlib import Path

from tests.proof.crashes import RUNS, worked
from tests.proof.crashes.stories import KINDS, rounds

_KINDS = "\n".join(f"  {name}: {act.__doc__}" for name, (_, act) in KINDS.items())
_EPILOG = f"""Each round is one of these, on a store with {RUNS} runs; first it is made, by children killed meanwhile:
{_KINDS}

After each the store opens, or is refused with every byte in its folder as before, and opens once what was wrong is
taken away. When a child has ended by itself, no acknowledged step was executed again, and its results are as without
all that."""


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.proof.crashes",
        description="kill -9, hostile neighbours, foreign locks, cancelled openings: again and again",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=200, help="how many, of all kinds together")
    parser.add_argument("--seed", type=int, default=1, help="of all that is chosen by chance")
    parser.add_argument("--child", nargs=2, metavar=("STORE", "LOG"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(asyncio.run(worked(*asked.child))))
        return
    folder = Path(tempfile.mkdtemp(prefix="crashing-"))  # stays, where a rule was broken
    kinds, total = rounds(folder, asked.rounds, asked.seed)
    shutil.rmtree(folder)
    print(f"seed {asked.seed}: {kinds.total()} rounds in {total['stories']} stories of {RUNS} runs, 0 broken")
    for kind, count in kinds.most_common():
        print(f"{count:>6}  {kind}")
    print(f"{total['executions']:,} calls of handlers, {total['again']} of them again after a crash")
    print("results as without crashes, no acknowledged step again")


if __name__ == "__main__":
    main()
