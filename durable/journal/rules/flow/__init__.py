"""Rules of flow control: when a run opens, and when it may begin.

Separate because they are asked only of functions that declare such options: all others cost what they did.
Leaves to `decisions` the causes that ask these rules.
"""
