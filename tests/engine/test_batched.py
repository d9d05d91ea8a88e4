"""Many streams through one network: each gets the same result as on its own."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import SMALL_DCCRNS, SMALL_PRESETS, TINY, lively, shrunk, speechlike
from test_enhancer import TOLERANCE, VARIANTS, stream

from dccrn_cli import Enhancer
from dccrn_cli.engine.dynamic_batching import DynamicBatching
from dccrn_cli.engine.stream import Piece, State, StreamingNetwork
from dccrn_cli.nn.config import NetworkConfig
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.nn.systems import DCUNetConfig

MORE: dict[str, NetworkConfig] = SMALL_PRESETS | {
    "complex-norm": dataclasses.replace(SMALL_DCCRNS["dccrn-cl"], complex_norm=True, look_ahead=5),
    "dcunet-centred": shrunk(DCUNetConfig(look_ahead=22, complex_norm=False)),
}


def batching(model: SpectralNetwork, max_batch: int = 32) -> DynamicBatching:
    return DynamicBatching(StreamingNetwork(model, precision="fp32"), max_batch)


def signals(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    lengths = [0, 1, 99, 700, *rng.integers(1, 12_000, count - 4)]
    return [speechlike(int(n), channels=1 + index % 3 // 2, seed=index) for index, n in enumerate(lengths)]


def cut(rng: np.random.Generator, frames: int) -> list[int]:
    sizes = [int(rng.choice([50, 1000, 5000, 30_000]))]
    while sum(sizes) < frames:
        sizes.append(int(rng.integers(1, 8000)))
    return sizes


def together(network: DynamicBatching, inputs: Sequence[np.ndarray], cuts: Sequence[list[int]]) -> list[np.ndarray]:
    """Each signal from its own thread, concurrently."""
    start = threading.Barrier(len(inputs))

    def enhance(x: np.ndarray, sizes: list[int]) -> np.ndarray:
        enhancer = Enhancer(network)
        start.wait()
        return stream(enhancer, x, sizes)

    with ThreadPoolExecutor(len(inputs)) as pool:
        return list(pool.map(enhance, inputs, cuts, timeout=60))


@pytest.mark.parametrize("variant", VARIANTS | MORE)
def test_batched_result_equals_single_result(variant: str, rng: np.random.Generator) -> None:
    model = lively((VARIANTS | MORE)[variant])
    inputs = signals(rng, 9)
    alone = Enhancer(model, precision="fp32")
    expected = [alone(x) for x in inputs]
    for max_batch in (1, 5, 32):
        with batching(model, max_batch) as network:
            for got, wanted in zip(
                together(network, inputs, [cut(rng, len(x)) for x in inputs]), expected, strict=True
            ):
                np.testing.assert_allclose(got, wanted, atol=TOLERANCE)


@pytest.mark.parametrize("variant", VARIANTS | MORE)
def test_any_block_sizes_in_a_batch(variant: str) -> None:
    """Fresh, running and ending streams of many lengths in one run, in any order."""
    network = StreamingNetwork(lively((VARIANTS | MORE)[variant]), precision="fp32")
    bins = network.config.n_fft // 2 + 1
    torch.manual_seed(0)

    def spectrum(rows: int, frames: int) -> torch.Tensor:
        return torch.randn(rows, 2, bins, frames)

    pieces = []
    for rows, before, frames, ends in [
        (1, 0, 3, None),
        (2, 9, 17, None),
        (1, 8, 6, 8),
        (3, 0, 17, 11),
        (1, 8, 1, None),
    ]:
        state = network.fresh_state(rows)
        if before:
            state = network.advance([Piece(spectrum(rows, before), state, 0)])[0][-1]
        pieces.append(Piece(spectrum(rows, frames), state, before, ends))
    for (estimate, noisy, state), piece in zip(network.advance(pieces), pieces, strict=True):
        alone, plain, alone_state = network.advance([piece])[0]
        early = max(network.config.look_ahead - piece.position, 0)
        torch.testing.assert_close(estimate[..., early:], alone[..., early:], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(noisy[..., early:], plain[..., early:], atol=0, rtol=0)
        if piece.total is None:
            torch.testing.assert_close(state, alone_state, atol=1e-4, rtol=1e-4)


def test_samples_after_the_end_are_ignored() -> None:
    network = StreamingNetwork(lively(TINY), precision="fp32")
    x = torch.randn(1, 2, TINY.bins + 1, 20)
    noisy = x.clone()
    noisy[..., 12:] += 1
    estimates = [network.advance([Piece(y, network.fresh_state(1), 0, 12)])[0][0] for y in (x, noisy)]
    seen = slice(TINY.look_ahead, TINY.look_ahead + 12)
    torch.testing.assert_close(estimates[0][..., seen], estimates[1][..., seen], atol=0, rtol=0)


def test_streams_run_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = count_pieces(monkeypatch)
    with batching(lively(TINY)) as network:
        together(network, [speechlike(16_000)] * 8, [[2000] * 8] * 8)
    assert max(sizes) > 2


def count_pieces(monkeypatch: pytest.MonkeyPatch, most: int = 99, error: type[Exception] = Exception) -> list[int]:
    """Records the pieces of each run; runs of more than `most` fail."""
    sizes: list[int] = []
    advance = StreamingNetwork.advance

    def counted(self: StreamingNetwork, pieces: Sequence[Piece]) -> list[tuple[torch.Tensor, torch.Tensor, State]]:
        sizes.append(len(pieces))
        if len(pieces) > most:
            raise error("too many")
        return advance(self, pieces)

    monkeypatch.setattr(StreamingNetwork, "advance", counted)
    return sizes


def test_low_memory_reduces_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = lively(TINY), speechlike(16_000)
    expected = Enhancer(model, precision="fp32")(x)
    sizes = count_pieces(monkeypatch, 1, torch.OutOfMemoryError)
    with batching(model) as network:
        for got in together(network, [x] * 4, [[4000] * 4] * 4):
            np.testing.assert_allclose(got, expected, atol=TOLERANCE)
        assert max(sizes) > 1
        count_pieces(monkeypatch, 0, torch.OutOfMemoryError)
        with pytest.raises(torch.OutOfMemoryError):
            Enhancer(network)(x)


def test_errors_affect_only_their_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = lively(TINY), speechlike(8000)
    expected = Enhancer(model, precision="fp32")(x)
    with batching(model) as network:
        enhancer = Enhancer(network)
        with monkeypatch.context() as patch:
            count_pieces(patch, 0, ArithmeticError)
            with pytest.raises(ArithmeticError, match="too many"):
                together(network, [x] * 3, [[8000]] * 3)
            with pytest.raises(ArithmeticError, match="too many"):
                enhancer(x)
        np.testing.assert_allclose(enhancer(x), expected, atol=TOLERANCE)


def test_closed_network_releases_waiting_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go = threading.Event(), threading.Event()
    advance = StreamingNetwork.advance

    def slow(self: StreamingNetwork, pieces: Sequence[Piece]) -> list[tuple[torch.Tensor, torch.Tensor, State]]:
        entered.set()
        assert go.wait(10)
        return advance(self, pieces)

    monkeypatch.setattr(StreamingNetwork, "advance", slow)
    network = batching(lively(TINY), 1)
    enhancers = [Enhancer(network) for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        running = pool.submit(enhancers[0].process, speechlike(4000))
        assert entered.wait(10)
        waiting = pool.submit(enhancers[1].process, speechlike(4000))
        while not network._waiting:
            threading.Event().wait(0.001)
        closing = pool.submit(network.close)
        while not network._closed:
            threading.Event().wait(0.001)
        go.set()
        assert len(running.result(10))
        with pytest.raises(RuntimeError, match="closed"):
            waiting.result(10)
        closing.result(10)
    with pytest.raises(RuntimeError, match="closed"):
        enhancers[2](speechlike(4000))
    network.close()


def test_abandoned_streams_do_not_block_others() -> None:
    with batching(lively(TINY)) as network:
        left = Enhancer(network)
        left.process(speechlike(4000))
        assert len(network._under_way) == 1
        x = speechlike(16_000)
        assert Enhancer(network)(x).shape == x.shape
        left.reset()
        assert not network._under_way
