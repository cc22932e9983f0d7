"""Generator (StyleGAN2, skip architecture), discriminator and regressor.

Parameters of the generator carry NVIDIA's names, so that its state dictionary is the weight file. A modulated
convolution is computed with weights that do not depend on the sample: y = d * conv(x * s, W). Pictures are
N x 3 x H x W with nominal range [-1, 1].
"""
from __future__ import annotations

import math
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SQRT2 = math.sqrt(2.0)
SLOPE = 0.2
RESOLUTION = 64


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE) * SQRT2


def channels_of(resolution: int, base: int, most: int) -> int:
    return min(base // resolution, most)


class Dense(nn.Module):
    """x W^T (m / sqrt(in)) + m b with weights that start as N(0, 1) / m; m is the learning-rate multiplier."""

    def __init__(self, inputs: int, outputs: int, multiplier: float = 1.0, bias: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / multiplier))
        self.gain = multiplier / math.sqrt(inputs)
        self.multiplier = multiplier

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.multiplier)


class Mapping(nn.Module):
    """z to w: normalisation to length sqrt(z_dim), then dense layers, all of them activated."""

    def __init__(self, z_dim: int, w_dim: int, layers: int):
        super().__init__()
        self.layers = layers
        for i in range(layers):
            setattr(self, f"fc{i}", Dense(z_dim if i == 0 else w_dim, w_dim, multiplier=0.01))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor) -> Tensor:
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for i in range(self.layers):
            x = activate(getattr(self, f"fc{i}")(x))
        return x


def binomial_filter() -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64.0


class Layer(nn.Module):
    """A modulated 3 x 3 convolution with noise, bias and activation; `up` doubles the resolution first."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int, up: bool):
        super().__init__()
        self.up = up
        self.affine = Dense(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3).contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", binomial_filter())

    def forward(self, x: Tensor, w: Tensor, noise: str) -> Tensor:
        styles = self.affine(w)
        squares = self.weight.square().sum((2, 3))
        # The activation's gain of sqrt(2) commutes with leaky ReLU, so it is applied together with the demodulation.
        demodulation = SQRT2 * torch.rsqrt(styles.square() @ squares.t() + 1e-8)
        x = x * styles.to(x.dtype)[:, :, None, None]
        weight = self.weight.to(x.dtype)
        if self.up:
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            taps = (4.0 * self.resample_filter).to(x.dtype)[None, None].repeat(x.shape[1], 1, 1, 1)
            x = F.conv2d(x, taps, padding=1, groups=x.shape[1])
        else:
            x = F.conv2d(x, weight, padding=1)
        shift = (SQRT2 * self.bias)[:, None, None]
        if noise == "random":
            drawn = torch.randn(x.shape[0], 1, *x.shape[2:], dtype=self.noise_strength.dtype)
            shift = shift + SQRT2 * self.noise_strength * drawn
        elif noise == "const":
            shift = shift + SQRT2 * self.noise_strength * self.noise_const
        return F.leaky_relu(torch.addcmul(shift.to(x.dtype), x, demodulation.to(x.dtype)[:, :, None, None]), SLOPE)


class ToRGB(nn.Module):
    """A modulated 1 x 1 convolution to three channels, without demodulation."""

    def __init__(self, inputs: int, w_dim: int):
        super().__init__()
        self.affine = Dense(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.gain = 1.0 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * self.gain
        x = F.conv2d(x * styles.to(x.dtype)[:, :, None, None], self.weight.to(x.dtype))
        return x.to(self.bias.dtype) + self.bias[None, :, None, None]


class Block(nn.Module):
    """All layers of one resolution."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int):
        super().__init__()
        if inputs == 0:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        else:
            self.conv0 = Layer(inputs, outputs, w_dim, resolution, up=True)
        self.conv1 = Layer(outputs, outputs, w_dim, resolution, up=False)
        self.torgb = ToRGB(outputs, w_dim)
        self.register_buffer("resample_filter", binomial_filter())


class Synthesis(nn.Module):
    """Rows of w (N x num_ws x w_dim) to pictures."""

    def __init__(self, w_dim: int, resolution: int, channel_base: int, channel_max: int):
        super().__init__()
        self.resolutions = [2**k for k in range(2, int(math.log2(resolution)) + 1)]
        self.num_ws = 2 * len(self.resolutions)
        inputs = 0
        for r in self.resolutions:
            outputs = channels_of(r, channel_base, channel_max)
            setattr(self, f"b{r}", Block(inputs, outputs, w_dim, r))
            inputs = outputs

    def forward(self, ws: Tensor, noise: str = "const", dtype: torch.dtype = torch.float32) -> Tensor:
        image: Optional[Tensor] = None
        row = 0
        for r in self.resolutions:
            block = getattr(self, f"b{r}")
            if r == 4:
                x = block.const.to(dtype)[None].repeat(ws.shape[0], 1, 1, 1)
                x = x.contiguous(memory_format=torch.channels_last)
            else:
                x = block.conv0(x, ws[:, row], noise)
                row += 1
            x = block.conv1(x, ws[:, row], noise)
            row += 1
            colors = block.torgb(x, ws[:, row])
            if image is None:
                image = colors
            else:
                taps = (4.0 * block.resample_filter)[None, None].repeat(3, 1, 1, 1)
                image = F.conv_transpose2d(image, taps, stride=2, padding=1, groups=3) + colors
        return image


class Generator(nn.Module):
    """Mapping and synthesis."""

    def __init__(self, z_dim: int = 128, w_dim: int = 128, layers: int = 5, resolution: int = RESOLUTION,
                 channel_base: int = 2048, channel_max: int = 128):
        super().__init__()
        self.z_dim, self.w_dim = z_dim, w_dim
        self.mapping = Mapping(z_dim, w_dim, layers)
        self.synthesis = Synthesis(w_dim, resolution, channel_base, channel_max)
        self.num_ws = self.synthesis.num_ws

    def forward(self, z: Tensor, psi: float = 1.0, noise: str = "const") -> Tensor:
        w = self.mapping(z)
        if psi != 1.0:
            w = self.mapping.w_avg + psi * (w - self.mapping.w_avg)
        return self.synthesis(self.broadcast(w), noise)

    def broadcast(self, w: Tensor) -> Tensor:
        return w[:, None].expand(-1, self.num_ws, -1)

    @staticmethod
    def from_tensors(tensors: Dict[str, np.ndarray]) -> "Generator":
        """The generator of a weight file; shapes tell its sizes."""
        layers = sum(name.startswith("mapping.fc") and name.endswith(".weight") for name in tensors)
        w_dim, z_dim = tensors["mapping.fc0.weight"].shape
        resolutions = [int(name.split(".")[1][1:]) for name in tensors if name.endswith(".torgb.weight")]
        resolution = max(resolutions)
        widths = {r: tensors[f"synthesis.b{r}.conv1.weight"].shape[0] for r in resolutions}
        generator = Generator(z_dim, w_dim, layers, resolution, widths[resolution] * resolution, max(widths.values()))
        generator.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in tensors.items()})
        return generator.eval().requires_grad_(False)


class EqualConv(nn.Module):
    """A 3 x 3 convolution with run-time weight gain."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3).contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain = 1.0 / math.sqrt(9 * inputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, (self.weight * self.gain).to(x.dtype), self.bias.to(x.dtype), padding=1)


class Discriminator(nn.Module):
    """Picture to one number, higher for rendered ones: 3 x 3 convolutions with average pooling between resolutions. The
    first one sees 2 x 2 pixels as 12 channels, which keeps the cost low and every detail visible."""

    WIDTHS = [(12, 64), (64, 64), (64, 128), (128, 128)]
    POOLS = [False, True, True, True]

    def __init__(self, group: int = 4):
        super().__init__()
        self.group = group
        self.convs = nn.ModuleList([EqualConv(i, o) for i, o in self.WIDTHS])
        self.last = EqualConv(self.WIDTHS[-1][1] + 1, 128)
        self.hidden = Dense(128 * 16, 128)
        self.score = Dense(128, 1)

    def layers(self, image: Tensor, dtype: torch.dtype = torch.float32) -> List[Tensor]:
        """The activations of all convolutions but the last."""
        x = F.pixel_unshuffle(image, 2).to(dtype).contiguous(memory_format=torch.channels_last)
        result = []
        for conv, pool in zip(self.convs, self.POOLS):
            x = activate(conv(x))
            if pool:
                x = F.avg_pool2d(x, 2) * 1.3
            result.append(x)
        return result

    def judge(self, layers: List[Tensor]) -> Tensor:
        """Scores from what `layers` returned."""
        x = activate(self.last(self.spread(layers[-1].float()))).flatten(1)
        return self.score(activate(self.hidden(x)))[:, 0]

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.judge(self.layers(image, dtype))

    def spread(self, x: Tensor) -> Tensor:
        """Appends the mean standard deviation over groups of the batch."""
        count, channels, height, width = x.shape
        group = min(self.group, count)
        y = x.reshape(group, count // group, channels, height, width)
        y = (y - y.mean(0)).square().mean(0).add(1e-8).sqrt().mean((1, 2, 3))
        y = y.repeat(group)[:, None, None, None].expand(-1, 1, height, width)
        return torch.cat([x, y], 1)


class Regressor(nn.Module):
    """3 x 3 convolutions, each followed by leaky ReLU and 2 x 2 average pooling; then dense layers."""

    def __init__(self, outputs: int, widths: Sequence[int] = (32, 64, 128, 192), hidden: Sequence[int] = (384,),
                 resolution: int = RESOLUTION):
        super().__init__()
        sizes = [3, *widths]
        self.convs = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in zip(sizes, sizes[1:])])
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, SLOPE)
            conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
            nn.init.zeros_(conv.bias)
        sizes = [widths[-1] * (resolution >> len(widths)) ** 2, *hidden, outputs]
        self.dense = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])

    def stages(self, image: Tensor, dtype: torch.dtype = torch.float32) -> List[Tensor]:
        """The activations after every convolution, and those before the last layer."""
        x = image.to(dtype).contiguous(memory_format=torch.channels_last)
        result = []
        for conv in self.convs:
            x = F.conv2d(x, conv.weight.to(dtype), conv.bias.to(dtype), padding=1)
            x = F.avg_pool2d(F.leaky_relu(x, SLOPE), 2)
            result.append(x)
        x = x.to(self.dense[0].weight.dtype).flatten(1)
        for layer in self.dense[:-1]:
            x = F.leaky_relu(layer(x), SLOPE)
        return [*result, x]

    def features(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The activations before the last layer."""
        return self.stages(image, dtype)[-1]

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.dense[-1](self.features(image, dtype))

    def tensors(self) -> Dict[str, np.ndarray]:
        """Tensors of the weight file, float32."""
        result = {}
        for kind, layers in (("conv", self.convs), ("dense", self.dense)):
            for i, layer in enumerate(layers):
                result[f"{kind}{i}.weight"] = layer.weight.detach().contiguous().numpy()
                result[f"{kind}{i}.bias"] = layer.bias.detach().numpy()
        return result

    @staticmethod
    def from_tensors(tensors: Dict[str, np.ndarray]) -> "Regressor":
        def count(kind: str) -> int:
            return sum(name.startswith(kind) and name.endswith(".weight") for name in tensors)

        widths = [tensors[f"conv{i}.weight"].shape[0] for i in range(count("conv"))]
        sizes = [tensors[f"dense{i}.weight"].shape[0] for i in range(count("dense"))]
        regressor = Regressor(sizes[-1], widths, sizes[:-1])
        for kind, layers in (("conv", regressor.convs), ("dense", regressor.dense)):
            for i, layer in enumerate(layers):
                layer.weight.data = torch.from_numpy(tensors[f"{kind}{i}.weight"].copy())
                layer.bias.data = torch.from_numpy(tensors[f"{kind}{i}.bias"].copy())
        return regressor.eval().requires_grad_(False)


def to_bytes(images: Tensor) -> np.ndarray:
    """N x H x W x 3 bytes, as NVIDIA's code converts them."""
    return (images * 127.5 + 128.0).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def from_bytes(images: np.ndarray) -> Tensor:
    """N x 3 x H x W in [-1, 1] from bytes."""
    x = torch.tensor(images).permute(0, 3, 1, 2).float()
    return x / 127.5 - 1.0
