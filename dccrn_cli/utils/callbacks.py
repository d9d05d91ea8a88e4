"""Calls the callbacks that a caller may give."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


def notify(callback: Callable[P, object] | None, *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a callback, if there is one."""
    if callback is not None:
        callback(*args, **kwargs)
