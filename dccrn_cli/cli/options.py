"""Option types shared by several commands: one name, one meaning, one help text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

FILES, RESULTS, DATA, WORK, MESSAGES = "File selection", "Results", "Data", "Processing", "Messages"
MEASURES = "Metrics"
"""Help headings shared by several commands."""


def option(help: str, *names: str, panel: str | None = None, **rules: Any) -> Any:
    """`typer.Option` with the help text first and a short name for its panel; `rules` are passed on."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **rules)


def split_names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Split comma-separated names of metrics as they are typed into those of the library; None for no option."""
    if names is None:
        return None
    return tuple(name.strip().lower().replace("-", "_") for text in names for name in text.split(",") if name.strip())


Quiet = Annotated[bool, option("Print only errors: no notes, no progress bar.", "-q", "--quiet", panel=MESSAGES)]
AsJson = Annotated[bool, option("Print JSON.", "--json", panel=MESSAGES)]

Listen = Annotated[
    Path | None,
    option(
        "Also write a page for comparing some of the files by ear; see dccrn listen.",
        panel=RESULTS,
        metavar="PAGE.html",
    ),
]

DnsmosModel = Annotated[
    Path | None,
    option(
        "Microsoft's sig_bak_ovr.onnx.",
        panel=MEASURES,
        metavar="FILE.onnx",
        show_default="from an installed speechmos",
    ),
]

_REPLACE = "--overwrite"
OverwriteResults = Annotated[
    bool, option("Replace existing results; otherwise they are skipped.", _REPLACE, panel=RESULTS)
]
OverwriteFile = Annotated[bool, option("Replace the file if it exists.", _REPLACE)]

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    option("Device for the network; auto is CUDA if available, otherwise the CPU.", panel=WORK),
]
AllThreads = Annotated[int, option("CPU threads; 0 for one per core.", panel=WORK, min=0)]
Jobs = Annotated[
    int | None,
    option(
        "Number of files processed in parallel.", "-j", "--jobs",
        panel=WORK, min=1, show_default="as many as are worthwhile",
    ),
]  # fmt: skip

_CLEAN = option(
    "Clean speech: a folder, .tar archive, list or file; may be repeated.", "--clean", panel=DATA, show_default=False
)
_NOISE = option("Noise, given in the same way; may be repeated.", "--noise", panel=DATA, show_default=False)
Clean = Annotated[list[Path], _CLEAN]
Noise = Annotated[list[Path], _NOISE]
SomeClean = Annotated[list[Path] | None, _CLEAN]
SomeNoise = Annotated[list[Path] | None, _NOISE]
Rooms = Annotated[
    list[Path] | None,
    option("Measured room impulse responses, given in the same way; may be repeated.", panel=DATA, show_default=False),
]
CheckData = Annotated[bool, option("Check the data first and name the worst files.", "--check/--no-check", panel=WORK)]
