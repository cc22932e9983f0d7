"""Leading singular vectors of Jacobians: 001 Paper V, Algorithm 1, in PyTorch.

V starts random, with as many columns as are wanted; then U = J V by torch.func.jvp, Z = J' U by torch.func.vjp, and the reduced SVD of Z gives the
next V and the squares of the singular values. It stops when every singular value is within CLOSE_ENOUGH of the reference's, which it is told
for nothing; moden has to stop by its own residuals.

A block goes through `vmap`, through `vmap` a few at a time, or one vector after the other, generators with channels first or last: whichever
is fastest with one block, for J and for J' by itself, which is not timed. The pass that vjp starts with is made once in a run.
"""
from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import stylegan2_model
from cases import Case
from stylegan2_model import Weights
from stylegan2_peer import FORMATS, make_weights as make_random_weights
from stylegan2_torch import Synthesis

Block = Callable[[Tensor], Tensor]  # J or J' times the rows
CLOSE_ENOUGH = 1e-3  # of a singular value, relative
MOST_STEPS = 5000
AT_ONCE = {"vmap": None, "vmap, 4 at once": 4, "one by one": 1}
FACES = Path(__file__).resolve().parents[2] / "data" / "faces64.safetensors"
FACES_SEED = 7  # of z
REFERENCE_BLOCK = 10
REFERENCE_RESIDUAL = 1e-4  # of an eigenvalue of J'J; its singular value is then within half of that


def make_inputs(rng: np.random.Generator, case: Case) -> dict[str, np.ndarray]:
    """The point; of a perceptron also its weights, normal with variance 1 / in, and biases of 0.1."""
    if case.operation == "mlp":
        inputs = {"point": rng.standard_normal(case.shape[0], dtype=np.float32)}
        for layer, (rows, columns) in enumerate(zip(case.shape[1:], case.shape)):
            inputs[f"weights_{layer}"] = rng.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns**0.5)
            inputs[f"bias_{layer}"] = np.float32(0.1) * rng.standard_normal(rows, dtype=np.float32)
        return inputs
    if case.operation == "random":
        w = rng.standard_normal(stylegan2_model.W_DIM, dtype=np.float32)
    else:
        weights = stylegan2_model.load_safetensors(FACES)
        z = np.random.RandomState(FACES_SEED).randn(weights["mapping.fc0.weight"].shape[1])
        w = stylegan2_model.map_latent(weights, z).astype(np.float32)
    return {"point": np.tile(w, stylegan2_model.rows_of(case.resolution)) if case.space == "wplus" else w}


def make_weights(seed: int, case: Case, inputs: dict[str, np.ndarray]) -> Weights:
    """Of a generator; a perceptron's are among its inputs."""
    if case.operation == "mlp":
        return {}
    if case.operation == "faces":
        return stylegan2_model.load_safetensors(FACES)
    w_dim, rows = stylegan2_model.W_DIM, stylegan2_model.rows_of(case.resolution)
    ws = np.broadcast_to(inputs["point"].reshape(1, -1, w_dim), (1, rows, w_dim))
    return make_random_weights(seed, case, ws.copy())


def load_weights(folder: Path) -> Weights:
    path = folder / "weights.safetensors"
    return stylegan2_model.load_safetensors(path) if path.exists() else {}


def dense_layers(case: Case, inputs: dict[str, np.ndarray], dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of a perceptron."""
    return [tuple(torch.from_numpy(inputs[f"{name}_{layer}"]).to(dtype) for name in ("weights", "bias")) for layer in range(len(case.shape) - 1)]


def perceptron(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    for weight, bias in layers[:-1]:
        x = torch.tanh(F.linear(x, weight, bias))
    return F.linear(x, *layers[-1])


def spread(case: Case, x: Tensor, w_dim: int) -> Tensor:
    """Inputs (... x n) as rows of w+ (... x rows x w_dim)."""
    return x.unflatten(-1, (-1, w_dim)).expand(*x.shape[:-1], stylegan2_model.rows_of(case.resolution), w_dim)


def width_of(weights: Weights) -> int:
    return weights["synthesis.b4.conv1.affine.weight"].shape[1]


def functions(case: Case, inputs: dict[str, np.ndarray], weights: Weights) -> dict[str, Block]:
    """What is differentiated, in single precision, from a vector to a vector."""
    if case.operation == "mlp":
        layers = dense_layers(case, inputs, torch.float32)
        return {"": lambda x: perceptron(layers, x)}
    models = {suffix: Synthesis(weights, case.resolution, case.channel_base, torch.float32, form) for suffix, form in FORMATS.items()}
    return {suffix: lambda x, m=model: m.static(spread(case, x, width_of(weights))[None]).flatten() for suffix, model in models.items()}


def reference(case: Case, inputs: dict[str, np.ndarray], weights: Weights) -> np.ndarray:
    """Singular values in double precision: of a perceptron from the dense Jacobian; of a generator by a Krylov basis of J'J that is kept whole, with
    tangents by formulas written out."""
    x = torch.from_numpy(inputs["point"]).double()
    if case.operation == "mlp":
        *hidden, (last, _) = dense_layers(case, inputs, torch.float64)
        jacobian = torch.eye(len(x), dtype=torch.float64)
        for weight, bias in hidden:
            x = torch.tanh(F.linear(x, weight, bias))
            jacobian = (1 - x.square())[:, None] * (weight @ jacobian)
        jacobian = last @ jacobian
        return np.linalg.eigvalsh((jacobian.T @ jacobian).numpy())[: -case.rank - 1 : -1] ** 0.5
    model, w_dim = Synthesis(weights, case.resolution, case.channel_base, torch.float64), width_of(weights)
    pull = torch.func.vjp(lambda point: model.static(spread(case, point, w_dim)[None]).flatten(), x)[1]

    def gram(block: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            changes = model.static_tangents(spread(case, x, w_dim)[None], spread(case, torch.from_numpy(block.T), w_dim)).flatten(1)
            return torch.stack([pull(change)[0] for change in changes]).numpy().T

    return leading_eigenvalues(gram, len(x), case.rank) ** 0.5


def leading_eigenvalues(gram: Callable[[np.ndarray], np.ndarray], size: int, count: int) -> np.ndarray:
    """Of a symmetric positive operator on columns: Rayleigh and Ritz in a block Krylov space, orthogonalised in full and never restarted."""
    rng = np.random.default_rng(1)
    block = np.linalg.qr(rng.standard_normal((size, REFERENCE_BLOCK)))[0]
    basis = images = np.empty((size, 0))
    while True:
        image = gram(block)
        basis, images = np.hstack([basis, block]), np.hstack([images, image])
        small = basis.T @ images
        values, vectors = np.linalg.eigh((small + small.T) / 2)
        values, vectors = values[: -count - 1 : -1], vectors[:, : -count - 1 : -1]
        residuals = np.linalg.norm(images @ vectors - basis @ vectors * values, axis=0)
        if basis.shape[1] == size or np.all(residuals <= REFERENCE_RESIDUAL * values):
            return values
        block = image[:, : size - basis.shape[1]]
        for _ in range(2):
            block = np.linalg.qr(block - basis @ (basis.T @ block))[0]


def blockwise(product: Block, at_once: int | None) -> Block:
    def apply(block: Tensor) -> Tensor:
        with torch.no_grad():
            if at_once == 1:
                return torch.stack([product(row) for row in block])
            return torch.func.vmap(product, chunk_size=at_once)(block)

    return apply


def pushes(function: Block, x: Tensor, at_once: int | None) -> Block:
    """J times rows."""
    return blockwise(lambda tangent: torch.func.jvp(function, (x,), (tangent,))[1], at_once)


def pulls(function: Block, x: Tensor, at_once: int | None) -> Block:
    """J' times rows; the way there is made here."""
    pull = torch.func.vjp(function, x)[1]
    return blockwise(lambda cotangent: pull(cotangent)[0], at_once)


def fastest(known: dict[str, Block], x: Tensor, make: Callable[[Block, Tensor, int | None], Block], block: Tensor) -> tuple[str, Callable[[], Block]]:
    """Of all ways to multiply a block: its name, and what makes it anew. Each is timed on its second call, on its first where that is slow."""
    seconds: dict[tuple[str, str], float] = {}
    for suffix, function in known.items():
        for way, at_once in AT_ONCE.items():
            product = make(function, x, at_once)
            for _ in range(2):
                start = time.perf_counter()
                product(block)
                seconds[way, suffix] = time.perf_counter() - start
                if seconds[way, suffix] > 1:
                    break
    way, suffix = min(seconds, key=seconds.get)
    return way + suffix, lambda: make(known[suffix], x, AT_ONCE[way])


def variants(case: Case, inputs: dict[str, np.ndarray], weights: Weights, exact: np.ndarray) -> dict[str, Callable[[], Any]]:
    x, wanted = torch.from_numpy(inputs["point"]), torch.from_numpy(exact)
    known = functions(case, inputs, weights)
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(len(x), case.rank, generator=generator)
    forward, make_push = fastest(known, x, pushes, start.T)
    backward, make_pull = fastest(known, x, pulls, make_push()(start.T))

    def algorithm_1() -> tuple:
        push, pull = make_push(), make_pull()
        v = torch.linalg.qr(start)[0]
        for step in range(1, MOST_STEPS + 1):
            u = push(v.T)
            v, squares, _ = torch.linalg.svd(pull(u).T, full_matrices=False)
            values = squares.sqrt()
            if (values / wanted - 1).abs().max() <= CLOSE_ENOUGH:
                break
        return torch.linalg.qr(u.T)[0], values, v.T, step * case.rank, step * case.rank

    return {f"J: {forward}; J': {backward}": algorithm_1}


def relative_error(values: np.ndarray, exact: np.ndarray) -> float:
    """The largest of a singular value."""
    return float(np.max(np.abs(values / exact - 1)))
