"""Torture the engine with workflows, crashes and damage that it must survive.

    python -m tests.proof.torture --help

Separate because the same parts serve ninety seconds of tests and hours by hand.
Leaves to `durable.testing.torture` the torture of users' own functions.
"""
