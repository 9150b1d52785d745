"""The rules of the README: each that is built is named by a test, and no other is cited anywhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import durable

ROOT = Path(durable.__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LISTED = README.partition("\n## Rules\n")[2].partition("\n## ")[0]
RULES = re.findall(r"^- \*\*(R[0-9]+[a-z]?)\*\*", LISTED, re.MULTILINE)
_CITED = re.compile(r"\bR[0-9]+[a-z]?\b")


def _said(path: Path) -> str:
    """Return what a module of tests says of itself and of its tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return "\n".join([ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)])


NAMED = {rule for path in (ROOT / "tests").rglob("test_*.py") for rule in _CITED.findall(_said(path))}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_named_by_a_test(rule: str) -> None:
    assert rule in NAMED


@pytest.mark.parametrize("path", sorted((ROOT / "durable").rglob("*.py")), ids=lambda path: path.stem)
def test_only_rules_that_a_reader_can_look_up_are_cited(path: Path) -> None:
    assert set(_CITED.findall(path.read_text(encoding="utf-8"))) <= set(RULES)
