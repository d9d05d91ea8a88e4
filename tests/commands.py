"""Runs `dccrn` and compares folders, for all tests."""

from __future__ import annotations

import filecmp
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dccrn_cli.cli.app import app

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "dccrn_cli", *map(str, arguments)]


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def same_tree(one: Path, two: Path) -> bool:
    return tree(one) == tree(two) and all(filecmp.cmp(one / name, two / name, shallow=False) for name in tree(one))
