"""What is public can be found: each name is importable, explained, named in the README; internals are not shown."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import durable
import durable.testing
from durable.testing import FailingStore, Lab, VirtualClock
from tests.proof.crashes import ROOT

MODULES: list[ModuleType] = [durable, durable.testing]
NAMES = [(module, name) for module in MODULES for name in module.__all__]
LONGEST_SENTENCE = 14  # words, up to the first point, colon or semicolon
PLACE = Path("nowhere.db")
# What has more to show as an object than as a class.
OBJECTS: dict[str, object] = {
    "DictStore": durable.DictStore(),
    "Engine": durable.Engine(),
    "FailingStore": FailingStore(durable.DictStore(), at=1),
    "FileStore": durable.FileStore(PLACE),
    "Lab": Lab([]),
    "Reader": durable.Reader(PLACE),
    "Sender": durable.Sender(PLACE),
    "VirtualClock": VirtualClock(datetime(2030, 1, 1, tzinfo=UTC)),
}
STORE = "open append unfinished history find prune close"
# What completion shows of each class, written down: whoever adds a public member adds it here.
MEMBERS = {
    "Backoff": "first factor max jitter",
    "Batch": "max_size timeout key if_exp",
    "Cancel": "event match if_exp timeout",
    "Clock": "now call_at",
    "Concurrency": "limit key scope counts",
    "Context": "attempt event events function_id group logger now random run_id step",
    "CurrentStep": "attempt cancelled idempotency_key key run_id",
    "Debounce": "period timeout key",
    "DictStore": f"{STORE} prunes keep mapping",
    "Dies": "when times",
    "Engine": "open close send send_signal unsend start invoke run runs result info why step cancel retry fork prune "
    "health settled held flush pause resume backfill schedule unschedule schedules",
    "Entry": "run kind body ends_run keep_until row sums_up",
    "Event": "name data id ts v",
    "Held": "function_id key events due to_dict",
    "FailingStore": f"{STORE} store appends",
    "FileStore": f"{STORE} prunes room submit path durability",
    "Function": "id code triggers on_failure cancel idempotency timeouts",
    "Group": "parallel",
    "Health": "status opened_at recovered runs late_by queued store_bytes is_ok to_dict",
    "Lab": "engine clock calls settle start send signal advance result crash",
    "Limits": "steps step_bytes run_bytes event_bytes",
    "Priority": "run",
    "Progress": "done total note",
    "RateLimit": "limit period key",
    "Reader": "path open close runs info record result why held schedules",
    "RecordedError": "name message stack step_id causes",
    "Run": "id result info step cancel",
    "RunInfo": "id function_id status event events output error reason attempt opened_at ended_at steps waiting_for "
    "record parent forked_from to_dict export",
    "RunQuery": "status function event limit event_id parent opened_after opened_before before choose",
    "RunRow": "id function event opened_at ended_at status error event_ids",
    "Schedule": "id function_id cron tz data next_at to_dict",
    "Sender": "path open close send send_signal start cancel retry fork unsend flush pause resume backfill schedule "
    "unschedule",
    "Signal": "name data",
    "Singleton": "mode key",
    "Step": "run sleep sleep_until wait_for_event wait_for_signal send_event send_signal invoke",
    "StepInfo": "key kind status attempts output error opened_at began_at ended_at progress to_dict",
    "StepOptions": "id retries backoff timeout within output_type retry_on give_up_on",
    "Store": STORE,
    "Throttle": "limit period key burst counts",
    "Timeouts": "start finish",
    "TortureReport": "function ending steps batches crashes rebuilds orders endings",
    "TriggerCron": "cron tz jitter missed",
    "TriggerEvent": "event if_exp",
    "Wait": "step kind event signal filter until run queue position",
    "Why": "text waits to_dict",
    "TriggerEvery": "every jitter missed",
    "VirtualClock": "now call_at next_due advance advance_to",
}
# Internals that are shown nevertheless. This may only become less.
SHOWN_STILL = {
    "DictStore": "immediate generation",
    "FailingStore": "immediate generation",
    "FileStore": "begin hurry immediate",
}


def docstring(module: ModuleType, name: str) -> str:
    """Return what is written about a name: its docstring, of a value the text below its definition."""
    thing = getattr(module, name)
    if inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismodule(thing):
        return inspect.getdoc(thing) or ""
    for path in sorted(Path(durable.__file__).parent.rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for statement, after in pairwise(body):
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
                is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                return str(ast.literal_eval(ast.unparse(after))) if is_text else ""
    return ""


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_is_there_and_says_what_it_is_in_one_short_sentence(module: ModuleType, name: str) -> None:
    first, *_ = docstring(module, name).partition("\n\n")
    assert first, f"{name} has no docstring"
    [sentence, *_] = re.split(r"(?<=[.:;])(?:\s|$)", first, maxsplit=1)
    words = sentence.split()
    assert 2 <= len(words) <= LONGEST_SENTENCE, f"{name}: {len(words)} words: {sentence}"


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_stands_in_the_readme(module: ModuleType, name: str) -> None:
    names = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Names\n")[2].partition("\n## ")[0]
    assert f"`{name}`" in names


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_help_shows_public_names_only(module: ModuleType) -> None:
    text = pydoc.plain(pydoc.render_doc(module))
    classes, rest = text.partition("\nCLASSES\n")[2].partition("\nFUNCTIONS\n")[::2]
    functions, data = rest.partition("\nDATA\n")[::2]
    shown = [*_told(r"class (\w+)", classes), *_told(r"(\w+)\(", functions), *_told(r"(\w+) = ", data)]
    assert len(shown) > len(module.__all__) / 2
    assert set(shown) - {*module.__all__, "__all__"} == set()


def _told(pattern: str, text: str) -> list[str]:
    return re.findall(f"^ {{4}}{pattern}", text, re.MULTILINE)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_completion_of_a_module_shows_public_names_only(module: ModuleType) -> None:
    assert sorted(dir(module)) == sorted(module.__all__)


@pytest.mark.parametrize("name", durable.testing.__all__)
def test_a_tool_for_tests_that_is_looked_for_in_durable_is_told_of_its_place(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}': write durable.testing.{name}$"):
        getattr(durable, name)


def _classes() -> list[tuple[str, Any]]:
    found = [(name, getattr(module, name)) for module, name in NAMES]
    return [(name, one) for name, one in found if inspect.isclass(one) and not issubclass(one, BaseException)]


@pytest.mark.parametrize(("name", "cls"), _classes())
def test_completion_of_a_class_shows_what_is_written_down(name: str, cls: type) -> None:
    shown = {one for one in dir(OBJECTS.get(name, cls)) if not one.startswith("_")}
    internals = set(SHOWN_STILL.get(name, "").split())
    assert internals <= shown, f"{internals - shown} are not shown any more: take them out of SHOWN_STILL"
    assert shown - internals == set(MEMBERS[name].split())
