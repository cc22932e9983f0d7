"""Localized dictionaries: Adam on the objective of 000 Eq. 5, as the paper runs it, in PyTorch.

    |J - U V'|^2 + SPARSITY |U|_1 + COHERENCE sum_{i != j} (v_i' v_j)^2,   v_p = w_p / |w_p|

    python dictionary_peer.py INPUTS ITERATIONS [RATE] > CURVE.csv

writes the objective after every tenth iteration: data/dictionary_adam.csv is 20000 of them for the case 16384x512/p200 at the paper's rate,
which take an hour. They are what bench/compare asks both sides to reach; the time per iteration is measured in its own run.
"""
from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np

SPARSITY = COHERENCE = 1.0
RATE = 1e-4  # 000 section 4.4
NOISE = 0.05
CURVE = Path(__file__).resolve().parent / "data" / "dictionary_adam.csv"
ITERATIONS = 20000  # of the curve
TIMED_ITERATIONS = 10  # in a call; the time of thousands is worked out from them


def make_inputs(rng: np.random.Generator, shape: tuple[int, ...], count: int, dtype: str) -> dict[str, np.ndarray]:
    """A planted dictionary: component p lives on a tenth of the rows, neighbouring ones, with entries of magnitude 1 and more; random
    directions; 5 % white noise. The start is that of moden: random directions, and J V under the threshold SPARSITY / 2."""

    def directions() -> np.ndarray:
        rows = rng.standard_normal((count, columns), dtype=dtype)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    rows, columns = shape
    truth, components, stretch = directions(), np.zeros((rows, count), dtype), rows // 10
    for p in range(count):
        entries = rng.standard_normal(stretch, dtype=dtype)
        components[(rng.integers(rows) + np.arange(stretch)) % rows, p] = entries + np.sign(entries)
    jacobian = components @ truth
    noise = rng.standard_normal(jacobian.shape, dtype=dtype)
    jacobian += noise * (NOISE * np.linalg.norm(jacobian) / np.linalg.norm(noise))
    start = directions()
    products = jacobian @ start.T
    below = np.sign(products) * np.maximum(np.abs(products) - SPARSITY / 2, 0).astype(dtype)
    return {"jacobian": jacobian, "start_directions": start, "start_components": below}


def objective_of_adam(iterations: int) -> float:
    with CURVE.open() as file:
        for iteration, objective in csv.reader(line for line in file if line[0].isdigit()):
            if int(iteration) == iterations:
                return float(objective)
    raise ValueError(f"{CURVE} has no iteration {iterations}")


def by_autograd(inputs: dict[str, np.ndarray], rate: float = RATE, **options: Any) -> Iterator[float]:
    """Objectives after 0, 1, ... iterations, the formula handed to autograd."""
    import torch

    jacobian = torch.from_numpy(inputs["jacobian"])
    u = torch.from_numpy(inputs["start_components"]).clone().requires_grad_(True)
    w = torch.from_numpy(inputs["start_directions"]).clone().requires_grad_(True)
    optimizer = torch.optim.Adam([u, w], lr=rate, **options)
    while True:
        v = w / w.norm(dim=1, keepdim=True)
        gram = v @ v.T
        objective = (jacobian - u @ v).square().sum() + SPARSITY * u.abs().sum()
        objective = objective + COHERENCE * (gram.square().sum() - gram.diagonal().square().sum())
        yield objective.item()
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()


def by_hand(inputs: dict[str, np.ndarray], rate: float = RATE) -> Iterator[float]:
    """The same with the gradients written out by somebody who multiplies them out: |J - U V'|^2 = |J|^2 - 2 <J V, U> + <U V'V, U>."""
    import torch

    jacobian = torch.from_numpy(inputs["jacobian"])
    u, w = (torch.from_numpy(inputs[name]).clone() for name in ("start_components", "start_directions"))
    optimizer = torch.optim.Adam([u, w], lr=rate, fused=True)
    u.grad, w.grad = torch.empty_like(u), torch.empty_like(w)
    correlation = torch.empty_like(u)
    energy = jacobian.square().sum(dtype=torch.float64).item()
    while True:
        lengths = w.norm(dim=1, keepdim=True)
        v = w / lengths
        gram = v @ v.T
        others = gram - torch.diag(gram.diagonal())
        torch.mm(jacobian, v.T, out=correlation)
        torch.addmm(correlation, u, gram, beta=-1, out=u.grad)  # U G - C, half the slope
        explained = torch.vdot(u.view(-1), (u.grad - correlation).view(-1))
        yield energy + (explained + SPARSITY * u.abs().sum() + COHERENCE * others.square().sum()).item()
        slope = torch.addmm(u.T @ jacobian, u.T @ u + 2 * COHERENCE * others, v, beta=-1)
        w.grad = 2 * (slope - v * (slope * v).sum(1, keepdim=True)) / lengths
        u.grad.mul_(2).add_(u.sign(), alpha=SPARSITY)
        optimizer.step()


def variants(inputs: dict[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    """Each call goes on for some iterations where the one before has stopped."""

    def some(steps: Iterator[float]) -> np.ndarray:
        return np.array([next(steps) for _ in range(TIMED_ITERATIONS)])

    ways = {
        "autograd": by_autograd(inputs),
        "autograd, foreach": by_autograd(inputs, foreach=True),
        "autograd, fused": by_autograd(inputs, fused=True),
        "gradients by hand": by_hand(inputs),
    }
    return {name: lambda steps=steps: some(steps) for name, steps in ways.items()}


def record(folder: Path, iterations: int, rate: float) -> None:
    import torch

    inputs = {file.stem: np.load(file) for file in folder.glob("*.npy")}
    print(f"# Objective of Adam after so many iterations at rate {rate:g}, PyTorch {torch.__version__}, float32, gradients by hand.")
    print("# bench/compare --case 'localized_dictionary/*' --inputs INPUTS; bench/peers/dictionary_peer.py INPUTS/CASE ITERATIONS RATE")
    print("iteration,objective")
    for iteration, objective in enumerate(by_hand(inputs, rate)):
        if iteration % 10 == 0:
            print(f"{iteration},{objective:.8g}", flush=True)
        if iteration == iterations:
            break


if __name__ == "__main__":
    record(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else RATE)
