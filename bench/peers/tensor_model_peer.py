"""Tensor models of codes: the papers' way to estimate parameters, Adam on the objective of 001 Paper II Eq. 6, and what it is to reach.

The objective per code, with RIDGE and SUM_TO_ONE times the mean squared norm of the codes:
    |S x_1 q_1' x_2 q_2' ... - U_0' code|^2 + sum_k RIDGE |q'_k|^2 + SUM_TO_ONE (1' q'_k - 1)^2,   q_k = U_k' q'_k
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

RIDGE = 1e-3
SUM_TO_ONE = 1.0
CLOSE_ENOUGH = 1.002  # times the reference's objective, on average over the codes: where Adam may stop
MOST_STEPS = 20000
CHECK_EVERY = 20


def make_codes(rng: np.random.Generator, core: np.ndarray, factors: list[np.ndarray], count: int) -> dict[str, np.ndarray]:
    dtype = core.dtype
    products = np.ones((count, 1), dtype)
    for factor in factors[1:]:
        levels = factor.shape[0]
        q = ((1 + 2 * rng.standard_normal((count, levels))) / levels).astype(dtype)
        products = (products[:, :, None] * (q @ factor)[:, None, :]).reshape(count, -1)
    codes = products @ core.reshape(core.shape[0], -1).T @ factors[0].T
    noise = rng.standard_normal(codes.shape).astype(dtype)
    codes += 0.1 * np.linalg.norm(codes) / np.linalg.norm(noise) * noise
    weight = float((codes.astype(np.float64) ** 2).sum(1).mean())
    arrays = {"core": core, "codes": codes, "weight": np.array([weight])}
    arrays |= {f"factor_{mode}": factor for mode, factor in enumerate(factors)}
    targets = codes @ factors[0]
    rest = (codes.astype(np.float64) ** 2).sum(1) - (targets.astype(np.float64) ** 2).sum(1)
    reached = [reference_objective(core, factors[1:], targets[n], float(rest[n]), weight) for n in range(count)]
    return arrays | {"objective": np.array(reached)}


def reference_objective(core: np.ndarray, factors: list[np.ndarray], target: np.ndarray, rest: float, weight: float) -> float:
    """What alternating least squares reaches from averages: mode after mode, 60 rounds, by the textbook."""
    q = [np.full(factor.shape[0], 1.0 / factor.shape[0]) for factor in factors]
    objective = np.inf
    for _ in range(60):
        before = objective
        for k, factor in enumerate(factors):
            design = core
            for other in reversed(range(len(factors))):
                if other != k:
                    design = np.tensordot(design, (factors[other].T @ q[other]).astype(core.dtype), (other + 1 if other < k else -1, 0))
            design = design.astype(np.float64) @ factor.T
            levels = factor.shape[0]
            gram = design.T @ design + weight * (RIDGE * np.eye(levels) + SUM_TO_ONE)
            q[k] = np.linalg.solve(gram, design.T @ target + weight * SUM_TO_ONE)
        residual = design @ q[-1] - target
        objective = rest + residual @ residual
        objective += weight * sum(RIDGE * (x @ x) + SUM_TO_ONE * (x.sum() - 1) ** 2 for x in q)
        if before - objective < 1e-7 * objective:
            break
    return float(objective)


def variants(case: Any, inputs: dict[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    import torch

    core = torch.from_numpy(inputs["core"])
    factors = [torch.from_numpy(inputs[f"factor_{mode}"]) for mode in range(core.ndim)]
    codes = torch.from_numpy(inputs["codes"])
    weight = float(inputs["weight"][0])
    enough = CLOSE_ENOUGH * float(inputs["objective"].mean())
    flat = core.reshape(core.shape[0], -1).T.contiguous()

    def by_products(rows: list[torch.Tensor]) -> torch.Tensor:
        product = rows[0]
        for row in rows[1:]:
            product = (product[:, :, None] * row[:, None, :]).reshape(len(row), -1)
        return product @ flat

    def by_einsum(rows: list[torch.Tensor]) -> torch.Tensor:
        letters = "abcdefgh"[: len(rows)]
        return torch.einsum(f"z{letters}," + ",".join("n" + letter for letter in letters) + "->nz", core, *rows)

    def adam(synthesize: Callable, rate: float) -> torch.Tensor:
        targets = codes @ factors[0]
        rest = codes.square().sum(1) - targets.square().sum(1)
        q = [torch.full((len(codes), factor.shape[0]), 1.0 / factor.shape[0], dtype=core.dtype, requires_grad=True) for factor in factors[1:]]
        optimizer = torch.optim.Adam(q, lr=rate)
        for step in range(MOST_STEPS):
            made = synthesize([x @ factor for x, factor in zip(q, factors[1:])])
            objective = rest + (made - targets).square().sum(1)
            for x in q:
                objective = objective + weight * (RIDGE * x.square().sum(1) + SUM_TO_ONE * (x.sum(1) - 1).square())
            if step % CHECK_EVERY == 0 and objective.mean().item() <= enough:
                break
            optimizer.zero_grad()
            objective.sum().backward()
            optimizer.step()
        return objective.detach()

    return {
        f"Adam, rate {rate:g}, {name}": lambda f=synthesize, r=rate: adam(f, r)
        for name, synthesize in (("products", by_products), ("einsum", by_einsum))
        for rate in (0.003, 0.01, 0.03)
    }


def excess(result: Any, inputs_objective: np.ndarray) -> float:
    """How much above the reference the mean objective is, relative."""
    return float(np.mean(np.asarray(result)) / inputs_objective.mean() - 1)
