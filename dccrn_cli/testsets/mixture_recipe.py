"""Test set recipes, including those of well-known protocols."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dccrn_cli.errors import OptionError
from dccrn_cli.mixing.mixing_options import Target
from dccrn_cli.nn.base import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np

SnrOn = Literal["active", "whole"]
"""What of the speech the SNR is measured on."""

NoiseSplit = Literal["seen", "unseen", "both"]
"""Which noise is used."""

MixtureFormat = Literal["s16", "s24", "f32"]
"""Sample formats of the files."""

FORMATS: Mapping[str, int] = {"s16": 16, "s24": 24, "f32": 0}
"""Sample formats of test sets and their bit depths; 0 for floating point."""

_LIMIT_DB = 120.0


@dataclass(frozen=True)
class Span:
    """A range from which values are drawn uniformly."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator, step: float) -> float:
        """Draw one of `low`, `low + step` … up to `high`."""
        steps = math.floor((self.high - self.low) / step + 1e-9)
        return round(self.low + step * int(rng.integers(steps + 1)), 6)


@dataclass(frozen=True)
class MixtureRecipe:
    """How the mixtures of a test set are made.

    Attributes:
        snr_db: classes, each used equally often, or a range.
        snr_on: the part of the speech on which the SNR is measured: its active frames (within 40 dB
            of the loudest) or the whole clip. Noise is always measured as a whole.
        level_db: range of the level of active speech in dBFS.
        step_db: step of values drawn from a range.
        seconds: length of a mixture; None for that of the utterance.
        reverb: share of mixtures with speech in a room. The noise has no reverberation added.
        target: what the clean file keeps of speech in a room: `reverberant` all of it, `early` the
            direct sound and the first 50 ms after it, `dry` the direct sound.
        split: noise used: `seen` in training, `unseen`, or `both` equally often; None if unknown.
        naming: `plain`, or `dns` for names as in the DNS challenge.
        sample_rate: sample rate in Hz.
        sample_format: s16, s24 or f32.
        seed: together with the number of a mixture, determines everything in it.
    """

    snr_db: tuple[float, ...] | Span = (0.0, 5.0, 10.0, 15.0, 20.0)
    snr_on: SnrOn = "active"
    level_db: Span = Span(-35.0, -15.0)
    step_db: float = 0.1
    seconds: float | None = None
    reverb: float = 0.0
    target: Target = "reverberant"
    split: NoiseSplit | None = None
    naming: Literal["plain", "dns"] = "plain"
    sample_rate: int = SAMPLE_RATE
    sample_format: MixtureFormat = "s16"
    seed: int = 0

    def snr_of(self, number: int, rng: np.random.Generator) -> float:
        """SNR of mixture `number`: that of its class, or drawn from the range."""
        if isinstance(self.snr_db, Span):
            return self.snr_db.draw(rng, self.step_db)
        return self.snr_db[number % len(self.snr_db)]

    @property
    def snr_classes(self) -> int:
        """Number of SNR classes used in turn."""
        return 1 if isinstance(self.snr_db, Span) else len(self.snr_db)


@dataclass(frozen=True)
class Protocol:
    """A published recipe.

    Attributes:
        about: short description.
        recipe: supplies the options that are not given.
    """

    about: str
    recipe: MixtureRecipe


PROTOCOLS: Mapping[str, Protocol] = {
    "dccrn-wsj0": Protocol("0, 5, 10, 15, 20 dB, whole utterances", MixtureRecipe()),
    "losses": Protocol(
        "-10 to 20 dB in steps of 5 dB, 3 s, seen and unseen noise",
        MixtureRecipe(snr_db=tuple(float(snr) for snr in range(-10, 21, 5)), seconds=3.0, split="both"),
    ),
    "crn": Protocol("-5, 0, 5 dB, whole utterances", MixtureRecipe(snr_db=(-5.0, 0.0, 5.0))),
    "dns": Protocol(
        "-5 to 20 dB at random, 10 s, half in rooms, DNS challenge file names",
        MixtureRecipe(snr_db=Span(-5.0, 20.0), step_db=1.0, seconds=10.0, reverb=0.5, naming="dns"),
    ),
}
"""Protocols by name."""


def protocol_named(name: str) -> Protocol:
    """Find a protocol by name.

    Raises:
        OptionError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise OptionError(f"no protocol named {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def parse_snr(text: str) -> tuple[float, ...] | Span:
    """Parse `0,5,10` as classes or `-5:20` as a range.

    Raises:
        OptionError: the text is neither.
    """
    if ":" in text:
        return parse_span(text)
    return tuple(dict.fromkeys(_decibels(part, text) for part in text.split(",")))


def parse_span(text: str) -> Span:
    """Parse a range such as `-35:-15`, or a single value as a range of only that.

    Raises:
        OptionError: the text is not such a range.
    """
    low, colon, high = text.partition(":")
    span = Span(_decibels(low, text), _decibels(high if colon else low, text))
    if span.low > span.high:
        raise OptionError(f"{text!r} must not end below its start")
    return span


def _decibels(part: str, text: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LIMIT_DB:
        raise OptionError(f"{text!r} is neither decibels such as 0,5,10 nor a range such as -5:20")
    return value + 0.0  # no -0
