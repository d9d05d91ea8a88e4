"""Inspection of one recording: measurements in one pass, and a verdict."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dccrn_cli.audio.levels import EXCESS
from dccrn_cli.audio.reader import open_sound
from dccrn_cli.audio.resample import Resampler
from dccrn_cli.errors import DccrnError, MetricError
from dccrn_cli.metrics.blind_snr import BlindSnr, BlindSnrMeter
from dccrn_cli.metrics.dnsmos import Dnsmos, DnsmosMeter
from dccrn_cli.metrics.recording import RecordingFacts, RecordingMeter
from dccrn_cli.nn.config import SAMPLE_RATE

if TYPE_CHECKING:
    from dccrn_cli.engine.enhancer import Enhancer

MODEL = "dccrn-small"
"""Network used to estimate the SNR; the calibration applies to this network."""

Verdict = Literal["enhance", "look at it", "leave alone", "unreadable"]

CLEAN_SNR_DB = 25.0
"""From this SNR, noise is hardly audible and a file is left alone."""

NARROW_HZ = 4000.0
"""A recording with less bandwidth is telephone speech, whatever its sample rate."""

_BLOCK_S = 4
_QUIET_DBFS, _CLIPPED_SHARE, _DC, _LOUD_HUM_DB = -60.0, 1e-4, 0.01, 40.0


@dataclass(frozen=True)
class Inspection:
    """Measurements and verdict of a recording.

    Attributes:
        file: path of the recording.
        verdict: what to do with it; `reason` explains why.
        need: priority, higher for worse recordings.
        seconds, sample_rate, channels: of the decoded audio; 0 if it could not be decoded.
        bandwidth_hz: highest frequency with any content.
        level_dbfs, peak_dbfs: RMS level and highest sample; None for digital silence.
        snr_db, speech_dbfs, noise_dbfs, speech_share: estimates, see `BlindSnr`.
        clipped_share, dc_offset, hum_hz, hum_dbfs, dropouts: faults, see `RecordingFacts`.
        channel_fault: `identical`, `inverted`, `silent: 2` or "".
        note: note of the decoder, for instance that the header declares a different length.
        scores: values without a reference by metric, if requested; None where undefined.
    """

    file: str
    verdict: Verdict
    reason: str
    need: float
    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    bandwidth_hz: float | None = None
    level_dbfs: float | None = None
    peak_dbfs: float | None = None
    snr_db: float | None = None
    speech_dbfs: float | None = None
    noise_dbfs: float | None = None
    speech_share: float | None = None
    clipped_share: float | None = None
    dc_offset: float | None = None
    hum_hz: int | None = None
    hum_dbfs: float | None = None
    dropouts: int | None = None
    channel_fault: str = ""
    note: str = ""
    scores: dict[str, float | None] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Plain data, with the scores last and numbers rounded to meaningful digits."""
        digits = {"clipped_share": 6, "dc_offset": 5, "seconds": 3, "need": 2, "speech_share": 3, "bandwidth_hz": 0}
        data = asdict(self)
        data |= data.pop("scores")
        return {k: round(v, digits.get(k, 2)) if isinstance(v, float) else v for k, v in data.items()}


def unreadable(path: Path, reason: str) -> Inspection:
    """The inspection of a recording that could not be measured."""
    return Inspection(str(path), "unreadable", reason, 1000.0)


def inspect_file(path: Path, dnsmos_model: Path | None = None) -> Inspection:
    """Measure and judge a recording block by block; the result also reports an unreadable file.

    Args:
        dnsmos_model: the ONNX file of DNSMOS, to add its three scores. They are those of the mono signal at
            16 kHz, averaged over all windows, which are measured as the blocks arrive.

    Raises:
        CheckpointError, MissingDependency: DNSMOS cannot be loaded.
    """
    dnsmos = None if dnsmos_model is None else DnsmosMeter(dnsmos_model)
    try:
        return _inspect(path, dnsmos)
    except DccrnError as error:
        return unreadable(path, error.message)


@cache
def _enhancer() -> Enhancer:
    from dccrn_cli.engine.enhancer import Enhancer

    return Enhancer(MODEL, SAMPLE_RATE, device="cpu")


def _inspect(path: Path, dnsmos: DnsmosMeter | None) -> Inspection:
    enhancer = _enhancer()
    enhancer.reset()
    invalid = 0
    with open_sound(path) as reader:
        info = reader.info
        meter, snr = RecordingMeter(info.sample_rate, info.channels), BlindSnrMeter()
        down = Resampler(info.sample_rate, SAMPLE_RATE, 1)
        waiting = np.zeros(0, np.float32)
        weights: np.ndarray | None = None

        def pass_on(low: np.ndarray, *, last: bool = False) -> None:
            nonlocal waiting
            if dnsmos is not None:
                dnsmos.process(low)
            waiting = np.concatenate([waiting, low])
            enhanced = enhancer.process(low) if len(low) else np.zeros(0, np.float32)
            if last:
                enhanced = np.concatenate([enhanced, enhancer.flush()])
            snr.process(waiting[: len(enhanced)], enhanced)
            waiting = waiting[len(enhanced) :]

        for block in reader.blocks(_BLOCK_S * info.sample_rate):
            bad = ~(np.abs(block) <= EXCESS)
            if bad.any():
                invalid += int(bad.sum())
                block = np.where(bad, np.float32(0), block)
            meter.process(block)
            if weights is None and block.any():
                weights = _mixing_weights(block)
            mono = block.mean(axis=1) if weights is None else block @ weights
            pass_on(down.process(mono[:, None])[:, 0])
        pass_on(down.flush()[:, 0], last=True)
        notes = [reader.note] if reader.note else []
    if invalid:
        notes.append(f"{invalid:,} samples are NaN, infinite or absurdly large")
    found = judge(path, meter.facts(), snr.estimate(), info.sample_rate, info.channels, "; ".join(notes))
    return found if dnsmos is None else replace(found, scores=_scores(dnsmos))


def _scores(dnsmos: DnsmosMeter) -> dict[str, float | None]:
    try:
        values: dict[str, float | None] = dnsmos.scores()._asdict()
    except MetricError:  # silence, which the verdict names
        values = dict.fromkeys(Dnsmos._fields)
    return {f"dnsmos_{name}": value for name, value in values.items()}


def _mixing_weights(block: np.ndarray) -> np.ndarray:
    """Weights of the channels in the network's mono input: equal, but negative for inverted channels."""
    loudest = block[:, int(np.argmax(np.square(block).sum(axis=0)))]
    signs = np.where(loudest @ block < 0, -1, 1).astype(np.float32)
    return signs / np.float32(block.shape[1])


def judge(
    path: Path, facts: RecordingFacts, snr: BlindSnr, sample_rate: int, channels: int, note: str = ""
) -> Inspection:
    """Give the verdict on a recording, with its reason and priority."""
    faults = _faults(facts, snr, sample_rate, channels, note)
    noise = max(CLEAN_SNR_DB - snr.snr_db, 0.0) if snr.snr_db is not None else 0.0
    verdict: Verdict = "leave alone"
    if faults:
        verdict = "look at it"
    if snr.snr_db is not None and snr.snr_db < CLEAN_SNR_DB:
        verdict = "enhance"
    reasons = [f"SNR about {snr.snr_db:.0f} dB"] if snr.snr_db is not None else []
    return Inspection(
        file=str(path),
        verdict=verdict,
        reason="; ".join([*reasons, *faults]) or "no faults found",
        need=noise + 20.0 * len(faults),
        seconds=facts.seconds,
        sample_rate=sample_rate,
        channels=channels,
        bandwidth_hz=facts.bandwidth_hz,
        level_dbfs=_finite(facts.level_dbfs),
        peak_dbfs=_finite(facts.peak_dbfs),
        snr_db=snr.snr_db,
        speech_dbfs=snr.speech_dbfs,
        noise_dbfs=snr.noise_dbfs,
        speech_share=snr.speech_share,
        clipped_share=facts.clipped_share,
        dc_offset=facts.dc_offset,
        hum_hz=facts.hum_hz,
        hum_dbfs=facts.hum_dbfs,
        dropouts=facts.dropouts,
        channel_fault=_channel_fault(facts),
        note=note,
    )


def _faults(facts: RecordingFacts, snr: BlindSnr, sample_rate: int, channels: int, note: str) -> list[str]:
    """Faults of a recording other than noise, in words."""
    if math.isinf(facts.level_dbfs):
        return ["digital silence"]
    found = {
        "no speech found": snr.snr_db is None,
        f"{100 * facts.clipped_share:.2g} % of the samples are clipped": facts.clipped_share > _CLIPPED_SHARE,
        f"very quiet ({facts.level_dbfs:.0f} dBFS)": facts.level_dbfs < _QUIET_DBFS,
        f"DC offset of {100 * facts.dc_offset:.1f} %": facts.dc_offset > _DC,
        f"{facts.hum_hz} Hz hum": facts.hum_dbfs is not None and facts.hum_dbfs > facts.level_dbfs - _LOUD_HUM_DB,
        f"{facts.dropouts} dropout{'s' * (facts.dropouts > 1)}": facts.dropouts > 0,
        f"ends at {facts.bandwidth_hz / 1000:.1f} kHz": facts.bandwidth_hz < min(NARROW_HZ, 0.4 * sample_rate),
        f"channels {_channel_fault(facts)}": channels > 1 and _channel_fault(facts) not in ("", "identical"),
        note: note != "",
    }
    return [text for text, is_there in found.items() if is_there]


def _channel_fault(facts: RecordingFacts) -> str:
    if facts.silent_channels and not math.isinf(facts.level_dbfs):
        return f"silent: {', '.join(map(str, facts.silent_channels))}"
    return "identical" if facts.channels_alike else "inverted" if facts.channels_inverted else ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
