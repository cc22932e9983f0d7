"""The names of the benchmark cases, and which peers do the same work. Standard library only.

    mode_product/SHAPE/modeN[/JxI]/DTYPE     J x I matrix on mode N; without JxI the matrix is square
    unfold/SHAPE/modeN/DTYPE
    hosvd | st_hosvd | hooi | reconstruct/SHAPE/R0,R1,.../DTYPE
    cp_als/SHAPE/rR/DTYPE
    mttkrp/SHAPE/rR/modeN/DTYPE
    khatri_rao/SHAPE/rR/DTYPE                one SHAPE[n] x R factor per extent
    randomized_svd/MxN/K/DTYPE
    stylegan2/OPERATION/RESOLUTION/CHANNEL_BASE/DTYPE
                                             forward, or jvpK or vjpK: K tangents or cotangents in one call
    tensor_model/fit/SHAPE/DTYPE             centring and HOSVD of codes, nothing truncated
    tensor_model/estimate/SHAPE/nN/DTYPE     parameter vectors of N codes in the model of a SHAPE tensor
    least_squares/SHAPE/tT/DTYPE             SHAPE samples to T targets
    multilinear_loss/SHAPE/nN[/factors]/DTYPE
                                             loss of N samples with all gradients, or without that of the SHAPE core
    localized_dictionary/SHAPE/pP[/toN]/DTYPE
                                             P components of a SHAPE Jacobian: until it converges, or until the objective is that of N
                                             iterations of Adam
    spherical_k_means/SHAPE/kK/DTYPE         K clusters of SHAPE vectors, a fixed number of iterations
    ward_linkage/SHAPE/DTYPE                 of SHAPE vectors
    nrsfm/SHAPE/kK/DTYPE                     rank-one structure from motion with K basis shapes of SHAPE frames x points
    shape_fit/SHAPE/kK/DTYPE                 parameters of SHAPE sets x points of landmarks in a model of K basis shapes
    jacobian_svd/MAP/kK/DTYPE                K leading singular triplets of a Jacobian. MAP: mlp_512_2048x3_12288, a perceptron of these
                                             widths; faces64/SPACE, the bundled generator; random256/SPACE, one with random weights
                                             and 16384 / resolution channels; SPACE: w or wplus
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

# Sweeps of the iterative methods: fixed, so that both sides do the same amount of work.
HOOI_ITERATIONS = 5
CP_ITERATIONS = 10
# The randomised SVD of every side: oversampling and power iterations.
SVD_OVERSAMPLING = 10
SVD_POWER_ITERATIONS = 2
# Of Adam, whose objective a dictionary is compared with in the end.
DICTIONARY_ITERATIONS = 20000

_LIBRARIES = ("tensorly-numpy", "tensorly-torch")
PEERS: dict[str, tuple[str, ...]] = {
    "mode_product": ("numpy", *_LIBRARIES, "torch"),
    "unfold": ("numpy", *_LIBRARIES, "torch"),
    "hosvd": (*_LIBRARIES, "tntorch", "numpy-handwritten"),
    "st_hosvd": (*_LIBRARIES, "tntorch", "numpy-handwritten"),
    "hooi": _LIBRARIES,
    "cp_als": _LIBRARIES,
    "mttkrp": ("numpy", *_LIBRARIES, "torch"),
    "khatri_rao": ("numpy", *_LIBRARIES, "torch"),
    "reconstruct": ("numpy", *_LIBRARIES, "torch"),
    "randomized_svd": (*_LIBRARIES, "torch", "numpy-handwritten"),
    "stylegan2": ("torch",),
    "tensor_model": ("tntorch", "torch", "numpy-handwritten"),
    "least_squares": ("numpy", "scipy", "scikit-learn", "scikit-learn-ridge", "torch", "numpy-handwritten"),
    "multilinear_loss": ("torch", "numpy-handwritten"),
    "localized_dictionary": ("torch",),
    "spherical_k_means": ("scikit-learn", "numpy-handwritten"),
    "ward_linkage": ("scipy",),
    "nrsfm": ("torch", "torch-handwritten"),
    "shape_fit": ("scipy", "torch"),
    "jacobian_svd": ("torch",),
}
ALL_PEERS = (
    *("numpy", "scipy", "scikit-learn", "scikit-learn-ridge", "tensorly-numpy", "tensorly-torch", "tntorch", "torch"),
    "numpy-handwritten",
    "torch-handwritten",
)
# What these peers do is in a file per subject.
METHODS = ("least_squares", "multilinear_loss", "localized_dictionary", "spherical_k_means", "ward_linkage")
MOTION = ("nrsfm", "shape_fit")
SPECTRAL = ("jacobian_svd",)
# What some methods count: vectors that went through a map, and back.
COUNTS = ("tangents", "cotangents")


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str  # "float32" or "float64"
    mode: int = 0
    matrix_rows: int = 0  # J of a mode product
    ranks: tuple[int, ...] = ()  # Tucker ranks
    rank: int = 0  # CP rank, columns of an SVD, components, clusters, basis shapes, or triplets
    # StyleGAN2:
    operation: str = ""  # "forward", "jvp" or "vjp"
    count: int = 1  # of tangents or cotangents
    resolution: int = 0
    channel_base: int = 0
    # tensor_model: operation "fit" or "estimate", count of codes
    # least_squares: count of targets; multilinear_loss: count of samples, operation "factors" or ""
    # localized_dictionary: count of Adam's iterations, operation "to" where only their objective is to be reached
    # jacobian_svd: operation "mlp" (shape: its widths), "faces" or "random"
    space: str = ""  # of a generator's inputs: "w" or "wplus"

    @property
    def slabs(self) -> tuple[int, int, int]:
        """(L, I, R): the row-major tensor seen as L slabs of I rows of R entries around the case's mode."""
        return slabs(self.shape, self.mode)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape[: self.mode] + (self.matrix_rows,) + self.shape[self.mode + 1 :]

    @property
    def reference_rows(self) -> list[int]:
        """Which of the results of a StyleGAN2 case have a reference: the first and the last."""
        return sorted({0, self.count - 1})

    @property
    def peers(self) -> tuple[str, ...]:
        if self.operation == "fit":
            return ("tntorch", "numpy-handwritten")
        return ("torch",) if self.operation == "estimate" else PEERS[self.kind]


def slabs(shape: tuple[int, ...], mode: int) -> tuple[int, int, int]:
    return prod(shape[:mode]), shape[mode], prod(shape[mode + 1 :])


def parse(name: str) -> Case:
    """The case that a name stands for; ValueError when the name follows none of the patterns above."""
    kind, *parts = name.split("/")
    if kind not in PEERS or len(parts) < 2:
        raise ValueError(f"no peers know the case '{name}'")
    if kind == "stylegan2":
        return _parse_stylegan2(name)
    if kind == "tensor_model":
        return _parse_tensor_model(name)
    if kind in METHODS + MOTION:
        return _parse_method(name)
    if kind in SPECTRAL:
        return _parse_spectral(name)
    try:
        shape = tuple(int(extent) for extent in parts[0].split("x"))
        fields: dict = {"dtype": {"f32": "float32", "f64": "float64"}[parts[-1]]}
        for part in parts[1:-1]:
            if match := re.fullmatch(r"mode(\d+)", part):
                fields["mode"] = int(match[1])
            elif match := re.fullmatch(r"(\d+)x(\d+)", part):
                fields["matrix_rows"] = int(match[1])
            elif match := re.fullmatch(r"r(\d+)", part):
                fields["rank"] = int(match[1])
            elif kind == "randomized_svd":
                fields["rank"] = int(part)
            else:
                fields["ranks"] = tuple(int(rank) for rank in part.split(","))
        if kind == "mode_product":
            fields.setdefault("matrix_rows", shape[fields["mode"]])
    except (KeyError, IndexError, ValueError):
        raise ValueError(f"cannot read the case name '{name}'") from None
    return Case(name, kind, shape, **fields)


def _parse_stylegan2(name: str) -> Case:
    match = re.fullmatch(r"stylegan2/(?:(forward)|(jvp|vjp)([1-9]\d*))/(\d+)/(\d+)/f32", name)
    if not match:
        raise ValueError(f"cannot read the case name '{name}'")
    forward, derivative, count, resolution, channel_base = match.groups()
    fields = {"operation": forward or derivative, "count": int(count or 1)}
    fields |= {"resolution": int(resolution), "channel_base": int(channel_base)}
    return Case(name, "stylegan2", (fields["count"], 3, int(resolution), int(resolution)), "float32", **fields)


def _parse_tensor_model(name: str) -> Case:
    match = re.fullmatch(r"tensor_model/(?:(fit)|(estimate))/(\d+(?:x\d+)+)(?:/n([1-9]\d*))?/(f32|f64)", name)
    if not match or bool(match[2]) != bool(match[4]):
        raise ValueError(f"cannot read the case name '{name}'")
    fit, estimate, shape, count, dtype = match.groups()
    extents = tuple(int(extent) for extent in shape.split("x"))
    ranks = (min(extents[0], prod(extents[1:])), *extents[1:])
    wide = {"f32": "float32", "f64": "float64"}[dtype]
    return Case(name, "tensor_model", extents, wide, ranks=ranks, operation=fit or estimate, count=int(count or 1))


def _parse_method(name: str) -> Case:
    match = re.fullmatch(r"(\w+)/(\d+(?:x\d+)+)(?:/([tnpk])([1-9]\d*))?(?:/(factors)|/(to)([1-9]\d*))?/(f32|f64)", name)
    letters = {"least_squares": "t", "multilinear_loss": "n", "localized_dictionary": "p", "spherical_k_means": "k", "ward_linkage": None}
    letters |= dict.fromkeys(MOTION, "k")
    if not match or match[3] != letters[match[1]]:
        raise ValueError(f"cannot read the case name '{name}'")
    kind, shape, letter, number, factors, to, iterations, dtype = match.groups()
    if (factors and kind != "multilinear_loss") or (to and kind != "localized_dictionary"):
        raise ValueError(f"cannot read the case name '{name}'")
    fields: dict = {"operation": factors or to or "", "rank": int(number) if letter in ("p", "k") else 0}
    fields["count"] = int(iterations or DICTIONARY_ITERATIONS) if letter == "p" else int(number or 1)
    return Case(name, kind, tuple(int(extent) for extent in shape.split("x")), {"f32": "float32", "f64": "float64"}[dtype], **fields)


def _parse_spectral(name: str) -> Case:
    match = re.fullmatch(r"jacobian_svd/(?:mlp((?:_\d+(?:x\d+)?)+)|(faces64|random(\d+))/(w|wplus))/k([1-9]\d*)/f32", name)
    if not match:
        raise ValueError(f"cannot read the case name '{name}'")
    layers, generator, resolution, space, rank = match.groups()
    if layers:
        widths: list[int] = []
        for width, _, times in (part.partition("x") for part in layers[1:].split("_")):
            widths += [int(width)] * int(times or 1)
        return Case(name, "jacobian_svd", tuple(widths), "float32", rank=int(rank), operation="mlp")
    fields: dict = {"operation": "faces", "resolution": 64, "channel_base": 2048}
    if generator != "faces64":
        fields = {"operation": "random", "resolution": int(resolution), "channel_base": 16384}
    return Case(name, "jacobian_svd", (), "float32", rank=int(rank), space=space, **fields)
