"""Renders of the face world: packing them, loading them, the quantities that the regressor predicts."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Dict, List, NamedTuple, Tuple

import numpy as np

from .files import FileError

SHARD = 5000  # faces rendered at a time; face_world holds a set in memory
COARSE = 16   # edge of the low-resolution maps
COPIED = ["images", "identity", "expression", "gaze", "light", "light_color", "pose", "landmarks_2d"]
EXPRESSIONS = ["happiness", "disgust", "fear", "anger", "surprise", "sadness"]
BACKGROUND, EYES, LIPS, MOUTH, BROWS, NOSE, SKIN = 0, 3, 5, 6, 2, 4, 1
BLINK = 16  # among the actions
# Weights of the regions in the losses of the generator: eyes and mouth are small but matter.
DETAIL = {BACKGROUND: 0.7, SKIN: 2.0, NOSE: 3.0, BROWS: 6.0, EYES: 10.0, LIPS: 12.0, MOUTH: 12.0}


def render(program: str, folder: str, count: int, seed: int) -> None:
    """Renders `count` faces with seeds seed, seed + 1, ... and packs what training needs into `folder`."""
    raw = os.path.join(folder, "raw")
    shards: List[Dict[str, np.ndarray]] = []
    for i in range(-(-count // SHARD)):
        target = os.path.join(raw, str(seed + i))
        if not os.path.exists(os.path.join(target, "levels.json")):
            command = [program, "--set", "random", "--count", str(min(SHARD, count - i * SHARD)), "--truth", "all",
                       "--seed", str(seed + i), "--size", "64", "--out", target]
            try:
                subprocess.run(command, check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise FileError(f"cannot render: {error}") from None
        shards.append(pack(target))
    for name in shards[0]:
        save(os.path.join(folder, name + ".npy"), np.concatenate([shard[name] for shard in shards]))
    with open(os.path.join(raw, str(seed), "levels.json")) as file:
        names = json.load(file)["identity"]
    with open(os.path.join(folder, "names.json"), "w") as file:
        json.dump(names, file)
    shutil.rmtree(raw)


def save(path: str, array: np.ndarray) -> None:
    temporary = path + ".part.npy"
    np.save(temporary, array)
    os.replace(temporary, path)


def pack(folder: str) -> Dict[str, np.ndarray]:
    """One folder of face_world, with its maps averaged over 4 x 4 pixels."""
    def read(name: str) -> np.ndarray:
        return np.load(os.path.join(folder, name + ".npy"))

    packed = {name: read(name) for name in COPIED}
    packed["blink"] = read("actions")[:, BLINK]
    labels = read("labels")
    packed["labels"] = labels
    projection = read("camera")
    scale = np.linalg.norm(projection[:, 0, :3], axis=1)
    packed["camera"] = np.stack([64 / scale, (32 - projection[:, 0, 3]) / scale, (projection[:, 1, 3] - 32) / scale],
                                1).astype(np.float32)
    head = (labels != BACKGROUND).astype(np.float32)
    coverage = blocks(head)
    packed["coverage"] = coverage.astype(np.float16)
    packed["depth"] = (blocks(read("depth") * head) / np.maximum(coverage, 1e-3)).astype(np.float16)
    packed["albedo"] = blocks(read("albedo")).astype(np.float16)
    packed["background"] = background_polynomials(packed["images"], labels)
    return packed


def blocks(maps: np.ndarray) -> np.ndarray:
    """Averages N x 64 x 64 (x C) over blocks, to N x 16 x 16 (x C)."""
    count, size = maps.shape[:2]
    step = size // COARSE
    return maps.reshape(count, COARSE, step, COARSE, step, *maps.shape[3:]).mean((2, 4))


def background_polynomials(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Quadratic polynomials fitted to the display values of the background, N x 18. face_world does not write down the
    background; these numbers stand in for it."""
    at = (np.arange(64) - 31.5) / 32
    y, x = np.meshgrid(at, at, indexing="ij")
    basis = np.stack([np.ones_like(x), x, y, x * x - 1 / 3, x * y, y * y - 1 / 3], -1).reshape(-1, 6)
    basis = basis.astype(np.float32)
    result = np.empty((len(images), 6, 3), np.float32)
    ridge = np.diag([0.1, 3, 3, 10, 10, 10]).astype(np.float32)
    for i in range(0, len(images), 500):
        behind = np.pad(labels[i:i + 500] == BACKGROUND, ((0, 0), (1, 1), (1, 1)), mode="edge")
        for axis in (1, 2):  # without the pixels next to the head, which have some of its colour
            behind = behind & np.roll(behind, 1, axis) & np.roll(behind, -1, axis)
        mask = behind[:, 1:-1, 1:-1].reshape(-1, 4096).astype(np.float32)
        colors = images[i:i + 500].reshape(-1, 4096, 3).astype(np.float32) / 255
        gram = np.einsum("np,pa,pb->nab", mask, basis, basis, optimize=True)
        right = np.einsum("pa,npc->nac", basis, mask[:, :, None] * colors, optimize=True)
        result[i:i + 500] = np.linalg.solve(gram + ridge, right)
    return result.reshape(len(images), 18)


class Renders:
    """A packed folder; the pictures stay bytes."""

    def __init__(self, folder: str, count: int = 0):
        try:
            with open(os.path.join(folder, "names.json")) as file:
                self.identity_names: List[str] = json.load(file)
            self.arrays: Dict[str, np.ndarray] = {}
            for entry in sorted(os.listdir(folder)):
                if entry.endswith(".npy") and not entry.endswith(".part.npy"):
                    array = np.load(os.path.join(folder, entry))
                    self.arrays[entry[:-4]] = array[:count] if count else array
        except (OSError, ValueError) as error:
            raise FileError(f"{folder} holds no packed renders (train_faces.py render): {error}") from None
        if "images" not in self.arrays or "background" not in self.arrays:
            raise FileError(f"{folder} holds no packed renders (train_faces.py render)")

    def __len__(self) -> int:
        return len(self.arrays["images"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def identity(self, name: str) -> np.ndarray:
        return self["identity"][:, self.identity_names.index(name)]


class Output(NamedTuple):
    """One entry of the regressor's output vector."""

    name: str
    shape: Tuple[int, ...]
    unit: str
    weight: float  # in the training loss

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


def outputs_of(identity_names: List[str]) -> List[Output]:
    """The layout of the regressor's output vector."""
    result = [Output("yaw", (1,), "radian", 3), Output("pitch", (1,), "radian", 2), Output("roll", (1,), "radian", 2)]
    result += [Output(name, (1,), "intensity, 0 to 1", 3) for name in EXPRESSIONS]
    result += [Output("blink", (1,), "weight of the action", 0.5), Output("gaze_right", (1,), "radian", 0.5),
               Output("gaze_up", (1,), "radian", 0.5),
               Output("light", (9,), "spherical-harmonic coefficients", 9),
               Output("light_color", (3,), "linear RGB, green is 1", 1),
               Output("view", (1,), "centimetres over the picture's height", 0.5),
               Output("center_x", (1,), "centimetres", 0.5), Output("center_y", (1,), "centimetres", 0.5)]
    colors = [name[:-4] for name in identity_names if name.endswith("_red")]
    plain = [name for name in identity_names
             if name != "hair_style" and name.rsplit("_", 1)[0] not in colors]
    shape = plain.index("melanin")
    for i, name in enumerate(plain):
        unit = "standard deviations" if i < shape else "see appearance.hpp"
        result.append(Output(name, (1,), unit, 2 if name == "melanin" else 0.5))
    result += [Output(name + "_color", (3,), "linear RGB", 1) for name in colors]
    result += [Output("hair_style", (10,), "about 1 for the style, 0 for the others", 2),
               Output("landmarks_2d", (68, 2), "pixels, x right, y down", 15),
               Output("albedo", (COARSE, COARSE, 3),
                      "linear RGB, mean over 4 x 4 pixels, of which the background counts as 0", 8),
               Output("depth", (COARSE, COARSE),
                      "centimetres, larger is nearer; mean over the head's pixels of a block of 4 x 4, "
                      "meaningless where coverage is 0", 5),
               Output("coverage", (COARSE, COARSE), "share of a block's pixels that are not background", 4)]
    return result


def targets_of(renders: Renders, output: Output) -> np.ndarray:
    """True values of one output, N x size."""
    name, count = output.name, len(renders)
    if name in ("yaw", "pitch", "roll"):
        values = renders["pose"][:, ["yaw", "pitch", "roll"].index(name)]
    elif name in EXPRESSIONS:
        values = renders["expression"][:, EXPRESSIONS.index(name)]
    elif name in ("gaze_right", "gaze_up"):
        values = renders["gaze"][:, ["gaze_right", "gaze_up"].index(name)]
    elif name in ("view", "center_x", "center_y"):
        values = renders["camera"][:, ["view", "center_x", "center_y"].index(name)]
    elif name == "hair_style":
        values = np.eye(10, dtype=np.float32)[renders.identity("hair_style").astype(int)]
    elif name.endswith("_color") and name != "light_color" and name != "lip_color":
        values = np.stack([renders.identity(name[:-5] + channel) for channel in ("red", "green", "blue")], 1)
    elif name in renders.identity_names:
        values = renders.identity(name)
    else:
        values = renders[name]
    return values.reshape(count, output.size).astype(np.float32)
