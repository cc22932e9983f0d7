"""Spherical k-means and Ward linkage: scikit-learn, SciPy, and k-means by hand."""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

ITERATIONS = 20
PLANTED = 3  # directions per cluster that is asked for; with the noise it takes scikit-learn some 60 iterations to converge
NOISE = 4.0  # of a vector, relative to its direction


def make_vectors(rng: np.random.Generator, shape: tuple[int, ...], clusters: int, dtype: str) -> dict[str, np.ndarray]:
    """Planted directions with noise and lengths between 0.5 and 2; the starting centres are some of the vectors at length 1."""
    directions = rng.standard_normal((PLANTED * clusters, shape[1]), dtype=dtype)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vectors = rng.standard_normal(shape, dtype=dtype)
    vectors *= NOISE / np.sqrt(shape[1])
    vectors += directions[rng.integers(len(directions), size=shape[0])]
    vectors *= np.exp2(rng.uniform(-1, 1, (shape[0], 1))).astype(dtype)
    centres = vectors[rng.choice(shape[0], clusters, replace=False)]
    return {"vectors": vectors, "centres": centres / np.linalg.norm(centres, axis=1, keepdims=True)}


def make_points(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> dict[str, np.ndarray]:
    """Normal vectors around 50 normal means."""
    means = rng.standard_normal((50, shape[1]), dtype=dtype)
    return {"vectors": means[rng.integers(50, size=shape[0])] + 0.5 * rng.standard_normal(shape, dtype=dtype)}


def inertia(vectors: np.ndarray, centres: np.ndarray) -> float:
    """sum of 1 - cosine between vectors and their nearest centre, in double precision."""
    unit = centres.astype(np.float64) / np.linalg.norm(centres.astype(np.float64), axis=1, keepdims=True)
    total = 0.0
    for first in range(0, len(vectors), 1 << 15):
        rows = vectors[first : first + (1 << 15)].astype(np.float64)
        total += float((1 - (rows @ unit.T).max(1) / np.linalg.norm(rows, axis=1)).sum())
    return total


def spherical_k_means(unit: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By hand: sums of clusters by a sparse matrix of the labels. Returns the centres that the last labels belong to, and the labels."""
    from scipy.sparse import csr_array

    count = len(unit)
    for iteration in range(ITERATIONS):
        labels = (unit @ centres.T).argmax(1)
        if iteration + 1 < ITERATIONS:
            members = csr_array((np.ones(count, unit.dtype), labels, np.arange(count + 1)), (count, len(centres)))
            sums = members.T @ unit
            centres = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return centres, labels


def reference(case: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Of k-means the inertia after ITERATIONS in double precision, of Ward linkage the merges."""
    vectors = inputs["vectors"].astype(np.float64)
    if case.kind == "ward_linkage":
        from scipy.cluster.hierarchy import linkage

        return linkage(vectors, "ward")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.array([inertia(vectors, spherical_k_means(unit, inputs["centres"].astype(np.float64))[0])])


def variants(peer: str, case: Any, inputs: dict[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    vectors = inputs["vectors"]
    if case.kind == "ward_linkage":
        from scipy.cluster.hierarchy import linkage

        return {"linkage": lambda: linkage(vectors, "ward")}
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)  # not timed
    if peer == "numpy-handwritten":
        return {"sparse labels": lambda: spherical_k_means(unit, inputs["centres"])}
    from sklearn.cluster import KMeans

    def fitted(copy: bool) -> Any:
        options = {"n_init": 1, "max_iter": ITERATIONS, "tol": 0, "copy_x": copy, "algorithm": "lloyd"}
        found = KMeans(case.rank, init=inputs["centres"], **options).fit(unit)
        return found.cluster_centers_, found.labels_

    return {"lloyd": lambda: fitted(True), "lloyd, in place": lambda: fitted(False)}


def relative_error(case: Any, result: Any, inputs: dict[str, np.ndarray], exact: np.ndarray) -> float:
    """Of k-means how much the inertia is above the reference's, of Ward linkage the largest error of a height."""
    if case.kind == "ward_linkage":
        return float(np.max(np.abs(result[:, 2] - exact[:, 2])) / exact[-1, 2])
    return inertia(inputs["vectors"], result[0]) / float(exact[0]) - 1
