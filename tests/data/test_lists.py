"""Lists of recordings as training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from dccrn_cli.data.clips import find_clips
from dccrn_cli.errors import DataError

NAMES = ["ann/1.wav", "ann/two words.wav", "bob/3.wav", "bob/#4.wav"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speakers ann and bob below lists/, and elsewhere/5.wav beside it."""
    root = tmp_path_factory.mktemp("data")
    for name in [*(f"lists/{name}" for name in NAMES), "elsewhere/5.wav"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.full(160, 0.1), 16_000)
    return root / "lists"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "# speech\nann/1.wav\n\n  ann/two words.wav  \r\nbob/3.wav\nbob/#4.wav"),
        ("a.LST", "\ufeffann/1.wav\nann/two words.wav\nbob/3.wav\nbob/#4.wav\n"),
        ("a.scp", "utt1 ann/1.wav\nutt2\tann/two words.wav\nutt3   bob/3.wav\n# no more\nutt4 bob/#4.wav\n"),
        ("a.csv", "ann/1.wav\nann/two words.wav\nbob/3.wav\nbob/#4.wav\n"),
        ("b.csv", 'path\n"ann/1.wav"\nann/two words.wav\nbob/3.wav\nbob/#4.wav\n'),
        ("c.csv", "id, Path\n1, ann/1.wav\n2, ann/two words.wav\n3, bob/3.wav\n4, bob/#4.wav\n"),
    ],
)
def test_list_formats(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    found = find_clips([folder / name])
    assert [clip.name for clip in found] == NAMES
    assert [clip.group for clip in found] == ["ann", "ann", "bob", "bob"]
    assert all(len(clip.read()) == 160 for clip in found)


def test_files_elsewhere_keep_their_full_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder.parent / "elsewhere" / "5.wav"
    (folder / "e.txt").write_text(f"../elsewhere/5.wav\n{other}\n{folder}/ann/1.wav\n")
    monkeypatch.chdir(folder)
    for given in (Path("e.txt"), folder / "e.txt"):
        first, second, inside = find_clips([given])
        assert first.name == second.name == other.as_posix().lstrip("/")
        assert inside.name == "ann/1.wav"


def test_missing_entries_are_named(folder: Path) -> None:
    (folder / "m.txt").write_text("ann/1.wav\nann/9.wav\nann\n")
    with pytest.raises(DataError, match=r"m\.txt.*: ann/9\.wav, ann$"):
        find_clips([folder / "m.txt"])
    (folder / "m.scp").write_text("".join(f"id{n} gone/{n}.wav\n" for n in range(8)) + "utt sox x.wav - |\n")
    with pytest.raises(DataError, match=r"id0 gone/0\.wav, .* and 4 more"):
        find_clips([folder / "m.scp"])
    (folder / "m.csv").write_text("path,length\nann/1.wav,3\n,4\n")
    with pytest.raises(DataError, match="an empty line"):
        find_clips([folder / "m.csv"])
    (folder / "m.txt").write_text("what was said " * 400)
    with pytest.raises(DataError, match="lists paths that are not files"):
        find_clips([folder / "m.txt"])
    for empty in ("", "# nothing\n", "path\n"):
        (folder / "empty.csv").write_text(empty)
        with pytest.raises(DataError, match="no audio found"):
            find_clips([folder / "empty.csv"])
