"""The README is true: each of its code blocks is run as it stands there, with what it needs around it.

SURROUNDINGS, or LEFT_OUT with a reason, name each block by words that only it has. One that nobody names fails.
"""

from __future__ import annotations

import asyncio
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest

import durable
from durable.testing import Lab, torture
from tests.house.looking_in import a_reader, a_why
from tests.proof.crashes import ENVIRONMENT, ROOT
from tests.support.cells import cell
from tests.support.sessions import engine_beside, is_said, played

README = (ROOT / "README.md").read_text(encoding="utf-8")
ORDER = {"order_id": 7, "card": "…", "total": 12}


@attrs.frozen
class Block:
    """A fenced block: the line where it begins, its language, its text."""

    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"line_{self.line}"


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a Markdown text, and indented ones as blocks without a language."""
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$|(?<=\n\n)(?: {4}[^\n]*\n)+", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(line, match[1] or "", textwrap.dedent(match[0] if match[2] is None else match[2])))
    return found


BLOCKS = blocks(README)

# What the blocks are about: a shop with the function of the first page, and handlers of its own.

SHOP = """
async def charge_card(card: str, total: int) -> str:
    return f"ch_{card}_{total}"

async def refund(charge: str) -> None:
    pass

def ship(order: int) -> str:
    return f"order {order} is shipped"
"""


def the(words: str) -> str:
    """Return the text of the one block that has these words."""
    [found] = [block.text for block in BLOCKS if words in block.text]
    return found


def shop() -> dict[str, Any]:
    """Return the names that a module has which holds the first page."""
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile(SHOP + the("async def fulfil("), "README.md", "exec"), names)
    return names


async def is_waiting(path: Path, run_id: str) -> None:
    """Say that an engine which opens the store finds the run, and goes on with it."""
    async with durable.Engine([shop()["fulfil"]], store=path) as engine:
        await engine.settled()
        info = await (await engine.run(run_id)).info()
        assert (info.status, dict(info.waiting_for).keys()) == ("waiting", {"cooling off"})
        assert info.steps["charge"].output == "ch_…_12"


def made(path: Path) -> str:
    """Make a store in which one order is being fulfilled; return the run's id."""

    async def make() -> str:
        fulfil = shop()["fulfil"]
        async with durable.Engine([fulfil], store=path) as engine:
            run = await engine.start(fulfil, ORDER, id="order-6")
            await engine.settled()
            return run.id

    return asyncio.run(make())


def shell(text: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run lines at a shell whose `python` is this one."""
    script = f'set -e\npython() {{ "{sys.executable}" "$@"; }}\n{text}'
    return subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, cwd=place, env=ENVIRONMENT, timeout=50, check=False
    )


def said(text: str, place: Path) -> list[str]:
    """Run lines at a shell, all of which go well; return what they print."""
    ended = shell(text, place)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    return ended.stdout.splitlines()


# Each block in its surroundings.


def the_first_page(text: str, _place: Path) -> None:
    fulfil = shop()["fulfil"]

    async def story(*, approved: bool) -> tuple[object, dict[str, int]]:
        async with Lab([fulfil]) as lab:
            [run] = await lab.send("shop/order.placed", ORDER)
            [other] = await lab.send("shop/order.placed", {**ORDER, "order_id": 8})
            await lab.advance("24h")
            await lab.crash()
            if approved:
                await lab.send("shop/order.approved", {"order_id": 7})
            await lab.advance("7d")
            assert await other.result() == "refunded"
            return await run.result(), dict(lab.calls)

    assert asyncio.run(story(approved=True)) == ("order 7 is shipped", {"charge": 2, "ship": 1, "refund": 1})
    assert asyncio.run(story(approved=False)) == ("refunded", {"charge": 2, "refund": 2})


def a_function(text: str, _place: Path) -> None:
    names = {"durable": durable, "price_of": {"apple": 3, "pear": 4}.__getitem__}
    exec(compile(text, "README.md", "exec"), names)
    asked = {"items": {"pear", "plum", "apple"}}
    assert asyncio.run(story_of(names["add_up"], asked)) == 7
    assert asyncio.run(torture(names["add_up"], asked)).endings == 1


async def story_of(function: durable.Function[Any], data: dict[str, Any]) -> object:
    async with Lab([function]) as lab:
        return await lab.result(await lab.start(function, data))


JOB = """
import os, signal, sys
import durable

def load(day):
    if len(sys.argv) > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"loaded {day}"

@durable.function
async def etl(ctx: durable.Context) -> str:
    day = await ctx.step.run("extract", str, ctx.event.data["day"])
    return await ctx.step.run("load", load, day)

print(
"""


def a_script(text: str, place: Path) -> None:
    (place / "etl.py").write_text(f"{JOB}{text})", encoding="utf-8")
    assert shell("python etl.py dies", place).returncode in (-9, 137)
    again = shell("python etl.py", place)
    assert (again.returncode, again.stdout) == (0, "loaded 2026-11-22\n"), again.stderr
    assert "goes on: 1 finished step answers from etl.db" in again.stderr


def a_notebook(text: str, place: Path) -> None:
    async def story() -> None:
        names = shop()
        first, second, third = text.splitlines(keepends=True)
        await cell(first, names)
        await cell(second, names)
        await names["engine"].settled()
        info = await cell(third, names)
        assert "charge" in str(info) and "cooling off" in str(info)
        await names["engine"].close()
        await is_waiting(place / "shop.db", names["run"].id)

    asyncio.run(story())


def a_daemon(text: str, place: Path) -> None:
    async def story() -> None:
        names = shop()
        await cell(text.replace("await engine.send", "[sent] = await engine.send"), names)
        await is_waiting(place / "shop.db", f"{names['sent']}/fulfil")

    asyncio.run(story())


def pruning(text: str, place: Path) -> None:
    run = made(place / "app.db")

    async def story() -> None:
        names = shop()
        await cell(text, names)
        assert names["forgotten"] == 0
        await is_waiting(place / "app.db", run)
        async with durable.Engine(store=place / "app.db") as engine:
            await engine.cancel(run)
        await cell(text.replace("7d", "0s"), names)
        assert names["forgotten"] == 1

    asyncio.run(story())


def a_sender(text: str, place: Path) -> None:
    made(place / "app.db")

    async def story() -> None:
        names = shop()
        await cell(text, names)
        await is_waiting(place / "app.db", f"{names['id']}/fulfil")

    asyncio.run(story())


def a_worker(text: str, place: Path) -> None:
    run = made(place / "app.db")

    async def story() -> None:
        await cell(text, names := {**shop(), "asyncio": asyncio})
        workers = [asyncio.create_task(names["stand_by"]()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(durable.StoreLockedError):
            await durable.Engine(store=place / "app.db").open()
        assert all(worker.cancel() for worker in workers)
        await asyncio.wait(workers)
        await is_waiting(place / "app.db", run)

    asyncio.run(story())


def a_session(text: str, place: Path) -> None:
    names: dict[str, Any] = {"durable": durable, "pathlib": pathlib, "index": str, "__name__": "shop"}
    module = place / "shop.py"  # a file, so that a stack shows its lines
    module.write_text(SHOP + the('no van today")\n    return') + the("async def reindex("), encoding="utf-8")
    exec(compile(module.read_text(encoding="utf-8"), str(module), "exec"), names)
    if text.startswith("$"):
        with engine_beside([names["order"], names["reindex"]], place / "app.db"):
            played(text)


def looking(text: str, place: Path) -> None:
    run = made(place / "app.db")
    out = said(text.replace("RUN", run), place)
    assert f"  {run}  fulfil " in out[1]
    assert out[2].startswith(f"run {run} of fulfil: ")
    assert "cooling off" in "\n".join(out)


def sending(text: str, place: Path) -> None:
    made(place / "app.db")
    [sent] = said(text, place)
    asyncio.run(is_waiting(place / "app.db", f"{sent}/fulfil"))


@cache
def a_suite() -> str:
    """Return what pytest says of the README's tests in a project with the README's configuration."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "pyproject.toml").write_text(the("anyio_mode"), encoding="utf-8")
        (place / "conftest.py").write_text(the("def anyio_backend("), encoding="utf-8")
        (place / "shop.py").write_text(SHOP + the("async def fulfil("), encoding="utf-8")
        for number, words in enumerate(("refunded():", "import torture")):
            test = f"from shop import fulfil\n{the(words)}"
            (place / f"test_{number}.py").write_text(test, encoding="utf-8")
        return shell("python -m pytest -v -p no:cacheprovider", place).stdout


def a_test(text: str, _place: Path) -> None:
    said = a_suite()
    assert re.search(r"= 2 passed in ", said), said
    for name in re.findall(r"async def (test_\w+)", text):
        assert re.search(rf"::{name}.* PASSED ", said), said


def long_forms(text: str, _place: Path) -> None:
    for module, options in re.findall(r"^python -m (\S+)([^#\n]*)", text, re.MULTILINE):
        help_of = "\n".join(said(f"python -m {module} --help", ROOT))
        for option in re.findall(r"--\S+", options):
            assert option in help_of, f"python -m {module} has no {option}"


def a_debounce(text: str, _place: Path) -> None:
    indexed: list[str] = []

    async def story() -> None:
        names: dict[str, Any] = {"durable": durable, "index": indexed.append}
        await cell(text, names)
        async with Lab([names["reindex"]]) as lab:
            for doc in "aab":
                await lab.send("doc/edited", {"doc": doc})
            await lab.advance("30s")

    asyncio.run(story())
    assert sorted(indexed) == ["a", "b"]


def schedules(text: str, place: Path) -> None:
    """Run the program that makes a schedule, and see that it says so."""
    script = f"import asyncio\nimport durable\n{text}\nasyncio.run(main())\n"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=place, env=ENVIRONMENT)
    assert ended.returncode == 0, ended.stderr
    for part in ("'report', cron='30 2 * * *'", "cron='every 90m'", "id='acme', function_id='sync'"):
        assert part in ended.stdout


SURROUNDINGS: dict[str, Callable[[str, Path], None]] = {
    "async def fulfil(": the_first_page,
    "durable.run(etl": a_script,
    "async def add_up(": a_function,
    "engine = durable.Engine(": a_notebook,
    "await engine.send(": a_daemon,
    "engine.prune(": pruning,
    "async def reindex(": a_debounce,
    "refunded():": a_test,
    "anyio_mode": a_test,
    "def anyio_backend(": a_test,
    "import torture": a_test,
    "python -m durable runs": looking,
    "durable.Sender(": a_sender,
    "async def stand_by(": a_worker,
    "durable.TriggerCron(": schedules,
    'no van today")\n    return': a_session,
    "$ durable runs": a_session,
    "durable.Reader(": a_reader,
    "engine.why(": a_why,
    "python -m durable send": sending,
    "python -m tests.proof.replay": long_forms,  # by themselves they take minutes; the tests run their short forms
}
LEFT_OUT = {
    "pip install . &&": "it installs from a registry: .ci/run does that, and runs the examples",
    "pip install '.[test]' &&": "it installs from a registry and runs this suite: .ci/run does that",
}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_of_the_readme_is_true(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert block.language, f"README.md:{block.line} is no fenced block: say its language, so that it is run"
    names = [words for words in (*SURROUNDINGS, *LEFT_OUT) if words in block.text]
    assert len(names) == 1, f"README.md:{block.line}: name it by words that only it has, not {names}"
    monkeypatch.chdir(tmp_path)
    if names[0] in SURROUNDINGS:
        SURROUNDINGS[names[0]](block.text, tmp_path)


@pytest.mark.parametrize("words", [*SURROUNDINGS, *LEFT_OUT])
def test_surroundings_are_those_of_one_block(words: str) -> None:
    assert sum(words in block.text for block in BLOCKS) == 1


def test_a_block_is_found_whether_fenced_or_indented() -> None:
    text = "a\n\n```python\nif x:\n    y\n```\n\n    pip x\n    pip y\n\nb\n"
    assert blocks(text) == [Block(3, "python", "if x:\n    y\n"), Block(8, "", "pip x\npip y\n")]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("ok    room: 7.5 GiB free, the store takes 0.2 MiB", "BAD   room: 7.5 GiB free, the store takes 0.2 MiB: do"),
        ("ok    file system: ext4 at /", "ok    file system: ext4"),
        ("ok    open in: process 7 on host 'a', which began at 2026-12-01T00:50:12Z", "ok    open in: no process"),
        ("ok    store: format 3, page_size 4096, pages 1", "note  store: format 3, page_size 4096, pages 1: it is old"),
        ("/srv/app.db: 6 runs, 57 entries", "/srv/app.db: 7 runs, 57 entries"),
        ("/srv/app.db: 6 runs", "/srv/copy.db: 6 runs"),
    ],
)
def test_a_line_of_the_session_is_that_of_any_machine_and_no_other(wanted: str, said: str) -> None:
    assert not is_said(wanted, said) and is_said(wanted, wanted)
