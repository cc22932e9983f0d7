"""TensorLy, with its NumPy or its PyTorch back end."""
from __future__ import annotations

from typing import Any, Callable

import tensorly as tl
from tensorly.decomposition import parafac, tucker
from tensorly.tenalg import khatri_rao, mode_dot, svd_interface, unfolding_dot_khatri_rao

from cases import CP_ITERATIONS, HOOI_ITERATIONS, SVD_OVERSAMPLING, SVD_POWER_ITERATIONS, Case
from numpy_peer import Inputs, factors_of


def variants(case: Case, inputs: Inputs, backend: str) -> dict[str, Callable[[], Any]]:
    tl.set_backend(backend)
    arrays = {name: tl.tensor(array) for name, array in inputs.items()}
    factors = [tl.tensor(factor) for factor in factors_of(inputs)]
    tensor = arrays.get("tensor")
    match case.kind:
        case "mode_product":
            return {"mode_dot": lambda: mode_dot(tensor, arrays["matrix"], case.mode)}
        case "unfold":
            return {"unfold": lambda: tl.copy(tl.unfold(tensor, case.mode))}
        case "hosvd" | "st_hosvd":
            # No sweeps: what is left of tucker is its HOSVD. It has no sequential one.
            return {"tucker": lambda: tucker(tensor, list(case.ranks), n_iter_max=0, init="svd", svd="truncated_svd")}
        case "hooi":
            sweeps = {"n_iter_max": HOOI_ITERATIONS, "tol": 0}
            return {"tucker": lambda: tucker(tensor, list(case.ranks), init="svd", svd="truncated_svd", **sweeps)}
        case "cp_als":
            sweeps = {"n_iter_max": CP_ITERATIONS, "tol": 0, "normalize_factors": False}
            return {"parafac": lambda: parafac(tensor, case.rank, init=(None, factors), **sweeps).factors}
        case "mttkrp":
            return {"mttkrp": lambda: unfolding_dot_khatri_rao(tensor, (None, factors), case.mode)}
        case "khatri_rao":
            return {"khatri_rao": lambda: khatri_rao(factors)}
        case "reconstruct":
            return {"tucker_to_tensor": lambda: tl.tucker_to_tensor((arrays["core"], factors))}
        case "randomized_svd":
            options = {"n_oversamples": SVD_OVERSAMPLING, "n_iter": SVD_POWER_ITERATIONS, "random_state": 0}
            return {
                "randomized_svd": lambda: svd_interface(
                    tensor, method="randomized_svd", n_eigenvecs=case.rank, flip_sign=False, **options
                )
            }
    raise ValueError(f"tensorly has no peer for {case.kind}")
