"""Prove forks (S5) over generated workflows. `python -m tests.proof.forking --help` is the long form.

Separate because their results must be known in advance, whatever was replaced, and in whatever order things end.
Leaves to `replay` and `torture` everything that concerns a run by itself.
"""
