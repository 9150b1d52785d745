"""Turn values, errors and records into text, and back.

Separate because a store keeps text alone, and the same value must come back after a crash.
Leaves to `records` and `rules` the meaning of a record, to `stores` the keeping of its text.
"""
