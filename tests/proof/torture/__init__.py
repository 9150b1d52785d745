"""Torture: workflows, crashes and damage that the engine must survive. `python -m tests.proof.torture --help`.

Separate because the same parts serve ninety seconds of tests and hours by hand.
Leaves to `durable.testing.torture` what users do to their own functions.
"""
