"""Give the tests of the verbs a store with runs of every kind, and a command line in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Command, command_of, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    opened(path)
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return command_of(capsys)
