"""What `train` and `finetune` say about their data before they begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dccrn_cli.cli.console import count, error_line

if TYPE_CHECKING:
    from dccrn_cli.data.check import DataReport

WORST = 3
"""Clips of each kind of fault that are named."""


def tell_data(report: DataReport, but: frozenset[str] = frozenset()) -> None:
    """Name the worst clips on stderr, and as warnings the errors of some kinds, which are to be disregarded."""
    from dccrn_cli.data.check import KINDS

    for (role, kind), number in report.summary.items():
        worst = [one for one in report.findings if (one.role, one.kind) == (role, kind) and one.name][:WORST]
        named = "; ".join(f"{one.name} {one.message}" for one in worst)
        more = f"; and {number - len(worst):,} more" if number > len(worst) else ""
        among = report.roles[role].clips if kind == "duplicate" else report.roles[role].checked
        error_line(f"Note: {count(number, 'file')} of {role} of {among:,}: {KINDS[kind]}: {named}{more}")
    for error in report.errors:
        if error.kind in but:
            error_line(f"Warning: {error.message}")
