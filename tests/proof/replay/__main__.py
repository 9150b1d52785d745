"""Run the long form of the replay test: see `tests.proof.replay.replaying`."""

from tests.proof.replay.replaying import main

main()
