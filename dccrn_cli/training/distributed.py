"""The processes of one run: a single process, or those started by `torchrun`."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dccrn_cli.errors import DccrnError, OptionError

T = TypeVar("T")


class Team:
    """Processes that train one network, each on its share of every batch.

    Attributes:
        rank: rank of this process.
        size: number of processes.
        device: device of this process.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank = rank
        self.size = size
        self.device = device or torch.device("cpu")

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and output."""
        return self.rank == 0

    def share(self, model: nn.Module) -> nn.Module:
        """Wrap a model so that its gradients are averaged over all processes."""
        if self.size == 1:
            return model
        # Only buffers that training changes need to be sent.
        constant = [name for name, _ in model.named_buffers() if name not in model.state_dict()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
            model, constant
        )
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, devices, gradient_as_bucket_view=True, static_graph=True)

    def mean(self, values: Sequence[float]) -> list[float]:
        """Mean of each value over all processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total / self.size]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.mean([float(flag)])[0] > 0

    def check_same(self, what: str, value: object) -> None:
        """Check that all processes were given the same.

        Raises:
            OptionError: they were not, in all processes.
        """
        if self.size > 1 and len(set(self.gather([hashlib.sha256(repr(value).encode()).digest()]))) > 1:
            raise OptionError(f"the processes of this run were given different {what}")

    def gather(self, items: Sequence[T]) -> list[T]:
        """Interleave the items of all processes, restoring the order of a list split as `items[rank::size]`."""
        if self.size == 1:
            return list(items)
        parts: list[Sequence[T]] = [[] for _ in range(self.size)]
        dist.all_gather_object(parts, list(items))
        longest = max(map(len, parts))
        return [part[index] for index in range(longest) for part in parts if index < len(part)]

    def from_leader(self, item: T) -> T:
        """Broadcast an item from the first process."""
        if self.size == 1:
            return item
        box = [item]
        dist.broadcast_object_list(box, src=0, device=self.device if self.device.type == "cuda" else None)
        return box[0]


@contextmanager
def assemble(device: torch.device) -> Iterator[Team]:
    """The team of this process: alone, unless `torchrun` has set the environment.

    With CUDA each process on a machine uses its own device.

    Raises:
        OptionError: the processes cannot be connected, or there is no device for this one.
        DccrnError: another process has ended before its time.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield Team(device=device)
        return
    device = _own_device(device)
    _connect("nccl" if device.type == "cuda" else "gloo", size)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Grad strides do not match")  # costs less than copying them
            yield Team(dist.get_rank(), dist.get_world_size(), device)
        dist.barrier()  # a process that leaves early would break the others' connections
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise DccrnError("lost the connection to another process of this run, which may say why") from error
        raise
    finally:
        dist.destroy_process_group()


def _own_device(device: torch.device) -> torch.device:
    """The device of this process, made the current one."""
    if device.type == "cuda":
        number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= count:
            raise OptionError(f"each process needs a CUDA device of its own; this machine has {count}")
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    elif device.type != "cpu":
        raise OptionError(f"several processes cannot train on {device.type}; use --device cpu")
    return device


def _connect(backend: str, size: int) -> None:
    if not dist.is_available():
        raise OptionError("this build of torch cannot connect several processes")
    try:
        dist.init_process_group(backend)
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise OptionError(f"the {size} processes of this run cannot be connected ({reason})") from error
