"""Real-time enhancement from a microphone to a loudspeaker or a virtual device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dccrn_cli.audio.sound_devices import DuplexStream, default_rate, find_device
from dccrn_cli.engine.enhance_options import HighBand, Precision, check_strength
from dccrn_cli.engine.enhancer import Enhancer
from dccrn_cli.engine.live.choice import choose_model
from dccrn_cli.engine.live.realtime import LivePipe, LiveStatus
from dccrn_cli.engine.live.recorder import Recording
from dccrn_cli.errors import OptionError, SoundDeviceError

BLOCK_MS = 32.0
STALLED_S = 10.0
"""How long running devices may exchange nothing; a sound system that was killed does not always say so."""

_LOOK_S = 0.1
_PARTS = 2  # parts in which the devices exchange a block; their own latency is a multiple of these


@dataclass(frozen=True)
class LiveOptions:
    """Options of real-time enhancement.

    Attributes:
        input, output: devices by number, name or part of a name; None for the default ones.
        sample_rate: sample rate in Hz; None for 48 kHz if the devices support it, otherwise that of the input.
        channels: number of input channels.
        block_ms: audio per call of the network. The delay is that of the model, two blocks, and the devices.
        model: bundled model or model file; None for the one with the lowest latency among those that keep up.
        high_band, attenuation_limit_db, mix, precision: options of `Enhancer`.
        record: file for original and result, channels of the original first; None for none.
        overwrite: replace that file if it exists.

    Raises:
        OptionError: an invalid value.
    """

    input: str | int | None = None
    output: str | int | None = None
    sample_rate: int | None = None
    channels: int = 1
    block_ms: float = BLOCK_MS
    model: str | None = None
    high_band: HighBand = "gate"
    attenuation_limit_db: float | None = None
    mix: float = 1.0
    precision: Precision = "auto"
    record: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_strength(self.mix, self.attenuation_limit_db, self.high_band)
        if not 1 <= self.block_ms <= 1000:
            raise OptionError(f"block_ms must be between 1 and 1000, not {self.block_ms!r}")
        if self.channels not in (1, 2):
            raise OptionError(f"channels must be 1 or 2, not {self.channels!r}")


class LiveEnhancer:
    """Enhances audio in real time while entered.

    with LiveEnhancer(input="USB", output="Virtual") as live:
        live.wait()

    Args:
        options: None for the defaults of `LiveOptions`.
        changes: individual fields of `LiveOptions`.

    Attributes:
        source, target: the devices.
        sample_rate: sample rate in Hz.
        model: the model in use.
        load: seconds of processing per second of audio, measured before the start.

    Raises:
        OptionError: an invalid option, or a model that cannot keep up.
        MissingDependency: `sounddevice` is not installed.
        SoundDeviceError: no such device, or it does not support this format.
        CheckpointError: the model cannot be loaded.
    """

    def __init__(self, options: LiveOptions | None = None, **changes: Any) -> None:
        import torch

        try:
            self._options = options = replace(options or LiveOptions(), **changes)
        except TypeError as error:
            raise OptionError(str(error)) from None
        self.source = find_device(options.input, "input")
        self.target = find_device(options.output, "output")
        self.sample_rate = options.sample_rate or default_rate(self.source, self.target, options.channels)
        self._block = _PARTS * max(round(options.block_ms * self.sample_rate / 1000 / _PARTS), 1)
        self._threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            chosen = choose_model(options.model, self._enhancer, options.channels, self._block)
        finally:
            torch.set_num_threads(self._threads)
        self.model, self.load, self._enhance = chosen.model, chosen.load, chosen.enhancer
        self._running = contextlib.ExitStack()
        self._pipe: LivePipe | None = None
        self._stream: DuplexStream | None = None
        self._recording: Recording | None = None

    def _enhancer(self, model: str) -> Enhancer:
        options = self._options
        return Enhancer(
            model, self.sample_rate, options.high_band, "cpu",
            attenuation_limit_db=options.attenuation_limit_db, mix=options.mix, precision=options.precision,
            low_latency=True,
        )  # fmt: skip

    def __enter__(self) -> LiveEnhancer:
        import torch

        options = self._options
        with contextlib.ExitStack() as stack:
            stack.callback(torch.set_num_threads, self._threads)
            recording = None
            if options.record is not None:
                recording = stack.enter_context(
                    Recording(options.record, self.sample_rate, options.channels, overwrite=options.overwrite)
                )
            tap = None if recording is None else recording.add
            pipe = stack.enter_context(LivePipe(self._enhance, options.channels, self._block, tap))
            stream = DuplexStream(
                self.source, self.target, self.sample_rate, self._block // _PARTS, options.channels, pipe.exchange
            )
            stack.enter_context(stream)
            self._pipe, self._stream, self._recording = pipe, stream, recording
            self._running = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._running.__exit__(*error)

    @property
    def latency_s(self) -> float:
        """End-to-end latency of model, blocks, and devices as they report it."""
        return self._started[0].delay / self.sample_rate + self._started[1].latency_s

    @property
    def bypass(self) -> bool:
        """Whether the original is played instead of the result, with the same delay."""
        return self._started[0].bypass

    @bypass.setter
    def bypass(self, on: bool) -> None:
        self._started[0].bypass = on

    def status(self) -> LiveStatus:
        """Current status."""
        return self._started[0].status()

    def wait(self, seconds: float | None = None, look: Callable[[LiveStatus], bool] = lambda _: True) -> LiveStatus:
        """Wait while it runs.

        Args:
            seconds: how long; None for ever.
            look: called ten times a second; returns False to end the wait.

        Returns:
            Status at the end.

        Raises:
            SoundDeviceError: a device was disconnected, or has stopped.
            DccrnError: another error ended the enhancement or the recording.
        """
        until = None if seconds is None else time.monotonic() + seconds
        played, looks = 0.0, 0
        while until is None or time.monotonic() < until:
            status = self.status()
            looks = looks + 1 if status.seconds == played else 0
            played = status.seconds
            self._check(stalled=played > 0 and looks * _LOOK_S >= STALLED_S)
            if not look(status):
                break
            time.sleep(_LOOK_S if until is None else max(min(_LOOK_S, until - time.monotonic()), 0.0))
        return self.status()

    def _check(self, stalled: bool) -> None:
        """Raise the error that has ended the enhancement or the recording, if any."""
        pipe, stream = self._started
        error = pipe.error or (self._recording and self._recording.error)
        if error:
            raise error
        if stalled or not stream.is_active:
            how = f"stopped {STALLED_S:.0f} s ago" if stalled else "was disconnected"
            raise SoundDeviceError(f"{self.source.name} or {self.target.name} {how}")

    @property
    def _started(self) -> tuple[LivePipe, DuplexStream]:
        if self._pipe is None or self._stream is None:
            raise OptionError("not running yet: use `with LiveEnhancer(…) as live`")
        return self._pipe, self._stream
