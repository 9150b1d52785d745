"""Decide which records follow from an event, a signal, a deadline or an end.

Separate because decisions are pure: they read the folded state, and use no await, clock or log.
Leaves to `writer` the writing of the records, to `scheduler` the actions that follow from them.
"""
