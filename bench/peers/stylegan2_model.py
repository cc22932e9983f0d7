"""StyleGAN2 generators, mostly with random weights: their layers and the files that both sides read. NumPy only."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np

W_DIM = 512
MAPPING_LAYERS = 8
CHANNEL_MAX = 512
NOISE_STRENGTH = 0.1
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A layer of the synthesis network, named as its tensors are."""

    name: str
    resolution: int  # of its result
    inputs: int
    outputs: int
    row: int  # of w+

    @property
    def to_rgb(self) -> bool:
        return self.name.endswith("torgb")

    @property
    def upsamples(self) -> bool:
        return self.name.endswith("conv0")


def rows_of(resolution: int) -> int:
    """Rows of w+."""
    return 2 * resolution.bit_length() - 4


def layers(resolution: int, channel_base: int, channel_max: int = CHANNEL_MAX) -> Iterator[Layer]:
    """In the order in which they run."""

    def channels(r: int) -> int:
        return min(channel_base // r, channel_max)

    row, r = 0, 4
    while r <= resolution:
        block = f"synthesis.b{r}"
        if r > 4:
            yield Layer(f"{block}.conv0", r, channels(r // 2), channels(r), row)
            row += 1
        yield Layer(f"{block}.conv1", r, channels(r), channels(r), row)
        row += 1
        yield Layer(f"{block}.torgb", r, channels(r), 3, row)  # the next block's conv0 has the same row
        r *= 2


def random_weights(rng: np.random.Generator, resolution: int, channel_base: int) -> Weights:
    """Weights with which activations stay of order one, in single precision."""

    def normal(*extents: int) -> np.ndarray:
        return rng.standard_normal(extents, dtype=np.float32)

    weights = {"mapping.w_avg": np.float32(0.1) * normal(W_DIM)}
    for index in range(MAPPING_LAYERS):
        weights[f"mapping.fc{index}.weight"] = 100 * normal(W_DIM, W_DIM)  # the learning rate's multiplier is 0.01
        weights[f"mapping.fc{index}.bias"] = np.zeros(W_DIM, np.float32)
    for layer in layers(resolution, channel_base):
        if layer.name == "synthesis.b4.conv1":
            weights["synthesis.b4.const"] = normal(layer.inputs, 4, 4)
        taps = 1 if layer.to_rgb else 3
        weights |= {
            f"{layer.name}.weight": normal(layer.outputs, layer.inputs, taps, taps),
            f"{layer.name}.bias": np.float32(0.1) * normal(layer.outputs),
            f"{layer.name}.affine.weight": normal(layer.inputs, W_DIM),
            f"{layer.name}.affine.bias": np.ones(layer.inputs, np.float32),
        }
        if not layer.to_rgb:
            weights[f"{layer.name}.noise_strength"] = np.array(NOISE_STRENGTH, np.float32)
            weights[f"{layer.name}.noise_const"] = normal(layer.resolution, layer.resolution)
    return weights


def save_safetensors(path: Path, weights: Weights) -> None:
    """Single precision only."""
    header, offset = {}, 0
    for name, array in weights.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in weights.values():
            file.write(np.ascontiguousarray(array, "<f4").tobytes())


def load_safetensors(path: Path) -> Weights:
    """Tensors of half and single precision, in single precision."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    weights = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            first, last = (begin + offset for offset in entry["data_offsets"])
            stored = np.frombuffer(data[first:last], {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
            weights[name] = stored.reshape(entry["shape"]).astype(np.float32)
    return weights


def map_latent(weights: Weights, z: np.ndarray) -> np.ndarray:
    """w of one z, without truncation, in double precision."""
    x = z / np.sqrt(np.mean(z**2) + 1e-8)
    for index in range(sum(name.startswith("mapping.fc") for name in weights) // 2):
        weight, bias = (weights[f"mapping.fc{index}.{name}"].astype(np.float64) for name in ("weight", "bias"))
        x = 0.01 * (weight @ x / np.sqrt(len(x)) + bias)
        x = np.sqrt(2) * np.where(x > 0, x, 0.2 * x)
    return x
