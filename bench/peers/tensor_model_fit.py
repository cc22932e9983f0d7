"""Fits of tensor models by the peers: the mean over samples subtracted, then their HOSVD."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable

import numpy as np

from cases import Case

LOOKED_AT = 16  # samples


def variants(peer: str, case: Case, inputs: dict[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    tensor = inputs["tensor"]
    axes = tuple(range(1, tensor.ndim))
    if peer == "tntorch":
        import tntorch_peer as module
    else:
        import numpy_handwritten_peer as module

    def fit(name: str) -> Any:
        mean = tensor.mean(axes, keepdims=True)
        return mean, module.variants(replace(case, kind="st_hosvd"), {"tensor": tensor - mean})[name]()

    names = list(module.variants(replace(case, kind="st_hosvd"), {"tensor": tensor}))
    return {name: lambda n=name: fit(n) for name in names}


def samples(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of the samples that are rebuilt for the error."""
    count = int(np.prod(shape[1:]))
    return np.unique(np.linspace(0, count - 1, LOOKED_AT).astype(int))


def relative_error(case: Case, result: Any, tensor: np.ndarray) -> float:
    """Of some codes, rebuilt from core and factors, less the mean."""
    from results import to_numpy
    from tntorch_peer import core_and_factors

    mean, model = result
    core, factors = core_and_factors(model) if hasattr(model, "Us") else model
    core, factors = to_numpy(core), [to_numpy(factor) for factor in factors]
    chosen = samples(tensor.shape)
    made = []
    for levels in zip(*np.unravel_index(chosen, tensor.shape[1:])):
        part = core
        for factor, level in reversed(list(zip(factors[1:], levels))):
            part = part @ factor[level]  # the last mode that is left
        made.append(factors[0] @ part)
    exact = (tensor.reshape(tensor.shape[0], -1)[:, chosen] - mean.reshape(-1, 1)).T.astype(np.float64)
    return float(np.linalg.norm(np.array(made, np.float64) - exact) / np.linalg.norm(exact))
