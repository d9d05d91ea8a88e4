"""What all pictures share: their form, their type and their page width."""

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
"""Inches of a full page width. The type is large enough to be read at half of it, a column."""

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
    "text.parse_math": False,  # a $ in the name of a file is a $
    "pdf.fonttype": 42,  # publishers refuse Type 3 fonts
}


def check_form(path: str | os.PathLike[str]) -> None:
    """Refuse a picture of a form that is not written, before any work is done for it.

    Raises:
        OptionError: the name ends in none of `FORMS`.
    """
    if Path(path).suffix.lower() not in FORMS:
        raise OptionError(f"a picture ends in {', '.join(FORMS)}", path)


@contextmanager
def figure_at(path: str | os.PathLike[str], height: float, width: float = WIDTH) -> Iterator[Figure]:
    """An empty figure that is written to `path` when the block ends without an error.

    Args:
        path: picture to write, .png, .pdf or .svg.
        height, width: in inches.

    Raises:
        MissingDependency: matplotlib is not installed.
        OptionError: another form is asked for.
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
        # A character that the type lacks is a box in the picture; there is no more to say of it.
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(picture, format=Path(path).suffix.lower()[1:], dpi=200)
    write_whole(path, picture.getvalue())
