"""What the README names is there: verbs, rules, names of the library, files, examples.

Separate because this looks at the text between the code blocks alone.
Leaves to `test_readme` the blocks.
"""

from __future__ import annotations

import pydoc
import re
from pathlib import Path

import pytest

from durable.engine.command.main import VERBS
from durable.engine.command.verb import Verb
from tests.proof.crashes import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
def test_a_verb_of_the_command_line_stands_in_the_table(verb: Verb) -> None:
    section = README.partition("\n## At a terminal\n")[2].partition("\n## ")[0]
    [row] = re.findall(rf"^\| `{verb.name}\b[^`]*` \| (.*) \|$", section, re.MULTILINE)
    assert row.split(" | ")[-1] not in ("", "-"), "say what --json gives"


@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
def test_a_verb_of_the_command_line_is_typed_in_the_session_with_what_it_says(verb: Verb) -> None:
    [session] = re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert re.search(rf"^\$ durable {verb.name} ", session, re.MULTILINE), "type it, and show what it says"


RULES = re.findall(r"^- \*\*(R\d+[a-z]?)\*\* ", README, re.MULTILINE)


def cited(folder: str) -> set[str]:
    """Return the rules that the Python files of a folder name."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py") if path != Path(__file__)]
    return {rule for text in texts for rule in re.findall(r"\bR\d+[a-z]?\b", text)}


def test_a_rule_that_the_library_cites_can_be_looked_up() -> None:
    assert cited("durable") - set(RULES) == set()


def test_a_rule_stands_once_and_is_named_by_a_test() -> None:
    assert len(RULES) == len(set(RULES)) > 30
    assert set(RULES) - cited("tests") == set()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bdurable(?:\.[A-Za-z_]\w*)+", README))))
def test_a_name_in_the_readme_is_there(name: str) -> None:
    assert pydoc.locate(name) is not None


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"(?<![\w/.-])(?:durable|tests|examples|\.ci)/[\w/.]*\w", README)))
)
def test_a_file_that_the_readme_names_is_there(name: str) -> None:
    assert (ROOT / name).exists() or name.startswith("durable/function.")  # the runtime's own events look alike


def test_the_index_of_examples_has_each_of_them() -> None:
    index = re.findall(r"\]\(examples/([\w.]+)\)", README)
    files = [path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".ipynb")]
    assert sorted(index) == sorted(files)
