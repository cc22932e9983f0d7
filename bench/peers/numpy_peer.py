"""NumPy as its users write it: reshape and matmul, or einsum, whichever is faster for the case."""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

from cases import Case
from inputs import khatri_rao

Inputs = dict[str, np.ndarray]
LETTERS = "abcdefgh"


def factors_of(inputs: Inputs) -> list[np.ndarray]:
    return [inputs[name] for name in sorted(inputs) if name.startswith("factor_")]


def mode_product_subscripts(case: Case) -> str:
    letters = LETTERS[: len(case.shape)]
    contracted = letters[case.mode]
    return f"z{contracted},{letters}->{letters.replace(contracted, 'z')}"


def tucker_subscripts(order: int) -> str:
    small, large = LETTERS[:order], LETTERS[:order].upper()
    return ",".join([small] + [a + b for a, b in zip(large, small)]) + "->" + large


def mttkrp_subscripts(case: Case) -> str:
    letters = LETTERS[: len(case.shape)]
    others = [letter + "z" for letter in letters if letter != letters[case.mode]]
    return ",".join([letters, *others]) + f"->{letters[case.mode]}z"


def khatri_rao_subscripts(order: int) -> str:
    letters = LETTERS[:order]
    return ",".join(letter + "z" for letter in letters) + f"->{letters}z"


def variants(case: Case, inputs: Inputs) -> dict[str, Callable[[], Any]]:
    """Ways to do the case's work; every one returns a row-major array."""
    factors = factors_of(inputs)
    others = factors[: case.mode] + factors[case.mode + 1 :]
    match case.kind:
        case "mode_product":
            tensor, matrix = inputs["tensor"], inputs["matrix"]
            left, extent, right = case.slabs
            subscripts = mode_product_subscripts(case)

            def matmul() -> np.ndarray:
                if left == 1:
                    product = matrix @ tensor.reshape(extent, right)
                elif right == 1:
                    product = tensor.reshape(left, extent) @ matrix.T
                else:
                    product = np.matmul(matrix, tensor.reshape(left, extent, right))
                return product.reshape(case.output_shape)

            return {
                "matmul": matmul,
                "einsum": lambda: np.einsum(subscripts, matrix, tensor, optimize=True, order="C"),
            }
        case "unfold":
            tensor = inputs["tensor"]
            return {
                "moveaxis": lambda: np.array(
                    np.moveaxis(tensor, case.mode, 0).reshape(tensor.shape[case.mode], -1), order="C"
                )
                if case.mode == 0
                else np.moveaxis(tensor, case.mode, 0).reshape(tensor.shape[case.mode], -1)
            }
        case "mttkrp":
            tensor = inputs["tensor"]
            rows = tensor.shape[case.mode]
            subscripts = mttkrp_subscripts(case)
            path = np.einsum_path(subscripts, tensor, *others, optimize="optimal")[0]
            return {
                "matmul": lambda: np.moveaxis(tensor, case.mode, 0).reshape(rows, -1) @ khatri_rao(others),
                "einsum": lambda: np.einsum(subscripts, tensor, *others, optimize=path, order="C"),
            }
        case "khatri_rao":
            subscripts = khatri_rao_subscripts(len(factors))
            return {
                "broadcast": lambda: khatri_rao(factors),
                "einsum": lambda: np.einsum(subscripts, *factors).reshape(-1, case.rank),
            }
        case "reconstruct":
            core = inputs["core"]
            subscripts = tucker_subscripts(core.ndim)
            path = np.einsum_path(subscripts, core, *factors, optimize="optimal")[0]

            def products() -> np.ndarray:
                result = core
                for mode in range(core.ndim - 1, 0, -1):
                    left = int(np.prod(result.shape[:mode]))
                    grown = np.matmul(factors[mode], result.reshape(left, result.shape[mode], -1))
                    result = grown.reshape(result.shape[:mode] + (factors[mode].shape[0],) + result.shape[mode + 1 :])
                return (factors[0] @ result.reshape(core.shape[0], -1)).reshape(case.shape)

            return {
                "matmul": products,
                "einsum": lambda: np.einsum(subscripts, core, *factors, optimize=path, order="C"),
            }
    raise ValueError(f"numpy has no peer for {case.kind}")
