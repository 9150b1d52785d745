"""Run the long form of the proof of forks."""

from tests.proof.forking.forking import main

if __name__ == "__main__":
    main()
