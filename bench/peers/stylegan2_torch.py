"""The synthesis network of StyleGAN2 in PyTorch, in the two usual structures:

    modulated  the styles and the demodulation go into the weights, one set per picture: a grouped convolution
    static     the same weights for every picture; styles scale a convolution's inputs, the demodulation its outputs

Constant noise. The activation's gain sqrt(2) is moved in front of it, into numbers that are multiplied anyway.
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan2_model import Layer, Weights, layers

EPSILON = 1e-8
GAIN = 2**0.5


class SynthesisLayer:
    def __init__(self, layer: Layer, weights: Weights, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        def tensor(name: str) -> Tensor:
            return torch.from_numpy(weights[f"{layer.name}.{name}"]).to(dtype)

        self.layer = layer
        self.affine_weight = tensor("affine.weight") / weights[f"{layer.name}.affine.weight"].shape[1] ** 0.5
        self.affine_bias = tensor("affine.bias")
        self.weight = tensor("weight")
        self.bias = tensor("bias")
        if layer.to_rgb:
            self.affine_weight = self.affine_weight / layer.inputs**0.5
            self.affine_bias = self.affine_bias / layer.inputs**0.5
            return
        self.squares = self.weight.square().sum((2, 3))
        self.bias = self.bias * GAIN
        self.noise = tensor("noise_const") * tensor("noise_strength") * GAIN
        # A transposed convolution takes its weights as inputs x outputs.
        static = self.weight.transpose(0, 1) if layer.upsamples else self.weight
        self.static_weight = static.contiguous(memory_format=memory_format)
        taps = torch.tensor([1, 3, 3, 1], dtype=dtype) / 4
        self.filter = torch.outer(taps, taps).repeat(layer.outputs, 1, 1, 1).contiguous(memory_format=memory_format)

    def styles(self, ws: Tensor) -> Tensor:
        return F.linear(ws[:, self.layer.row], self.affine_weight, self.affine_bias)

    def activate(self, x: Tensor, in_place: bool) -> Tensor:
        """Noise and leaky ReLU; the bias is there already."""
        if in_place:
            return F.leaky_relu_(x.add_(self.noise), 0.2)
        return F.leaky_relu(x + self.noise, 0.2)

    def modulated(self, x: Tensor, ws: Tensor, in_place: bool) -> Tensor:
        layer, count = self.layer, x.shape[0]
        weight = self.weight * self.styles(ws)[:, None, :, None, None]
        if layer.to_rgb:
            x = x.reshape(1, -1, *x.shape[2:])
            x = F.conv2d(x, weight.flatten(0, 1), self.bias.repeat(count), groups=count)
            return x.reshape(count, -1, *x.shape[2:])
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + EPSILON).rsqrt() * GAIN
        x = x.reshape(1, -1, *x.shape[2:])
        if layer.upsamples:
            x = F.conv_transpose2d(x, weight.transpose(1, 2).flatten(0, 1), stride=2, groups=count)
            x = x.reshape(count, -1, *x.shape[2:])
            x = F.conv2d(x, self.filter, self.bias, padding=1, groups=layer.outputs)
        else:
            x = F.conv2d(x, weight.flatten(0, 1), self.bias.repeat(count), padding=1, groups=count)
            x = x.reshape(count, -1, *x.shape[2:])
        return self.activate(x, in_place)

    def static(self, x: Tensor, ws: Tensor, in_place: bool) -> Tensor:
        if self.layer.to_rgb:
            weight = self.weight[:, :, 0, 0] * self.styles(ws)[:, None, :]
            return torch.matmul(weight, x.flatten(2)).unflatten(2, x.shape[2:]) + self.bias[:, None, None]
        return self.activate(self.static_convolution(x, ws), in_place)

    def static_convolution(self, x: Tensor, ws: Tensor) -> Tensor:
        """What static activates, without the noise."""
        layer, styles = self.layer, self.styles(ws)
        demodulation = (F.linear(styles.square(), self.squares) + EPSILON).rsqrt() * GAIN
        x = x * styles[:, :, None, None]
        if layer.upsamples:
            x = F.conv_transpose2d(x, self.static_weight, stride=2)
            x = F.conv2d(x, self.filter, padding=1, groups=layer.outputs)
        else:
            x = F.conv2d(x, self.static_weight, padding=1)
        return torch.addcmul(self.bias[:, None, None], x, demodulation[:, :, None, None])

    def static_tangents(self, x: Tensor, dx: Tensor, ws: Tensor, dws: Tensor) -> tuple[Tensor, Tensor]:
        """static and its tangents by hand: value and tangents go through one convolution, as one batch."""
        layer, s = self.layer, self.styles(ws)
        ds = F.linear(dws[:, layer.row], self.affine_weight)
        if layer.to_rgb:
            weight = self.weight[:, :, 0, 0]
            slope = torch.matmul(weight * s[:, None, :], dx.flatten(2)) + torch.matmul(weight * ds[:, None, :], x.flatten(2))
            return self.static(x, ws, in_place=False), slope.unflatten(2, x.shape[2:])
        d = (F.linear(s.square(), self.squares) + EPSILON).rsqrt() * GAIN
        dd = -(d**3) / GAIN**2 * F.linear(s * ds, self.squares)
        s, ds, d, dd = (vector[:, :, None, None] for vector in (s, ds, d, dd))
        both = torch.cat((x * s, torch.addcmul(dx * s, x, ds)))
        if layer.upsamples:
            both = F.conv_transpose2d(both, self.static_weight, stride=2)
            both = F.conv2d(both, self.filter, padding=1, groups=layer.outputs)
        else:
            both = F.conv2d(both, self.static_weight, padding=1)
        value = torch.addcmul(self.bias[:, None, None], both[:1], d).add_(self.noise)
        slope = torch.addcmul(dd * both[:1], both[1:], d).mul_(torch.where(value > 0, 1.0, 0.2))
        return F.leaky_relu_(value, 0.2), slope


class Synthesis:
    """w+ (N x rows x 512) to pictures. Without derivatives, steps may work in place."""

    def __init__(
        self,
        weights: Weights,
        resolution: int,
        channel_base: int,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.layers = [
            SynthesisLayer(layer, weights, dtype, memory_format)
            for layer in layers(resolution, channel_base, len(weights["synthesis.b4.const"]))
        ]
        self.memory_format = memory_format
        self.start = torch.from_numpy(weights["synthesis.b4.const"])[None].to(dtype)
        taps = torch.tensor([1, 3, 3, 1], dtype=dtype) / 4
        self.filter = torch.outer(taps, taps).repeat(3, 1, 1, 1)

    def run(self, ws: Tensor, step: Callable[[SynthesisLayer, Tensor], Tensor]) -> Tensor:
        x = self.start.expand(ws.shape[0], -1, -1, -1).contiguous(memory_format=self.memory_format)
        picture = None
        for layer in self.layers:
            if not layer.layer.to_rgb:
                x = step(layer, x)
                continue
            colours = step(layer, x)
            if picture is not None:
                colours = colours + F.conv_transpose2d(picture, self.filter, stride=2, padding=1, groups=3)
            picture = colours
        return picture

    def modulated(self, ws: Tensor, in_place: bool = False) -> Tensor:
        return self.run(ws, lambda layer, x: layer.modulated(x, ws, in_place))

    def static(self, ws: Tensor, in_place: bool = False) -> Tensor:
        return self.run(ws, lambda layer, x: layer.static(x, ws, in_place))

    def static_tangents(self, ws: Tensor, tangents: Tensor) -> Tensor:
        """The derivative at ws (1 x rows x 512) along each of K tangents (K x rows x 512)."""
        x = self.start
        dx = torch.zeros_like(x).expand(len(tangents), -1, -1, -1).contiguous(memory_format=self.memory_format)
        picture = None
        for layer in self.layers:
            if not layer.layer.to_rgb:
                x, dx = layer.static_tangents(x, dx, ws, tangents)
                continue
            colours = layer.static_tangents(x, dx, ws, tangents)[1]
            if picture is not None:
                colours = colours + F.conv_transpose2d(picture, self.filter, stride=2, padding=1, groups=3)
            picture = colours
        return picture


def keep_off_kinks(
    rng: np.random.Generator, weights: Weights, ws: Tensor, resolution: int, channel_base: int, distance: float
) -> None:
    """Draws constant noise again where it brings an activation at `ws` close to its kink.

    There a derivative jumps, and rounding alone decides on which side it is: millions of activations in single precision
    have dozens on the other side than in double precision, each of which changes a derivative by a percent.
    """
    model = Synthesis(weights, resolution, channel_base, torch.float64)
    ws = ws.to(torch.float64)

    def step(layer: SynthesisLayer, x: Tensor) -> Tensor:
        if layer.layer.to_rgb:
            return layer.static(x, ws, in_place=False)
        before = layer.static_convolution(x, ws)
        noise = weights[f"{layer.layer.name}.noise_const"]
        strength = float(weights[f"{layer.layer.name}.noise_strength"]) * GAIN

        def too_close(rows: Any, columns: Any) -> np.ndarray:
            shift = strength * torch.from_numpy(noise[rows, columns]).to(torch.float64)
            return ((before[:, :, rows, columns] + shift).abs() < distance).any(1).any(0).numpy()

        rows, columns = np.divmod(np.arange(noise.size), noise.shape[1])
        while (close := too_close(rows, columns)).any():
            rows, columns = rows[close], columns[close]
            noise[rows, columns] = rng.standard_normal(rows.size, dtype=np.float32)
        layer.noise = torch.from_numpy(noise).to(torch.float64) * strength
        return layer.activate(before, in_place=False)

    with torch.inference_mode():
        model.run(ws, step)
