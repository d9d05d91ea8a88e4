"""Reports what `train` and `finetune` find in their data before they start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dccrn_cli.cli.console import error_line
from dccrn_cli.errors import DataError

if TYPE_CHECKING:
    from dccrn_cli.data.clips import Clip

WORST = 3
"""Number of clips named for each kind of fault."""


def check_data(speech: Sequence[Clip], noise: Sequence[Clip], *, even_if: frozenset[str] = frozenset()) -> list[str]:
    """Check clips and name the worst on stderr.

    Args:
        even_if: kinds of errors that are reported as warnings instead.

    Returns:
        Messages of the errors of these kinds.

    Raises:
        DataError: the data have other errors.
    """
    from dccrn_cli.data.check import KINDS, check_clips

    report = check_clips(speech, noise)
    for (role, kind), number in report.summary.items():
        worst = [one for one in report.findings if (one.role, one.kind) == (role, kind) and one.name][:WORST]
        named = "; ".join(f"{one.name} {one.message}" for one in worst)
        more = f"; and {number - len(worst):,} more" if number > len(worst) else ""
        among = report.roles[role].clips if kind == "duplicate" else report.roles[role].checked
        error_line(f"Note: {number:,} of {among:,} {role} files: {KINDS[kind]}: {named}{more}")
    left = [one.message for one in report.errors if one.kind in even_if]
    final = [one.message for one in report.errors if one.kind not in even_if]
    if final:
        raise DataError("; ".join(final))
    for message in left:
        error_line(f"Warning: {message}")
    return left
