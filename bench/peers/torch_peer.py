"""PyTorch on the CPU: einsum, tensordot or matmul, whichever is faster for the case; svd_lowrank."""
from __future__ import annotations

from typing import Any, Callable

import torch

from cases import SVD_OVERSAMPLING, SVD_POWER_ITERATIONS, Case
from numpy_peer import (
    Inputs,
    factors_of,
    khatri_rao_subscripts,
    mode_product_subscripts,
    mttkrp_subscripts,
    tucker_subscripts,
)


def variants(case: Case, inputs: Inputs) -> dict[str, Callable[[], Any]]:
    """Ways to do the case's work; every one returns a row-major tensor."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    factors = [torch.from_numpy(factor) for factor in factors_of(inputs)]
    others = factors[: case.mode] + factors[case.mode + 1 :]
    match case.kind:
        case "mode_product":
            tensor, matrix = tensors["tensor"], tensors["matrix"]
            left, extent, right = case.slabs
            subscripts = mode_product_subscripts(case)
            return {
                "einsum": lambda: torch.einsum(subscripts, matrix, tensor).contiguous(),
                "tensordot": lambda: torch.tensordot(matrix, tensor, ([1], [case.mode]))
                .moveaxis(0, case.mode)
                .contiguous(),
                "matmul": lambda: (
                    tensor.reshape(left, extent) @ matrix.T
                    if right == 1
                    else matrix @ tensor.reshape(left, extent, right)
                ).reshape(case.output_shape),
            }
        case "unfold":
            tensor = tensors["tensor"]
            return {
                "moveaxis": lambda: tensor.moveaxis(case.mode, 0)
                .reshape(tensor.shape[case.mode], -1)
                .clone(memory_format=torch.contiguous_format)
                if case.mode == 0
                else tensor.moveaxis(case.mode, 0).reshape(tensor.shape[case.mode], -1)
            }
        case "mttkrp":
            subscripts = mttkrp_subscripts(case)
            return {"einsum": lambda: torch.einsum(subscripts, tensors["tensor"], *others).contiguous()}
        case "khatri_rao":
            subscripts = khatri_rao_subscripts(len(factors))
            return {"einsum": lambda: torch.einsum(subscripts, *factors).reshape(-1, case.rank)}
        case "reconstruct":
            subscripts = tucker_subscripts(len(factors))
            return {"einsum": lambda: torch.einsum(subscripts, tensors["core"], *factors).contiguous()}
        case "randomized_svd":
            columns = case.rank + SVD_OVERSAMPLING

            def svd_lowrank() -> Any:
                u, s, v = torch.svd_lowrank(tensors["tensor"], q=columns, niter=SVD_POWER_ITERATIONS)
                return u[:, : case.rank], s[: case.rank], v[:, : case.rank].T

            return {"svd_lowrank": svd_lowrank}
    raise ValueError(f"torch has no peer for {case.kind}")
