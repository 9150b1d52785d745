"""Keep entries in a SQLite file, guarded by a lock, with an inbox and a bell.

Separate because a file outlives its process, and other programs and processes may touch it at any time.
Leaves to `journal` the meaning of an entry, to `engine.receiver` the messages in the inbox.
"""
