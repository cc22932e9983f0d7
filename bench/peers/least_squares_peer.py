"""Least squares with many targets, without an intercept: what NumPy, SciPy, scikit-learn and PyTorch offer, and normal equations by hand."""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

COMMON_FACTOR = 0.5  # weight of what all columns share: the condition number is about sqrt(1 + d COMMON_FACTOR^2)
NOISE = 0.1  # of the targets' deviation
NO_RIDGE = 1e-6
BLOCK = 1 << 15  # rows at a time in double precision


def make_inputs(rng: np.random.Generator, shape: tuple[int, ...], targets: int, dtype: str) -> dict[str, np.ndarray]:
    samples = rng.standard_normal(shape, dtype=dtype)
    samples += COMMON_FACTOR * rng.standard_normal((shape[0], 1), dtype=dtype)
    coefficients = rng.standard_normal((shape[1], targets), dtype=dtype)
    values = samples @ coefficients
    noise = rng.standard_normal(values.shape, dtype=dtype)
    noise *= NOISE * values.std(0)
    return {"samples": samples, "targets": values + noise}


def reference(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Coefficients by normal equations in double precision, which lose 2 of 16 digits here."""
    samples, targets = inputs["samples"], inputs["targets"]
    gram, cross = np.zeros((samples.shape[1],) * 2), np.zeros((samples.shape[1], targets.shape[1]))
    for first in range(0, len(samples), BLOCK):
        x = samples[first : first + BLOCK].astype(np.float64)
        gram += x.T @ x
        cross += x.T @ targets[first : first + BLOCK]
    return np.linalg.solve(gram, cross)


def variants(peer: str, inputs: dict[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    """Each gives d x t coefficients."""
    x, y = inputs["samples"], inputs["targets"]
    match peer:
        case "numpy":
            return {"lstsq": lambda: np.linalg.lstsq(x, y, rcond=None)[0]}
        case "scipy":
            from scipy.linalg import lstsq

            drivers = ("gelsy", "gelsd")
            return {driver: lambda d=driver: lstsq(x, y, lapack_driver=d, check_finite=False)[0] for driver in drivers}
        case "scikit-learn":
            from sklearn.linear_model import LinearRegression

            return {"LinearRegression": lambda: LinearRegression(fit_intercept=False, copy_X=False).fit(x, y).coef_.T}
        case "scikit-learn-ridge":
            from sklearn.linear_model import Ridge

            return {"Ridge, cholesky": lambda: Ridge(NO_RIDGE, fit_intercept=False, copy_X=False, solver="cholesky").fit(x, y).coef_.T}
        case "torch":
            import torch

            a, b = torch.from_numpy(x), torch.from_numpy(y)
            return {driver: lambda d=driver: torch.linalg.lstsq(a, b, driver=d).solution for driver in ("gels", "gelsy")}
        case "numpy-handwritten":
            from scipy.linalg import cho_factor, cho_solve

            def cholesky() -> np.ndarray:
                return cho_solve(cho_factor(x.T @ x, overwrite_a=True, check_finite=False), x.T @ y, overwrite_b=True, check_finite=False)

            return {"solve": lambda: np.linalg.solve(x.T @ x, x.T @ y), "Cholesky": cholesky}
    raise ValueError(f"{peer} has no least squares")
