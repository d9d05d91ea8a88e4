"""The help of all commands."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from dccrn_cli.cli.app import app

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_flags_are_shown_without_a_value(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "<bool>" not in result.output


def test_shared_options_have_the_same_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    outputs = [CliRunner().invoke(app, [command, "--help"]).output for command in COMMANDS]
    lines = [line for output in outputs for line in output.splitlines() if "--quiet" in line]
    assert len(lines) > 3
    assert all("Print only errors: no notes, no progress bar." in line for line in lines)
