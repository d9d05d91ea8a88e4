"""Treats Ctrl-C and a closed terminal as a request to stop cleanly."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

from dccrn_cli.utils.callbacks import notify

T = TypeVar("T")


_HANGUP = getattr(signal, "SIGHUP", None)  # not on Windows
_FROM_TERMINAL = {signal.SIGINT} if _HANGUP is None else {signal.SIGINT, _HANGUP}


class Interrupt:
    """While entered, SIGINT and SIGTERM only set `requested`; a second signal ends the process at once.

    So does SIGHUP, sent when the terminal is closed, unless it is ignored (`nohup`). A second SIGHUP does nothing:
    both the shell and the system send one.

    Block-by-block work polls `requested`. When the main thread has to wait for others, it does so inside
    `waiting()`, which the signal ends with `KeyboardInterrupt`.
    """

    def __init__(self) -> None:
        self.requested = False
        self._waiting = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            if _HANGUP is not None and signal.getsignal(_HANGUP) != signal.SIG_IGN:
                numbers.append(_HANGUP)
            self._previous = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number != _HANGUP:
            signal.signal(number, signal.SIG_DFL)
        if self._waiting:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Context for a wait that a signal must end.

        Raises:
            KeyboardInterrupt: immediately if already requested, otherwise when the signal arrives.
        """
        self._waiting = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._waiting = False


def run_to_end(run: Callable[[Interrupt], Iterable[T]], on_item: Callable[[T], object] | None) -> list[T]:
    """Collect the results of work that can be interrupted, each shown to `on_item` as it becomes available.

    Raises:
        KeyboardInterrupt: a signal arrived; the work was stopped cleanly.
    """
    items = []
    with Interrupt() as interrupt:
        for item in run(interrupt):
            items.append(item)
            notify(on_item, item)
    if interrupt.requested:
        raise KeyboardInterrupt
    return items


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Hide Ctrl-C and a closed terminal from processes started inside; all those of a command are told."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent(*_: object) -> None:
    """Ignore Ctrl-C and a closed terminal in this worker process; its parent ends it."""
    for number in _FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
