"""What the peers' results have in common: their size and their error, computed in float64 a few rows at a time."""
from __future__ import annotations

from typing import Any, Iterator

import numpy as np

from cases import COUNTS, Case
from inputs import khatri_rao, tucker_to_full

BLOCK = 1 << 22  # entries of the tensor looked at together


def to_numpy(array: Any) -> np.ndarray:
    return array.detach().numpy() if hasattr(array, "detach") else np.asarray(array)


def _flatten(result: Any) -> Iterator[Any]:
    if hasattr(result, "Us"):  # tntorch.Tensor
        yield from (*result.cores, *result.Us)
    elif isinstance(result, (tuple, list)) or type(result).__name__ == "TuckerTensor":
        for part in result:
            yield from _flatten(part)
    elif result is not None:
        yield result


def size_in_bytes(result: Any) -> int:
    return sum(to_numpy(array).nbytes for array in _flatten(result))


def counts(case: Case, result: Any) -> dict[str, int]:
    """What the method has counted, of COUNTS; nothing for most."""
    return {name: int(number) for name, number in zip(COUNTS, result[3:])} if case.kind == "jacobian_svd" else {}


def _first_factor_and_rest(case: Case, result: Any) -> tuple[np.ndarray, np.ndarray]:
    """U and M, so that U M is the unfolding along mode 0 of the tensor that the result stands for."""
    if case.kind == "randomized_svd":
        left, values, right = (to_numpy(part).astype(np.float64) for part in result)
        return left * values, right
    if case.kind == "cp_als":
        factors = [to_numpy(factor).astype(np.float64) for factor in result]
        return factors[0], khatri_rao(factors[1:]).T
    if hasattr(result, "Us"):
        from tntorch_peer import core_and_factors

        result = core_and_factors(result)
    core, factors = result
    core = to_numpy(core).astype(np.float64)
    factors = [to_numpy(factor).astype(np.float64) for factor in factors]
    first, identity = factors[0], np.eye(core.shape[0])
    return first, tucker_to_full(core, [identity, *factors[1:]]).reshape(core.shape[0], -1)


def _largest_error(result: np.ndarray, reference: np.ndarray) -> float:
    difference = np.abs(result.reshape(reference.shape) - reference)
    return float(difference.max() / np.abs(reference).max())


def relative_error(
    case: Case, result: Any, tensor: np.ndarray | None, reference: np.ndarray | None, inputs: dict[str, np.ndarray]
) -> float | None:
    """|result - reference| / |reference|, for decompositions of the reconstruction against the input; None for copies.

    In the Frobenius norm, of StyleGAN2's results in the largest element. Of estimated parameters: how far the mean objective is above
    the reference's. Of other methods: as their peers' files say.
    """
    if case.kind == "localized_dictionary":
        return 0.0  # its objective is what ours is compared with
    if case.kind == "multilinear_loss":
        import multilinear_loss_peer

        return multilinear_loss_peer.relative_error(result, reference)
    if case.kind == "nrsfm":
        import nrsfm_peer

        return nrsfm_peer.relative_error(result, reference)
    if case.kind == "shape_fit":
        import shape_fit_peer

        return shape_fit_peer.relative_error(to_numpy(result), reference)
    if case.kind == "jacobian_svd":
        import jacobian_peer

        return jacobian_peer.relative_error(to_numpy(result[1]), reference)
    if case.kind in ("spherical_k_means", "ward_linkage"):
        import clustering_peer

        return clustering_peer.relative_error(case, result, inputs, reference)
    if case.kind == "tensor_model":
        import tensor_model_fit
        import tensor_model_peer

        if case.operation == "estimate":
            return tensor_model_peer.excess(to_numpy(result), tensor)
        return tensor_model_fit.relative_error(case, result, tensor)
    if case.kind == "stylegan2":
        return _largest_error(to_numpy(result).reshape(case.count, -1)[case.reference_rows], reference)
    if reference is not None:
        exact, computed, first = reference, to_numpy(result), None
    elif case.kind == "unfold":
        return None
    else:
        exact, (first, rest) = tensor, _first_factor_and_rest(case, result)
    rows = exact.shape[0]
    step = max(1, BLOCK * rows // exact.size)
    difference = norm = 0.0
    for begin in range(0, rows, step):
        block = exact[begin : begin + step].astype(np.float64)
        other = computed[begin : begin + step] if first is None else first[begin : begin + step] @ rest
        norm += float(np.vdot(block, block))
        block -= other.reshape(block.shape)
        difference += float(np.vdot(block, block))
    return (difference / norm) ** 0.5
