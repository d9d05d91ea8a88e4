"""Option types that several commands share: one name, one meaning, one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

FILES, RESULTS, DATA, WORK, MESSAGES = "Which files", "Results", "Data", "Work", "Messages"
"""Headings of the help that several commands have."""


def option(help: str, *names: str, panel: str | None = None, **rules: Any) -> Any:
    """An option with its help first and its heading by a short name; `rules` are those of `typer.Option`."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **rules)


Quiet = Annotated[bool, option("Print errors only: no notes, no bar.", "-q", "--quiet", panel=MESSAGES)]
AsJson = Annotated[bool, option("Print JSON, for programs.", "--json", panel=MESSAGES)]

Listen = Annotated[
    Path | None,
    option(
        "Also write a page to compare some of the files by ear; see dccrn listen.", panel=RESULTS, metavar="PAGE.html"
    ),
]

_REPLACE = "--overwrite"
OverwriteResults = Annotated[
    bool, option("Replace results that exist; else they are skipped.", _REPLACE, panel=RESULTS)
]
OverwriteFile = Annotated[bool, option("Replace the file if it exists.", _REPLACE)]

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    option("Where the network runs; auto is CUDA if there is such a GPU, else the CPU.", panel=WORK),
]
AllThreads = Annotated[int, option("CPU threads; 0 for one per core.", panel=WORK, min=0)]
Jobs = Annotated[
    int | None,
    option(
        "Files at once, each in a process of its own.", "-j", "--jobs",
        panel=WORK, min=1, show_default="as many as the cores allow and the work pays",
    ),
]  # fmt: skip

_CLEAN = option(
    "Clean speech: folder, .tar archive, list or file; may be repeated.", "--clean", panel=DATA, show_default=False
)
_NOISE = option("Noise, in the same forms; may be repeated.", "--noise", panel=DATA, show_default=False)
Clean = Annotated[list[Path], _CLEAN]
Noise = Annotated[list[Path], _NOISE]
SomeClean = Annotated[list[Path] | None, _CLEAN]
SomeNoise = Annotated[list[Path] | None, _NOISE]
Rooms = Annotated[
    list[Path] | None,
    option("Measured room impulse responses, in the same forms; may be repeated.", panel=DATA, show_default=False),
]
CheckData = Annotated[
    bool, option("First look through the data and name the worst files.", "--check/--no-check", panel=WORK)
]
