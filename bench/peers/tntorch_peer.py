"""tntorch: a Tucker tensor by rounding the full one."""
from __future__ import annotations

from typing import Any, Callable

import tntorch
import torch

from cases import Case
from numpy_peer import Inputs


def variants(case: Case, inputs: Inputs) -> dict[str, Callable[[], Any]]:
    tensor = torch.from_numpy(inputs["tensor"])
    ranks = list(case.ranks)
    return {"eig": lambda: tntorch.Tensor(tensor, ranks_tucker=ranks, algorithm="eig")}


def core_and_factors(result: tntorch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    return result.tucker_core(), result.Us
