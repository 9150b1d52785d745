"""Where it is kept: the pluggable Store protocol, a store in a dict, a store in a file.

Separate because a store never parses what it keeps, and anyone may write one in an afternoon.
Leaves to `journal` what an entry means and when it is appended.
"""

from durable.stores.dict import DictStore
from durable.stores.file.bell import Bell, ring
from durable.stores.file.inbox import Inbox, Message, message_run
from durable.stores.file.store import FileReader, FileStore
from durable.stores.file.thread import Job, StoreThread, deliver, perform_each
from durable.stores.jsonl import read_lines, write_lines
from durable.stores.log import Log
from durable.stores.opening import Opening, begin_writing, hurry, opening_of
from durable.stores.stderr import say
from durable.stores.store import Entry, RunQuery, RunRow, Store

__all__ = [
    "Bell",
    "DictStore",
    "Entry",
    "FileReader",
    "FileStore",
    "Inbox",
    "Job",
    "Log",
    "Message",
    "Opening",
    "RunQuery",
    "RunRow",
    "Store",
    "StoreThread",
    "begin_writing",
    "deliver",
    "hurry",
    "message_run",
    "opening_of",
    "perform_each",
    "read_lines",
    "ring",
    "say",
    "write_lines",
]
