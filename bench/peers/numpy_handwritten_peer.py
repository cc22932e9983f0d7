"""What is written with NumPy and SciPy where there is no tensor library: the toughest rival.

`plain` is what most would write: modes in the cheapest order, unfoldings by copying, all eigenvectors, tensordot. `gram` is an
expert's version: it takes Gram matrices without unfolding the tensor, solves only for the wanted eigenvectors, goes
through the modes with the smallest Gram matrix first, and turns to the other Gram matrix where a mode is longer than all
others together.
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np
from scipy.linalg import eigh

from cases import SVD_OVERSAMPLING, SVD_POWER_ITERATIONS, Case, slabs
from numpy_peer import Inputs

LARGE = 1000
SMALL = 128  # up to this many entries, a slab is handled whole by one large product instead of many small ones


def leading_eigenvectors(gram: np.ndarray, count: int) -> np.ndarray:
    """Those of the largest eigenvalues, descending.

    SciPy solves for the wanted ones only, which pays for large matrices; it brings a second OpenBLAS, whose threads get
    in the way of NumPy's, which costs more than it saves for small ones.
    """
    size = gram.shape[0]
    if size >= LARGE and 2 * count < size:
        _, vectors = eigh(gram, subset_by_index=[size - count, size - 1], driver="evx", check_finite=False)
    else:
        _, vectors = np.linalg.eigh(gram)
    return np.ascontiguousarray(vectors[:, : -count - 1 : -1])


def mode_gram(tensor: np.ndarray, mode: int) -> np.ndarray:
    left, extent, right = slabs(tensor.shape, mode)
    if left == 1:
        unfolded = tensor.reshape(extent, right)
        return unfolded @ unfolded.T
    if right == 1:
        unfolded = tensor.reshape(left, extent)
        return unfolded.T @ unfolded
    if extent * right <= SMALL:
        rows = tensor.reshape(left, extent * right)
        return np.einsum("irjr->ij", (rows.T @ rows).reshape(extent, right, extent, right))
    # Slabs transposed a few at a time: the copies stay in cache, and each product is a symmetric rank update.
    slab = tensor.reshape(left, extent, right)
    step = max(1, (1 << 18) // (extent * right))
    gram = np.zeros((extent, extent), tensor.dtype)
    for first in range(0, left, step):
        block = slab[first : first + step].transpose(1, 0, 2).reshape(extent, -1)
        gram += block @ block.T
    return gram


def project(tensor: np.ndarray, basis: np.ndarray, mode: int) -> np.ndarray:
    """Mode product with the transposed basis."""
    left, extent, right = slabs(tensor.shape, mode)
    rank = basis.shape[1]
    if left == 1:
        product = basis.T @ tensor.reshape(extent, right)
    elif right == 1:
        product = tensor.reshape(left, extent) @ basis
    elif extent * right <= SMALL:
        product = tensor.reshape(left, extent * right) @ np.kron(basis, np.eye(right, dtype=tensor.dtype))
    else:
        product = np.matmul(basis.T, tensor.reshape(left, extent, right))
    return product.reshape(tensor.shape[:mode] + (rank,) + tensor.shape[mode + 1 :])


def long_mode(tensor: np.ndarray, mode: int, rank: int) -> np.ndarray:
    """Factor of a mode longer than all the others together, from the Gram matrix of its rows."""
    unfolded = np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)
    right = leading_eigenvectors(unfolded.T @ unfolded, rank)
    # Not U = A V / s and not diag(s) V^T as the core: both lose the accuracy of the small singular values.
    return np.linalg.qr(unfolded @ right)[0]


def factor(tensor: np.ndarray, mode: int, rank: int) -> np.ndarray:
    rest = tensor.size // tensor.shape[mode]
    if tensor.shape[mode] > rest >= rank:
        return long_mode(tensor, mode, rank)
    return leading_eigenvectors(mode_gram(tensor, mode), rank)


def st_hosvd(tensor: np.ndarray, ranks: tuple[int, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    factors: list[np.ndarray] = [np.empty(0)] * tensor.ndim
    shape = tensor.shape
    # Cheapest Gram matrix first; modes that are not shortened wait until the tensor is small.
    for mode in sorted(range(tensor.ndim), key=lambda n: (ranks[n] == shape[n], shape[n])):
        factors[mode] = factor(tensor, mode, ranks[mode])
        tensor = project(tensor, factors[mode], mode)
    return tensor, factors


def plain_st_hosvd(tensor: np.ndarray, ranks: tuple[int, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    factors: list[np.ndarray] = [np.empty(0)] * tensor.ndim
    for mode in sorted(range(tensor.ndim), key=lambda n: tensor.shape[n]):
        unfolded = np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)
        if unfolded.shape[0] <= unfolded.shape[1]:
            vectors = np.linalg.eigh(unfolded @ unfolded.T)[1][:, : -ranks[mode] - 1 : -1]
        else:
            vectors = np.linalg.qr(unfolded @ np.linalg.eigh(unfolded.T @ unfolded)[1][:, : -ranks[mode] - 1 : -1])[0]
        factors[mode] = vectors
        tensor = np.moveaxis(np.tensordot(vectors.T, tensor, (1, mode)), 0, mode)
    return tensor, factors


def hosvd(tensor: np.ndarray, ranks: tuple[int, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    factors = [factor(tensor, mode, rank) for mode, rank in enumerate(ranks)]
    shape = tensor.shape
    for mode in sorted(range(tensor.ndim), key=lambda n: ranks[n] / shape[n]):
        tensor = project(tensor, factors[mode], mode)
    return tensor, factors


def randomized_svd(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halko, Martinsson & Tropp 2011, Algorithms 4.4 and 5.1."""
    rng = np.random.default_rng(0)
    basis = matrix @ rng.standard_normal((matrix.shape[1], rank + SVD_OVERSAMPLING), dtype=matrix.dtype)
    for _ in range(SVD_POWER_ITERATIONS):
        basis = np.linalg.qr(matrix.T @ np.linalg.qr(basis)[0])[0]
        basis = matrix @ basis
    basis = np.linalg.qr(basis)[0]
    left, values, right = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ left[:, :rank], values[:rank], right[:rank]


def variants(case: Case, inputs: Inputs) -> dict[str, Callable[[], Any]]:
    tensor = inputs["tensor"]
    match case.kind:
        case "hosvd":
            return {"gram": lambda: hosvd(tensor, case.ranks)}
        case "st_hosvd":
            return {"gram": lambda: st_hosvd(tensor, case.ranks), "plain": lambda: plain_st_hosvd(tensor, case.ranks)}
        case "randomized_svd":
            return {"halko": lambda: randomized_svd(tensor, case.rank)}
    raise ValueError(f"numpy-handwritten has no peer for {case.kind}")
