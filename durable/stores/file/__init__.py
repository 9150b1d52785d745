"""A store in a SQLite file, and what stands beside it: the lock, the inbox, the bell."""
