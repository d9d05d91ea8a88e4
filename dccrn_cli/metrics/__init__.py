"""Speech quality measures on arrays."""

from dccrn_cli.metrics.measures import MetricError, pesq_wb, si_snr, stoi

__all__ = ["MetricError", "pesq_wb", "si_snr", "stoi"]
