"""PyTorch's variants of the StyleGAN2 cases, and the reference in double precision."""
from __future__ import annotations

from typing import Any, Callable

import numpy as np
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from cases import Case
from stylegan2_model import Weights, random_weights
from stylegan2_torch import Synthesis, keep_off_kinks

Function = Callable[[Tensor], Tensor]
FORMATS = {"": torch.contiguous_format, ", channels last": torch.channels_last}
AT_ONCE = 4  # tangents, where they go in parts
OFF_KINKS = 1e-4  # distance, above what single precision makes of activations of order one


def jvp(function: Function, ws: Tensor, tangent: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.func.jvp(function, (ws,), (tangent,))[1]


def jvp_dual(function: Function, ws: Tensor, tangent: Tensor) -> Tensor:
    with torch.no_grad(), forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(ws, tangent))).tangent


def jvps(function: Function, ws: Tensor, tangents: Tensor, at_once: int | None) -> Tensor:
    return torch.func.vmap(lambda tangent: jvp(function, ws, tangent), chunk_size=at_once)(tangents)


def jvps_one_by_one(function: Function, ws: Tensor, tangents: Tensor) -> Tensor:
    return torch.stack([jvp(function, ws, tangent) for tangent in tangents])


def jvps_by_hand(model: Synthesis, ws: Tensor, tangents: Tensor, at_once: int | None) -> Tensor:
    with torch.inference_mode():
        parts = tangents.flatten(0, 1).split(at_once or len(tangents))
        return torch.cat([model.static_tangents(ws, part).contiguous() for part in parts])


def vjp(function: Function, ws: Tensor, cotangent: Tensor) -> Tensor:
    point = ws.detach().requires_grad_()
    return torch.autograd.grad(function(point), point, cotangent)[0]


def vjp_functional(function: Function, ws: Tensor, cotangent: Tensor) -> Tensor:
    return torch.func.vjp(function, ws)[1](cotangent)[0]


def forward(function: Callable[..., Tensor], ws: Tensor) -> Tensor:
    with torch.inference_mode():
        return function(ws, in_place=True).contiguous()


def variants(case: Case, inputs: dict[str, np.ndarray], weights: Weights) -> dict[str, Callable[[], Any]]:
    ws = torch.from_numpy(inputs["ws"])
    models = {
        suffix: Synthesis(weights, case.resolution, case.channel_base, torch.float32, memory_format)
        for suffix, memory_format in FORMATS.items()
    }
    result: dict[str, Callable[[], Any]] = {}
    if case.operation == "vjp":
        cotangent = torch.from_numpy(inputs["cotangent"]).reshape(1, 3, case.resolution, case.resolution)
    elif case.operation == "jvp":
        tangents = torch.from_numpy(inputs["tangents"]).reshape(-1, *ws.shape)
    for suffix, model in models.items():
        static, modulated = model.static, model.modulated
        match case.operation:
            case "forward":
                calls = {
                    "static": lambda f=static: forward(f, ws),
                    "modulated": lambda f=modulated: forward(f, ws),
                }
            case "vjp":
                calls = {
                    "static, autograd.grad": lambda f=static: vjp(f, ws, cotangent),
                    "static, func.vjp": lambda f=static: vjp_functional(f, ws, cotangent),
                    "modulated, autograd.grad": lambda f=modulated: vjp(f, ws, cotangent),
                }
            case "jvp":
                calls = {"static, by hand": lambda m=model: jvps_by_hand(m, ws, tangents, None)}
                if case.count == 1:
                    calls |= {
                        "static, func.jvp": lambda f=static: jvp(f, ws, tangents[0]),
                        "static, forward_ad": lambda f=static: jvp_dual(f, ws, tangents[0]),
                        "modulated, func.jvp": lambda f=modulated: jvp(f, ws, tangents[0]),
                    }
                else:
                    calls |= {
                        f"static, by hand, {AT_ONCE} at once": lambda m=model: jvps_by_hand(m, ws, tangents, AT_ONCE),
                        "static, vmap": lambda f=static: jvps(f, ws, tangents, None),
                        f"static, vmap, {AT_ONCE} at once": lambda f=static: jvps(f, ws, tangents, AT_ONCE),
                    }
                    if suffix:  # the faster format
                        calls["static, one by one"] = lambda f=static: jvps_one_by_one(f, ws, tangents)
        result |= {name + suffix: call for name, call in calls.items()}
    return result


def make_weights(seed: int, case: Case, ws: np.ndarray) -> Weights:
    """Random weights; for derivatives without activations that rounding would bring across their kink."""
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, case.resolution, case.channel_base)
    if case.operation != "forward":
        keep_off_kinks(rng, weights, torch.from_numpy(ws), case.resolution, case.channel_base, OFF_KINKS)
    return weights


def reference(case: Case, inputs: dict[str, np.ndarray], weights: Weights) -> np.ndarray:
    """The exact result in float64, of case.reference_rows: pictures as the authors compute them, derivatives with static
    weights."""
    model = Synthesis(weights, case.resolution, case.channel_base, torch.float64)
    wide = {name: torch.from_numpy(array).to(torch.float64) for name, array in inputs.items()}
    ws = wide["ws"]
    match case.operation:
        case "forward":
            result = forward(model.modulated, ws)
        case "jvp":
            result = jvps(model.static, ws, wide["tangents"].reshape(-1, *ws.shape)[case.reference_rows], None)
        case "vjp":
            result = vjp(model.static, ws, wide["cotangent"].reshape(1, 3, case.resolution, case.resolution))
    return result.reshape(len(case.reference_rows), -1).numpy()
