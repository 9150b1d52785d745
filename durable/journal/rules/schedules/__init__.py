"""Decide when the ticks of schedules open runs, and what a pause holds back.

Separate because these rules belong to no run, and no run asks for them.
Leaves to `decisions` the opening of a run, to `scheduler` the waiting for a tick.
"""
