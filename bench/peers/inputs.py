"""Writes the inputs of one case, and for products the float64 reference, as NPY files: inputs.py CASE FOLDER.

Always the same numbers for the same case (PCG64, seed below). What is written:
    mode_product   tensor.npy, matrix.npy (J x I_n): standard normal
    unfold         tensor.npy: standard normal
    hosvd family   tensor.npy: a Tucker tensor with random orthonormal factors of 4 R_n columns (at most I_n), whose core
                   decays like prod_n 1 / (1 + i_n), plus white noise of 1 % of its norm
    cp_als         tensor.npy: a normal CP tensor of rank R plus 1 % noise; factor_n.npy: uniform starting factors
    mttkrp         tensor.npy, factor_n.npy (I_n x R): standard normal
    khatri_rao     factor_n.npy: standard normal
    reconstruct    core.npy: standard normal; factor_n.npy: orthonormal columns
    randomized_svd tensor.npy: M x N, singular values 1 / (1 + i) up to 4 K, plus 1 % noise
    stylegan2      weights.safetensors, see stylegan2_model.random_weights; ws.npy (1 x rows of w+ x 512) and, of its size
                   or the picture's, the rows of tangents.npy or cotangent.npy: standard normal
    tensor_model   fit: tensor.npy, a decaying Tucker tensor as above, with a mean code added. estimate: core.npy (decaying,
                   its rows orthogonal as an HOSVD's),
                   factor_n.npy, codes.npy (N x I_0: of random parameters around the average, plus 10 % noise), and
                   objective.npy: what tensor_model_peer.reference_objective reaches, per code
    the methods of cases.METHODS, cases.MOTION and cases.SPECTRAL: see make_inputs and reference in the peers' files
reference.npy is written for mode_product, mttkrp, khatri_rao, reconstruct, stylegan2 and the methods.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import cases
import stylegan2_model
from cases import Case

SEED = 20240607
NOISE = 0.01


def mode_product(tensor: np.ndarray, matrix: np.ndarray, mode: int) -> np.ndarray:
    left, extent, right = cases.slabs(tensor.shape, mode)
    product = np.matmul(matrix, tensor.reshape(left, extent, right))
    return product.reshape(tensor.shape[:mode] + (matrix.shape[0],) + tensor.shape[mode + 1 :])


def khatri_rao(factors: list[np.ndarray]) -> np.ndarray:
    product = factors[0]
    for factor in factors[1:]:
        product = (product[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return product


def tucker_to_full(core: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
    for mode in range(core.ndim - 1, -1, -1):  # the first mode, usually the longest, grows last
        core = mode_product(core, factors[mode], mode)
    return core


def _orthonormal(rng: np.random.Generator, rows: int, columns: int, dtype: str) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((rows, columns), dtype=dtype))[0]


def _with_noise(rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
    noise = rng.standard_normal(signal.shape, dtype=signal.dtype)
    noise *= NOISE * np.linalg.norm(signal.ravel()) / np.sqrt(signal.size)
    noise += signal
    return noise


def _decaying_tensor(rng: np.random.Generator, shape: tuple[int, ...], ranks: tuple[int, ...], dtype: str) -> np.ndarray:
    widths = [min(extent, 4 * rank) for extent, rank in zip(shape, ranks)]
    core = rng.standard_normal(widths, dtype=dtype)
    for mode, width in enumerate(widths):
        decay = (1.0 / (1.0 + np.arange(width))).astype(dtype)
        core *= decay.reshape([-1 if axis == mode else 1 for axis in range(len(widths))])
    factors = [_orthonormal(rng, extent, width, dtype) for extent, width in zip(shape, widths)]
    return _with_noise(rng, tucker_to_full(core, factors))


def make(case: Case) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED)
    shape, dtype = case.shape, case.dtype

    def normal(*extents: int) -> np.ndarray:
        return rng.standard_normal(extents, dtype=dtype)

    def named(factors: list[np.ndarray]) -> dict[str, np.ndarray]:
        return {f"factor_{mode}": factor for mode, factor in enumerate(factors)}

    match case.kind:
        case "mode_product":
            return {"tensor": normal(*shape), "matrix": normal(case.matrix_rows, shape[case.mode])}
        case "unfold":
            return {"tensor": normal(*shape)}
        case "hosvd" | "st_hosvd" | "hooi":
            return {"tensor": _decaying_tensor(rng, shape, case.ranks, dtype)}
        case "cp_als":
            truth = [normal(extent, case.rank) for extent in shape]
            signal = (truth[0] @ khatri_rao(truth[1:]).T).reshape(shape)
            start = [rng.random((extent, case.rank), dtype=dtype) for extent in shape]
            return {"tensor": _with_noise(rng, signal)} | named(start)
        case "mttkrp":
            return {"tensor": normal(*shape)} | named([normal(extent, case.rank) for extent in shape])
        case "khatri_rao":
            return named([normal(extent, case.rank) for extent in shape])
        case "reconstruct":
            factors = [_orthonormal(rng, extent, rank, dtype) for extent, rank in zip(shape, case.ranks)]
            return {"core": normal(*case.ranks)} | named(factors)
        case "randomized_svd":
            width = min(*shape, 4 * case.rank)
            left, right = (_orthonormal(rng, extent, width, dtype) for extent in shape)
            decay = (1.0 / (1.0 + np.arange(width))).astype(dtype)
            return {"tensor": _with_noise(rng, (left * decay) @ right.T)}
        case "stylegan2":
            ws = normal(1, stylegan2_model.rows_of(case.resolution), stylegan2_model.W_DIM)
            match case.operation:
                case "jvp":
                    return {"ws": ws, "tangents": normal(case.count, ws.size)}
                case "vjp":
                    return {"ws": ws, "cotangent": normal(case.count, 3 * case.resolution**2)}
            return {"ws": ws}
        case "tensor_model":
            if case.operation == "fit":
                tensor = _decaying_tensor(rng, shape, tuple(max(1, extent // 4) for extent in shape), dtype)
                scale = np.linalg.norm(tensor.ravel()) / np.sqrt(tensor.size)
                return {"tensor": tensor + scale * normal(shape[0], *[1] * (len(shape) - 1))}
            import tensor_model_peer

            core = normal(*case.ranks)
            for mode, rank in enumerate(case.ranks):
                decay = (1.0 / np.sqrt(1.0 + np.arange(rank))).astype(dtype)
                core *= decay.reshape([-1 if axis == mode else 1 for axis in range(len(shape))])
            # Rows orthogonal and in descending order, as an HOSVD leaves them.
            rows = core.reshape(core.shape[0], -1)
            vectors = np.linalg.eigh(rows @ rows.T)[1][:, ::-1]
            core = np.ascontiguousarray(vectors.T @ rows).reshape(core.shape)
            factors = [_orthonormal(rng, extent, rank, dtype) for extent, rank in zip(shape, case.ranks)]
            return tensor_model_peer.make_codes(rng, core, factors, case.count)
        case "least_squares":
            import least_squares_peer

            return least_squares_peer.make_inputs(rng, shape, case.count, dtype)
        case "multilinear_loss":
            import multilinear_loss_peer

            return multilinear_loss_peer.make_inputs(rng, shape, case.count, dtype)
        case "localized_dictionary":
            import dictionary_peer

            return dictionary_peer.make_inputs(rng, shape, case.rank, dtype)
        case "spherical_k_means":
            import clustering_peer

            return clustering_peer.make_vectors(rng, shape, case.rank, dtype)
        case "ward_linkage":
            import clustering_peer

            return clustering_peer.make_points(rng, shape, dtype)
        case "nrsfm":
            import nrsfm_peer

            return nrsfm_peer.make_inputs(rng, shape, case.rank, dtype)
        case "shape_fit":
            import shape_fit_peer

            return shape_fit_peer.make_inputs(rng, shape, case.rank, dtype)
        case "jacobian_svd":
            import jacobian_peer

            return jacobian_peer.make_inputs(rng, case)
    raise ValueError(f"no inputs for {case.name}")


def reference(case: Case, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    """The exact result in float64, None for decompositions (their error is that of the reconstruction)."""
    match case.kind:
        case "least_squares":
            import least_squares_peer

            return least_squares_peer.reference(arrays)
        case "multilinear_loss":
            import multilinear_loss_peer

            return multilinear_loss_peer.reference(arrays)
        case "localized_dictionary":
            import dictionary_peer

            return np.array([dictionary_peer.objective_of_adam(case.count)])
        case "spherical_k_means" | "ward_linkage":
            import clustering_peer

            return clustering_peer.reference(case, arrays)
        case "nrsfm":
            import nrsfm_peer

            return nrsfm_peer.reference(case, arrays)
        case "shape_fit":
            import shape_fit_peer

            return shape_fit_peer.reference(arrays)
    if case.kind not in ("mode_product", "mttkrp", "khatri_rao", "reconstruct"):
        return None
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    factors = [wide[f"factor_{mode}"] for mode in range(len(case.shape)) if f"factor_{mode}" in wide]
    if case.kind == "mode_product":
        axes = (1, case.mode)
        return np.ascontiguousarray(np.moveaxis(np.tensordot(wide["matrix"], wide["tensor"], axes), 0, case.mode))
    if case.kind == "mttkrp":
        others = khatri_rao(factors[: case.mode] + factors[case.mode + 1 :])
        return np.moveaxis(wide["tensor"], case.mode, 0).reshape(case.shape[case.mode], -1) @ others
    if case.kind == "khatri_rao":
        return khatri_rao(factors)
    return tucker_to_full(wide["core"], factors)


def main() -> None:
    case, folder = cases.parse(sys.argv[1]), Path(sys.argv[2])
    arrays = make(case)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    if case.kind == "stylegan2":
        import stylegan2_peer

        weights = stylegan2_peer.make_weights(SEED + 1, case, arrays["ws"])
        stylegan2_model.save_safetensors(folder / "weights.safetensors", weights)
        exact = stylegan2_peer.reference(case, arrays, weights)
    elif case.kind == "jacobian_svd":
        import jacobian_peer

        weights = jacobian_peer.make_weights(SEED + 1, case, arrays)
        if weights:
            stylegan2_model.save_safetensors(folder / "weights.safetensors", weights)
        exact = jacobian_peer.reference(case, arrays, weights)
    else:
        exact = reference(case, arrays)
    if exact is not None:
        np.save(folder / "reference.npy", exact)


if __name__ == "__main__":
    main()
