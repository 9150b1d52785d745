"""A script that is imported under its own name, too: its functions are one, under two names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import durable

CHILD = dedent(
    """\
    import durable

    @durable.function
    async def child(ctx):
        return "child of " + __name__
    """
)
INVOKES = CHILD + dedent(
    """\

    async def failing(ctx): ...

    @durable.function(on_failure=failing)
    async def etl(ctx):
        import etl as twin
        first = await ctx.step.invoke("a", function=twin.child)
        second = await ctx.step.invoke("b", function=child)
        return first, second

    def main():
        import etl as twin
        print(durable.run(etl, functions=[child, twin.etl, twin.child]))
        print(durable.run(twin.etl, functions=[child]))

    if __name__ == "__main__":
        main()
    """
)
OTHER = dedent(
    """\
    import durable, other

    @durable.function
    async def child(ctx): ...

    if __name__ == "__main__":
        durable.Engine([child, other.child])
    """
)


def ran(*words: str, where: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    home = str(Path(durable.__file__).parent.parent)
    variables = {
        "PYTHONPATH": os.pathsep.join([home, str(where)]),
        "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-W", "error", *words]
    return subprocess.run(
        command, cwd=where, env=variables | environment, text=True, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("words", [["etl.py"], ["-m", "etl"], ["./sub/../etl.py"], ["link.py"]])
def test_a_script_that_is_imported_under_its_own_name_may_mix_both(words: list[str], tmp_path: Path) -> None:
    """In a list, as a function to run, and invoked; that of the later definition counts."""
    (tmp_path / "etl.py").write_text(INVOKES)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.py").symlink_to("etl.py")
    done = ran(*words, where=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "('child of etl', 'child of __main__')\n('child of etl', 'child of etl')\n"


def test_a_package_that_is_run_is_its_main_module(tmp_path: Path) -> None:
    (tmp_path / "etl").mkdir()
    (tmp_path / "etl" / "__init__.py").write_text("")
    text = INVOKES.replace("import etl as twin", "import etl.__main__ as twin")
    (tmp_path / "etl" / "__main__.py").write_text(text)
    done = ran("-m", "etl", where=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("('child of etl.__main__', 'child of __main__')\n")


@pytest.mark.parametrize("code", [False, True])
def test_functions_of_two_files_are_still_two(code: bool, tmp_path: Path) -> None:
    """Also if the script is no file at all."""
    (tmp_path / "other.py").write_text(CHILD)
    (tmp_path / "etl.py").write_text(OTHER)
    done = ran(*(["-c", OTHER] if code else ["etl.py"]), where=tmp_path)
    assert done.returncode == 1
    told = "two functions have the id 'child': __main__.child and other.child; give one of them another id"
    assert f"ValueError: {told}" in done.stderr
