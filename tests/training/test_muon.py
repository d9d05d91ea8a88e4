"""Muon compared with torch's optimizers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from dccrn_cli.training.muon import Muon, orthogonalised, rows_of_parts


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 8, 5), nn.BatchNorm1d(8), nn.PReLU(), nn.Flatten(), nn.Linear(8 * 6, 200))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
    losses = []
    for step in steps:
        x = torch.randn(16, 3, 10, generator=torch.Generator().manual_seed(step))
        loss = (model(x) - x.flatten(1)[:, :1].tanh()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (2, 128, 300), (5, 5)])
def test_singular_values_become_about_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for gain, dtype in ((1e-6, torch.float32), (1.0, torch.bfloat16), (1e6, torch.float32)):
        values = torch.linalg.svdvals(orthogonalised((gain * matrices).to(dtype)).float())
        assert values.min() > 0.6
        assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    along = (orthogonalised(matrices) * (left @ right)).sum((-2, -1))
    assert (along > 0.8 * min(shape[-2:])).all()


def test_no_step_without_gradient() -> None:
    assert not orthogonalised(torch.zeros(4, 6)).any()


def test_large_matrices_are_split_evenly() -> None:
    for rows in (1, 8, 128, 130, 512, 800, 1024, 3200):
        part = rows_of_parts(rows)
        assert part <= 128
        assert rows % part == 0
        assert part > min(rows, 128) / 2
    assert rows_of_parts(257) == 257  # a prime


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="came with torch 2.9")
@pytest.mark.parametrize("shape", [(64, 100), (100, 20)])
def test_matrix_updates_equal_torch(shape: tuple[int, int]) -> None:
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    options = {"lr": 0.01, "weight_decay": 0.1, "momentum": 0.9}
    optimizers = (
        Muon([ours], dtype=torch.bfloat16, **options),  # type: ignore[arg-type]
        torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **options),  # type: ignore[arg-type]
    )
    for seed in range(5):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1 + seed))
        ours.grad, theirs.grad = gradient, gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved


def test_other_updates_equal_adamw() -> None:
    start = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (1, 7, 30)]
    ours, theirs = ([nn.Parameter(x.clone()) for x in start] for _ in range(2))
    options = {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.95)}
    optimizers = Muon(ours, **options), torch.optim.AdamW(theirs, **options)  # type: ignore[arg-type]
    for seed in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=torch.Generator().manual_seed(100 + seed))
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_parameters_without_gradient_are_unchanged() -> None:
    used, unused = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    used.grad = torch.eye(4)
    Muon([used, unused], 0.1, weight_decay=0.5).step()
    assert (unused == 1).all()
    assert (used != 1).any()


def test_network_learns_and_resumes_exactly(tmp_path: Path) -> None:
    model = network()
    optimizer = Muon(model.parameters(), 0.01)
    losses = train(model, optimizer, range(60))
    assert losses[-1] < 0.5 * losses[0]
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    again = network()
    other = Muon(again.parameters(), 0.01)
    model_state, optimizer_state = torch.load(tmp_path / "state.pt", weights_only=True)
    again.load_state_dict(model_state)
    other.load_state_dict(optimizer_state)
    assert train(again, other, range(60, 63)) == train(model, optimizer, range(60, 63))
