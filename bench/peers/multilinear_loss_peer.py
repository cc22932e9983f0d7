"""Multilinear losses |X - B_(0) (Z_1 kr ... kr Z_M)|^2 with gradients (002 Eqs. 15, 16, 25): PyTorch's autograd, and the formulas by hand.

A result is (value, gradients of the factors, the core's or nothing).
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

NOISE = 0.1
CORE_ROWS = 64  # of the core's gradient that the reference has
BLOCK = 1024  # rows of the core at a time in double precision


def khatri_rao(factors: list[np.ndarray]) -> np.ndarray:
    product = factors[0]
    for factor in factors[1:]:
        product = (product[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return product


def make_inputs(rng: np.random.Generator, shape: tuple[int, ...], count: int, dtype: str) -> dict[str, np.ndarray]:
    """Samples are columns. The data are those of other factors, so that the loss is of the data's size."""
    core = rng.standard_normal(shape, dtype=dtype)
    factors = [rng.standard_normal((extent, count), dtype=dtype) for extent in shape[1:]]
    others = [rng.standard_normal((extent, count), dtype=dtype) for extent in shape[1:]]
    data = core.reshape(shape[0], -1) @ khatri_rao(others)
    data += NOISE * np.sqrt(np.mean(data**2)) * rng.standard_normal(data.shape, dtype=dtype)
    return {"core": core, "data": data} | {f"factor_{i}": factor for i, factor in enumerate(factors)}


def factors_of(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [inputs[name] for name in sorted(inputs) if name.startswith("factor_")]


def _factor_gradients(pulled: Any, factors: list[Any], einsum: Callable) -> list[Any]:
    """From 2 B' R, extents x n, its contraction with all other factors."""
    letters = "abcdefgh"[: len(factors)]
    result = []
    for i in range(len(factors)):
        others = [j for j in reversed(range(len(factors))) if j != i]  # the last first: it is contiguous
        part, left = pulled, letters
        for j in others:
            rest = left.replace(letters[j], "")
            part = einsum(f"{left}n,{letters[j]}n->{rest}n", part, factors[j])
            left = rest
        result.append(part)
    return result


def reference(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Value, gradients of the factors and CORE_ROWS rows of the core's in double precision, one after the other."""
    core, data = inputs["core"].reshape(inputs["core"].shape[0], -1), inputs["data"]
    factors = [factor.astype(np.float64) for factor in factors_of(inputs)]
    product = khatri_rao(factors)
    value, pulled, rows = 0.0, np.zeros_like(product), None
    for first in range(0, len(core), BLOCK):
        block = core[first : first + BLOCK].astype(np.float64)
        residual = block @ product - data[first : first + BLOCK]
        value += float(np.vdot(residual, residual))
        pulled += 2 * block.T @ residual
        rows = 2 * residual[:CORE_ROWS] @ product.T if rows is None else rows
    pulled = pulled.reshape(*inputs["core"].shape[1:], -1)
    return np.concatenate([[value], *(g.ravel() for g in _factor_gradients(pulled, factors, np.einsum)), rows.ravel()])


def relative_error(result: Any, exact: np.ndarray) -> float:
    """The largest of the relative errors of the value and of every gradient, in the Frobenius norm."""
    value, gradients, core = result
    parts = [np.array([float(value)]), *(np.asarray(g) for g in gradients)]
    parts += [] if core is None else [np.asarray(core).reshape(core.shape[0], -1)[:CORE_ROWS]]
    largest, first = 0.0, 0
    for part in parts:
        wanted = exact[first : first + part.size]
        first += part.size
        largest = max(largest, float(np.linalg.norm(part.ravel() - wanted) / np.linalg.norm(wanted)))
    return largest


def variants(peer: str, case: Any, inputs: dict[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    core_wanted = case.operation != "factors"
    if peer == "numpy-handwritten":
        from tensorly.tenalg import khatri_rao as tensorly_khatri_rao

        core, data, factors = inputs["core"], inputs["data"], factors_of(inputs)
        flat = core.reshape(core.shape[0], -1)

        def by_hand(product_of: Callable) -> Any:
            product = product_of(factors)
            residual = flat @ product
            residual -= data
            value = np.vdot(residual, residual)
            residual *= 2
            pulled = (flat.T @ residual).reshape(*core.shape[1:], -1)
            gradients = _factor_gradients(pulled, factors, np.einsum)
            return value, gradients, (residual @ product.T).reshape(core.shape) if core_wanted else None

        return {"TensorLy's khatri_rao": lambda: by_hand(tensorly_khatri_rao), "broadcast": lambda: by_hand(khatri_rao)}

    import torch

    core, data = torch.from_numpy(inputs["core"]), torch.from_numpy(inputs["data"])
    factors = [torch.from_numpy(factor) for factor in factors_of(inputs)]
    letters = "abcdefgh"[: len(factors)]
    subscripts = ",".join(letter + "n" for letter in letters) + f"->{letters}n"

    def by_broadcast(parts: list[torch.Tensor]) -> torch.Tensor:
        product = parts[0]
        for part in parts[1:]:
            product = (product[:, None, :] * part[None, :, :]).reshape(-1, part.shape[1])
        return product

    def autograd(product_of: Callable) -> Any:
        leaves = [x.detach().requires_grad_(True) for x in ([core] if core_wanted else []) + factors]
        parts = leaves[-len(factors) :]
        b = leaves[0] if core_wanted else core
        loss = (b.reshape(core.shape[0], -1) @ product_of(parts) - data).square().sum()
        found = torch.autograd.grad(loss, leaves)
        return loss.detach(), list(found[-len(factors) :]), found[0] if core_wanted else None

    @torch.no_grad()
    def by_hand() -> Any:
        flat, product = core.reshape(core.shape[0], -1), by_broadcast(factors)
        residual = torch.addmm(data, flat, product, beta=-1)
        value = torch.vdot(residual.view(-1), residual.view(-1))
        residual *= 2
        pulled = (flat.T @ residual).reshape(*core.shape[1:], -1)
        gradients = _factor_gradients(pulled, factors, torch.einsum)
        return value, gradients, (residual @ product.T).reshape(core.shape) if core_wanted else None

    return {
        "autograd, broadcast": lambda: autograd(by_broadcast),
        "autograd, einsum": lambda: autograd(lambda parts: torch.einsum(subscripts, *parts).reshape(-1, parts[0].shape[1])),
        "by hand": by_hand,
    }
