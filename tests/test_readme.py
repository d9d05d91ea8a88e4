"""The README's Python blocks run as they stand."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import speechlike

import dccrn_cli
from dccrn_cli.mixing.noises import coloured

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory that the blocks expect, with a training that takes no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("noisy", "speech", "noise"):
        (tmp_path / name).mkdir()
    for index in range(2):
        clip = speechlike(20_000, seed=index)[:, 0]
        soundfile.write(tmp_path / f"speech/{index}.wav", clip, 16_000)
        soundfile.write(tmp_path / f"noise/{index}.wav", 0.1 * coloured(20_000, np.random.default_rng(index)), 16_000)
    soundfile.write(tmp_path / "noisy/a.wav", speechlike(8000, 48_000), 48_000)
    soundfile.write(tmp_path / "noisy.wav", speechlike(8000, 48_000), 48_000)

    def checked(call: Any) -> Any:
        signature = inspect.signature(call)

        def run(*args: Any, **kwargs: Any) -> SimpleNamespace:
            signature.bind(*args, **kwargs)
            return SimpleNamespace(written=True, objections=())

        return run

    for name in ("train", "finetune"):  # what they do is tested elsewhere; here, that they are called rightly
        monkeypatch.setattr(dccrn_cli, name, checked(getattr(dccrn_cli, name)))
    return tmp_path


def test_python_blocks(folder: Path) -> None:
    played: list[np.ndarray] = []
    names: dict[str, Any] = {"blocks": np.split(speechlike(9600, 48_000)[:, 0], 4), "play": played.append}
    assert len(BLOCKS) >= 4
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert len(names["clean"]) == 8000
    assert sum(map(len, played)) == 9600
    assert (folder / "enhanced/a.wav").is_file()
    assert {record["status"] for record in names["records"]} == {"scored"}
    assert len(names["records"]) == 4
