"""Metrics by name, in display order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dccrn_cli.errors import OptionError
from dccrn_cli.metrics.inputs import Signals
from dccrn_cli.metrics.pause_attenuation import pause_attenuation
from dccrn_cli.metrics.perceptual import estoi, raw_from_nb, stoi
from dccrn_cli.metrics.ratios import segmental_snr, si_snr, si_snr_improvement, snr
from dccrn_cli.metrics.spectral_distances import lsd

DEFAULT_METRICS = ("si_snr", "pesq_wb", "stoi")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: name in options and data.
        unit: unit of its values, or "" if it has its own scale.
        title: display name, with the scale if several are in use.
        decimals: number of decimals to show.
        function: computes the value from the signals of one channel at one of `rates`.
        rates: sample rates in Hz at which it is defined, ascending; empty for any.
        higher_is_better: whether higher values are better.
        needs_reference, needs_noisy: signals needed besides the estimate.
    """

    name: str
    unit: str
    title: str
    decimals: int
    function: Callable[[Signals], float]
    rates: tuple[int, ...] = ()
    higher_is_better: bool = True
    needs_reference: bool = True
    needs_noisy: bool = False

    def rate_for(self, sample_rate: int) -> int:
        """The rate at which to measure signals of this rate: the same, otherwise the next higher, else the highest."""
        if not self.rates or sample_rate in self.rates:
            return sample_rate
        return next((rate for rate in self.rates if rate > sample_rate), self.rates[-1])


ALIASES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("si_sdr", "sisdr", "sisnr"), ("si_snr",)),
    **dict.fromkeys(("si_sdr_improvement", "si_sdri", "sisdri", "si_snri", "sisnri"), ("si_snr_improvement",)),
    "dnsmos": ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl"),
}
"""Alternative names of metrics. SI-SDR (Le Roux et al. 2019) is SI-SNR with means removed."""

_WIDE, _BOTH = (16_000,), (8_000, 16_000)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("si_snr", "dB", "SI-SNR", 2, lambda s: si_snr(*s.pair)),
        Metric(
            "si_snr_improvement", "dB", "SI-SNR improvement", 2, lambda s: si_snr_improvement(*s.triple),
            needs_noisy=True,
        ),
        Metric("snr", "dB", "SNR", 2, lambda s: snr(*s.pair)),
        Metric("segmental_snr", "dB", "Segmental SNR", 2, lambda s: segmental_snr(*s.pair)),
        Metric("pesq_wb", "", "PESQ-WB (MOS-LQO)", 2, lambda s: s.pesq_wb, _WIDE),
        Metric("pesq_nb", "", "PESQ-NB (MOS-LQO)", 2, lambda s: s.pesq_nb, _BOTH),
        Metric("pesq_raw", "", "PESQ-NB (raw P.862)", 2, lambda s: raw_from_nb(s.pesq_nb), _BOTH),
        Metric("stoi", "", "STOI", 3, lambda s: stoi(*s.pair)),
        Metric("estoi", "", "ESTOI", 3, lambda s: estoi(*s.pair)),
        Metric("lsd", "dB", "Log-spectral distance", 2, lambda s: lsd(*s.pair), higher_is_better=False),
        Metric(
            "pause_attenuation", "dB", "Attenuation in pauses", 1, lambda s: pause_attenuation(*s.triple),
            higher_is_better=False, needs_noisy=True,
        ),
        Metric("csig", "", "CSIG (MOS)", 2, lambda s: s.composite.csig, _WIDE),
        Metric("cbak", "", "CBAK (MOS)", 2, lambda s: s.composite.cbak, _WIDE),
        Metric("covl", "", "COVL (MOS)", 2, lambda s: s.composite.covl, _WIDE),
        Metric("dnsmos_sig", "", "DNSMOS SIG (MOS)", 2, lambda s: s.dnsmos.sig, _WIDE, needs_reference=False),
        Metric("dnsmos_bak", "", "DNSMOS BAK (MOS)", 2, lambda s: s.dnsmos.bak, _WIDE, needs_reference=False),
        Metric("dnsmos_ovrl", "", "DNSMOS OVRL (MOS)", 2, lambda s: s.dnsmos.ovrl, _WIDE, needs_reference=False),
    )
}  # fmt: skip


def select_metrics(names: Iterable[str]) -> tuple[Metric, ...]:
    """Metrics with these names or `ALIASES`, each once, in display order.

    Raises:
        OptionError: an unknown name.
    """
    wanted = {name for given in names for name in ALIASES.get(given, (given,))}
    if unknown := sorted(wanted - METRICS.keys()):
        raise OptionError(f"unknown metric {', '.join(unknown)}; choose from {', '.join(METRICS)}")
    return tuple(metric for metric in METRICS.values() if metric.name in wanted)
