"""The long form, as a command: see `tests.proof.replay.replaying`."""

from tests.proof.replay.replaying import main

main()
