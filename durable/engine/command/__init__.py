"""Run the command `durable`, the way into a store from a terminal.

    durable runs app.db
    durable show app.db RUN
    durable send app.db EVENT '{"key": 1}'

`python -m durable` is the same. The path of the store comes first, then what the verb is about.

A verb is a coroutine function that takes the parsed arguments and returns an `Answer`, and a `Verb` that names it. To
add one, write both in the module of its idea: `looking`, `steering`, `scheduling`, `keeping` or `examining`. Put the
`Verb` into that module's `VERBS`, and a line about its JSON into the README. Its errors are told by `main`: raise
`Nothing` if there is nothing to do, a ValueError or TypeError for wrong use, a `StoreError` if the store is of no use.

Separate because no program that runs functions needs it; it takes no lock and so disturbs no engine that has the store
open (R29).
Leaves to `views` the text about a run, to `sender` the messages to an engine.
"""

from durable.engine.command.main import main

__all__ = ["main"]
