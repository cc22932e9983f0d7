"""What all training runs share: processes, checkpoints, batches, learning rates."""
from __future__ import annotations

import math
import os
import time
from typing import Any, Dict

import torch
from torch import Tensor, distributed

from .files import FileError


def load_checkpoint(path: str) -> Dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise FileError(f"cannot load the checkpoint {path}: {error}") from None


class Team:
    """Processes that train the same model, each on its share of every batch, on one thread. Two of them get more out of
    two cores than two threads, all the more on a machine that has other work."""

    def __init__(self, rank: int, size: int, meeting_point: str):
        self.rank, self.size = rank, size
        if size > 1:
            distributed.init_process_group("gloo", init_method="file://" + meeting_point, rank=rank, world_size=size)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, index: Tensor) -> Tensor:
        return index[self.rank::self.size]

    def mean(self, value: Tensor) -> Tensor:
        if self.size > 1:
            distributed.all_reduce(value)
        return value / self.size

    def average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        if self.size == 1:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        together = self.mean(torch.cat([g.reshape(-1) for g in gradients]))
        for gradient, part in zip(gradients, together.split([g.numel() for g in gradients])):
            gradient.copy_(part.view(gradient.shape))


class Trainer:
    """What all training runs share: state in a checkpoint, progress on stdout."""

    def __init__(self, path: str, steps: int, batch: int, every: int, team: Team):
        self.path, self.steps, self.batch, self.every, self.team = path, steps, batch, every, team
        self.step = 0
        self.saved: Dict[str, Any] = {}
        self.sums: Dict[str, float] = {}
        self.started = time.time()
        if os.path.exists(path):
            self.saved = load_checkpoint(path)
            self.step = self.saved["step"]
            if team.leads:
                print(f"resuming {path} at step {self.step}", flush=True)

    def restore(self, **objects: Any) -> None:
        for name, item in objects.items():
            if name in self.saved:
                item.load_state_dict(self.saved[name])

    def log(self, **values: float) -> None:
        """Averages over `every` steps."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        if self.step % self.every == 0 and self.team.leads:
            speed = self.every * self.batch / (time.time() - self.started)
            text = "  ".join(f"{name} {value / self.every:.4f}" for name, value in self.sums.items())
            print(f"step {self.step} of {self.steps}  {text}  {speed:.0f} pictures/s", flush=True)
            self.sums, self.started = {}, time.time()

    def due(self, every: int) -> bool:
        """Whether this process shall save now."""
        return self.team.leads and (self.step % every == 0 or self.step == self.steps)

    def save(self, **objects: Any) -> None:
        state = {name: item.state_dict() for name, item in objects.items()}
        state["step"] = self.step
        torch.save(state, self.path + ".part")
        os.replace(self.path + ".part", self.path)

    def progress(self) -> float:
        return self.step / self.steps


def cosine(progress: float, first: float, last: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Every group of parameters has a factor of its own."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


class Batches:
    """Indices of batch `step`; every epoch is a new order."""

    def __init__(self, count: int, size: int, seed: int):
        self.count, self.size, self.seed, self.epoch = count, size, seed, -1
        self.order = torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        epoch, at = divmod(step, self.count // self.size)
        if epoch != self.epoch:
            self.order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed * 1000 + epoch))
            self.epoch = epoch
        return self.order[at * self.size:(at + 1) * self.size]


@torch.no_grad()
def average(ema: torch.nn.Module, model: torch.nn.Module, keep: float) -> None:
    """Exponential moving average of the parameters."""
    for target, source in zip(ema.parameters(), model.parameters()):
        target.lerp_(source, 1 - keep)
