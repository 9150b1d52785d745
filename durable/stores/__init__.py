"""Keep entries: the Store protocol, a store in a dict, a store in a file.

Separate because a store never parses an entry, so that a user can write another store in an afternoon.
Leaves to `journal` the meaning of an entry, and the time at which it is appended.
"""

from durable.stores.bottom import BottomLine, is_terminal
from durable.stores.dict import DictStore
from durable.stores.file.bell import Bell, ring
from durable.stores.file.glance import Glance
from durable.stores.file.holder import Holder, check_taken, holder_of
from durable.stores.file.inbox import MESSAGES, Inbox, Message, message_run
from durable.stores.file.live import LiveFile
from durable.stores.file.recognition import recognise
from durable.stores.file.room import Room, room_of
from durable.stores.file.site import FileSystem, file_system_of, sync_cost
from durable.stores.file.store import FileReader, FileStore
from durable.stores.file.survey import Surveyed, settings_in, survey_facts, survey_pages, survey_runs
from durable.stores.file.thread import Job, StoreThread, deliver, perform_each
from durable.stores.jsonl import read_lines, read_runs, write_lines
from durable.stores.log import Log
from durable.stores.opening import begin_writing, hurry, opening_of
from durable.stores.rationed import RationedLog
from durable.stores.stderr import say
from durable.stores.store import Entry, Kept, RunQuery, RunRow, Store
from durable.stores.ways import Appending, keeping, pruning, submitting

__all__ = [
    "MESSAGES",
    "Appending",
    "Bell",
    "BottomLine",
    "DictStore",
    "Entry",
    "FileReader",
    "FileStore",
    "FileSystem",
    "Glance",
    "Holder",
    "Inbox",
    "Job",
    "Kept",
    "LiveFile",
    "Log",
    "Message",
    "RationedLog",
    "Room",
    "RunQuery",
    "RunRow",
    "Store",
    "StoreThread",
    "Surveyed",
    "begin_writing",
    "check_taken",
    "deliver",
    "file_system_of",
    "holder_of",
    "hurry",
    "is_terminal",
    "keeping",
    "message_run",
    "opening_of",
    "perform_each",
    "pruning",
    "read_lines",
    "read_runs",
    "recognise",
    "ring",
    "room_of",
    "say",
    "settings_in",
    "submitting",
    "survey_facts",
    "survey_pages",
    "survey_runs",
    "sync_cost",
    "write_lines",
]
