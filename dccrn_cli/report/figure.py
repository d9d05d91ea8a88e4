"""Format, fonts and page width shared by all pictures."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dccrn_cli.errors import MissingDependency, OptionError
from dccrn_cli.utils.storage import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS = (".png", ".pdf", ".svg")
WIDTH = 7.2
"""Full page width in inches. Text stays legible at half of it, the width of a column."""

LABEL, TICK, NOTE = 12.0, 11.0, 10.0
_SETTINGS: dict[Any, Any] = {
    "font.size": LABEL,
    "axes.labelsize": LABEL,
    "axes.titlesize": LABEL,
    "figure.titlesize": LABEL,
    "legend.fontsize": LABEL,
    "xtick.labelsize": TICK,
    "ytick.labelsize": TICK,
    "axes.axisbelow": True,
    "text.parse_math": False,  # a $ in a file name is literal
    "pdf.fonttype": 42,  # publishers reject Type 3 fonts
}


def check_form(path: str | os.PathLike[str]) -> None:
    """Reject an unsupported picture format before any work starts.

    Raises:
        OptionError: the suffix is not one of `FORMS`.
    """
    if Path(path).suffix.lower() not in FORMS:
        raise OptionError(f"the name of a picture must end in one of {', '.join(FORMS)}", path)


@contextmanager
def figure_at(path: str | os.PathLike[str], height: float, width: float = WIDTH) -> Iterator[Figure]:
    """Create a figure that is written to `path` when the block ends without an error.

    Args:
        path: picture to write, .png, .pdf or .svg.
        height, width: size in inches.

    Raises:
        MissingDependency: matplotlib is not installed.
        OptionError: the picture format is not supported.
        StorageError: the picture cannot be written.
    """
    check_form(path)
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "plots") from None
    with rc_context(_SETTINGS), warnings.catch_warnings():
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        picture = io.BytesIO()
        # A character missing from the font appears as a box; no warning is needed.
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(picture, format=Path(path).suffix.lower()[1:], dpi=200)
    write_whole(path, picture.getvalue())
