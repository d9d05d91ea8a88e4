"""The processes of one run: what they exchange, and what they say when that fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import soundfile
import torch
import torch.distributed as dist
from conftest import TINY, speechlike

from dccrn_cli.errors import OptionError
from dccrn_cli.training import training_run
from dccrn_cli.training.distributed import Team, assemble

EXCHANGE = """
import os, sys
import torch
from dccrn_cli.errors import DccrnError, OptionError
from dccrn_cli.training.distributed import assemble

rank = int(os.environ["RANK"])
try:
    with assemble(torch.device("cpu")) as team:
        assert (team.rank, team.size, team.leads) == (rank, 2, rank == 0)
        assert team.mean([rank, 4.0]) == [0.5, 4.0]
        assert team.gather([[0, 2, 4], [1, 3]][rank]) == [0, 1, 2, 3, 4]
        assert team.from_leader({"rank": rank}) == {"rank": 0}
        assert [team.any(rank == 1), team.any(False)] == [True, False]
        team.check_same("options", {"steps": 3})
        try:
            team.check_same("recordings", [f"{rank}.wav"])
        except OptionError as error:
            print(error)
        if rank == 1:
            os.kill(os.getpid(), 9)
        team.mean([1.0])
        raise AssertionError
except DccrnError as error:
    print(error)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_processes_exchange_until_one_is_killed() -> None:
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = []
    for rank in ("0", "1"):
        environment = {**common, "RANK": rank}
        command = [sys.executable, "-c", EXCHANGE]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    try:
        said = processes[0].communicate(timeout=100)[0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert said.splitlines() == [
        "the processes of this run were given different recordings",
        "lost the connection to another process of this run, which may say why",
    ]


def pretend(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_alone_without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in ({}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "4"}):
        pretend(monkeypatch, **environment)
        with assemble(torch.device("cpu")) as team:
            assert (team.rank, team.size, team.leads) == (0, 1, True)
            assert (team.mean([2.0]), team.gather([1]), team.from_leader(3)) == ([2.0], [1], 3)
            team.check_same("options", object())


def message(device: str = "cpu") -> str:
    with pytest.raises(OptionError) as caught, assemble(torch.device(device)):
        raise AssertionError
    return str(caught.value)


def test_processes_that_cannot_be_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, WORLD_SIZE="2", RANK="0")
    assert "the 2 processes of this run cannot be connected (" in message()
    assert "MASTER_ADDR" in message()

    def no_gloo(backend: str) -> None:
        raise RuntimeError("Distributed package doesn't have Gloo built in\nmore")

    monkeypatch.setattr(dist, "init_process_group", no_gloo)
    assert message().endswith("cannot be connected (Distributed package doesn't have Gloo built in)")
    monkeypatch.setattr(dist, "is_available", lambda: False)
    assert message() == "this build of torch cannot connect several processes"


def test_processes_without_a_device_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, WORLD_SIZE="2", RANK="1", LOCAL_RANK="1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert message("cuda") == "each process needs a CUDA device of its own; this machine has 1"
    assert message("mps") == "several processes cannot train on mps; use --device cpu"


def test_errors_of_the_training_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, WORLD_SIZE="2", RANK="0")
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(dist, name, lambda *_: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match="out of memory"), assemble(torch.device("cpu")):
        raise RuntimeError("CUDA out of memory")


def test_signal_to_another_process_stops_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Signalled(Team):
        def any(self, flag: bool) -> bool:
            return True

    for part in ("speech", "noise", "noisy", "clean"):
        (tmp_path / part).mkdir()
        soundfile.write(tmp_path / part / "0.wav", speechlike(16_000), 16_000)
    changes = {
        "preset": "dccrn-lstm-small",
        "network": {"channels": list(TINY.channels), "rnn_units": TINY.rnn_units},
        "training": {"steps": 1, "batch": 1},
    }
    monkeypatch.setattr(training_run, "assemble", lambda device: nullcontext(Signalled()))
    with pytest.raises(KeyboardInterrupt):
        training_run.train(
            tmp_path / "speech", tmp_path / "noise", tmp_path / "run", validation=tmp_path, changes=changes, check=False
        )
    assert (tmp_path / "run" / "last.pt").exists()
