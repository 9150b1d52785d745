"""Crash a function at every point, replay it in every order, report the shortest failure.

Separate because it runs one function a thousand times over, while the other tools run it once.
Leaves to `stand_in` in `scheduler` the way into an engine, to `lab` and `faults` the tests of a single case.
"""
