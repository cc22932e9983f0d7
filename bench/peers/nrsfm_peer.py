"""Rank-one structure from motion as 001 Paper III describes it, in PyTorch: SVD of the tracks, SVD of what is left, then Adam on directions
and coefficients (Eq. 10). Cameras are affine, nothing is shrunk: then every side minimises

    |W - M B_0 - sum_k (M_n alpha_nk d_k) b_k'|^2

over alpha and d for the same M, B_0 and b_k. Adam may stop when it is within CLOSE_ENOUGH of what a fine grid of directions with alternating least
squares from its best points reaches in double precision. Two peers:

    torch              autograd of that formula; TIMED_ITERATIONS are timed and STEPS worked out from them, those that the other one needs. Its own run
                       parts from the other's after some 100 iterations and takes more. The SVDs before are not counted.
    torch-handwritten  somebody who has thought: the rows b_k are orthonormal, so that products with them, made once, are all that an iteration needs;
                       Gram matrices instead of SVDs; gradients by hand. It runs to its end.

    python nrsfm_peer.py INPUTS    the steps of both variants of the latter
"""
from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterator

import numpy as np

NOISE = 0.01
CLOSE_ENOUGH = 1.001
RATE = 0.1  # in units of the coefficients; 0.03 takes one and a half to two times as many steps
MOST_STEPS = 5000
CHECK_EVERY = 5
STEPS = {68: 250, 468: 140}  # until Adam is close enough, of the cases with so many points
TIMED_ITERATIONS = 5  # in a call
GRID = 4000


def make_inputs(rng: np.random.Generator, shape: tuple[int, ...], count: int, dtype: str) -> dict[str, np.ndarray]:
    """Frames x points: a random shape with `count` rank-one deformations, weak perspective cameras that look from within 35 degrees, noise of 1 %."""
    return {"tracks": make_landmarks(rng, make_model(rng, shape[1], count), shape[0], dtype)}


def make_model(rng: np.random.Generator, points: int, count: int) -> dict[str, np.ndarray]:
    shape = rng.standard_normal((3, points)) * np.array([[1.0], [1.3], [0.6]])
    basis = rng.standard_normal((count, points))
    directions = rng.standard_normal((count, 3))
    shape -= shape.mean(1, keepdims=True)
    basis = np.linalg.qr((basis - basis.mean(1, keepdims=True)).T)[0].T
    return {"shape": shape, "basis": np.ascontiguousarray(basis), "directions": directions / np.linalg.norm(directions, axis=1, keepdims=True)}


def make_landmarks(rng: np.random.Generator, model: dict[str, np.ndarray], frames: int, dtype: str) -> np.ndarray:
    count, points = model["basis"].shape
    angles = rng.uniform(-0.6, 0.6, (frames, 3)) * np.array([1.0, 1.0, 0.3])
    scales = rng.uniform(0.8, 1.2, (frames, 1, 1))
    alpha = 0.15 * np.sqrt(points) * rng.standard_normal((frames, count)) / (1 + 0.2 * np.arange(count))
    cameras = scales * rotations(angles)[:, :2]
    design = np.concatenate([cameras, np.einsum("nai,ki->nak", cameras, model["directions"]) * alpha[:, None, :]], 2)
    tracks = (design.reshape(2 * frames, -1).astype(dtype) @ np.vstack([model["shape"], model["basis"]]).astype(dtype)).reshape(frames, 2, points)
    tracks += rng.standard_normal((frames, 2, 1)).astype(dtype)
    return tracks + np.asarray(NOISE, dtype) * rng.standard_normal(tracks.shape, dtype=dtype)


def rotations(angles: np.ndarray) -> np.ndarray:
    """R_z R_y R_x."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx, sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx, -sy, cy * sx, cy * cx]
    return np.stack(rows, 1).reshape(-1, 3, 3)


def reference(case: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The objective: the best of a grid of directions, then alternating least squares, basis shape by basis shape."""
    tracks = inputs["tracks"].astype(np.float64)
    frames = len(tracks)
    rows = (tracks - tracks.mean(2, keepdims=True)).reshape(2 * frames, -1)
    shape = np.linalg.eigh(rows.T @ rows)[1][:, :-4:-1].T
    cameras = rows @ shape.T
    residual = rows - cameras @ shape
    basis = np.linalg.eigh(residual.T @ residual)[1][:, : -case.rank - 1 : -1].T
    seen = (residual @ basis.T).reshape(frames, 2, case.rank)
    cameras = np.linalg.qr(cameras)[0].reshape(frames, 2, 3) * np.sqrt(frames)
    i = np.arange(GRID) + 0.5
    z, turn = i / GRID, 2.399963229728653 * i
    grid = np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z])
    gains = np.zeros((case.rank, GRID))
    for first in range(0, frames, 500):
        moved = cameras[first : first + 500] @ grid
        square = np.maximum((moved**2).sum(1), 1e-12)
        p, q = seen[first : first + 500].transpose(1, 2, 0)
        gains += (p * p) @ (moved[:, 0] ** 2 / square) + (p * q) @ (2 * moved[:, 0] * moved[:, 1] / square) + (q * q) @ (moved[:, 1] ** 2 / square)
    objective = float((residual**2).sum())
    for k in range(case.rank):
        d, before = grid[:, gains[k].argmax()], 0.0
        for _ in range(500):
            moved = cameras @ d
            alpha = (moved * seen[:, :, k]).sum(1) / np.maximum((moved**2).sum(1), 1e-12)
            gain = float((alpha * (moved * seen[:, :, k]).sum(1)).sum())
            if gain - before < 1e-10 * gain:
                break
            before = gain
            weighted = alpha[:, None, None] * cameras
            d = np.linalg.solve(np.einsum("nai,naj->ij", weighted, weighted), np.einsum("nai,na->i", weighted, seen[:, :, k]))
            d /= np.linalg.norm(d)
        objective -= gain
    return np.array([objective])


def variants(peer: str, case: Any, inputs: dict[str, np.ndarray], exact: np.ndarray) -> dict[str, Callable[[], Any]]:
    import torch

    tracks, count = torch.from_numpy(inputs["tracks"]), case.rank
    enough = CLOSE_ENOUGH * float(exact[0])

    def principal(rows: torch.Tensor, wanted: int, by_gram: bool) -> torch.Tensor:
        """The leading right singular vectors, as rows."""
        if by_gram:
            return torch.linalg.eigh(rows.T @ rows)[1].flip(1)[:, :wanted].T.contiguous()
        return torch.linalg.svd(rows, full_matrices=False)[2][:wanted]

    def fit(by_gram: bool) -> tuple:
        frames = len(tracks)
        means = tracks.mean(2, keepdim=True)
        rows = (tracks - means).view(2 * frames, -1)
        shape = principal(rows, 3, by_gram)
        cameras = rows @ shape.T
        residual = torch.addmm(rows, cameras, shape, alpha=-1)
        basis = principal(residual, count, by_gram)
        seen = (residual @ basis.T).view(frames, 2, count)
        energy = residual.square().sum(dtype=torch.float64).item()
        units = seen.square().mean((0, 1)).sqrt()  # of the coefficients
        size = cameras.square().mean(0).sqrt()  # of the directions
        seen, m = seen / units, (cameras / size).view(frames, 2, 3)
        weights = units.square()
        outside = energy - (seen.square().sum((0, 1), dtype=torch.float64) * weights).sum().item()
        generator = torch.Generator().manual_seed(1)
        d = torch.randn(3, count, generator=generator)
        d /= d.norm(dim=0)
        alpha = torch.zeros(frames, count)
        optimizer = torch.optim.Adam([d, alpha], lr=RATE, fused=True)
        flat = m.view(-1, 3)
        for step in range(MOST_STEPS):
            moved = (flat @ d).view(frames, 2, count)
            error = torch.addcmul(seen, moved, alpha[:, None], value=-1)
            if step % CHECK_EVERY == 0:
                left = (error.square().sum((0, 1)) * weights).sum().item()
            excess = d.square().sum(0) - 1
            alpha.grad = (error * moved).sum(1).mul_(-2 / frames)
            error *= alpha[:, None]
            d.grad = (flat.T @ error.view(-1, count)).mul_(-2 / frames) + 4 * excess * d
            if outside + left <= enough:
                break
            optimizer.step()
        return d, alpha * units, shape, basis, cameras, means, torch.tensor(outside + left), torch.tensor(step)

    def by_the_formula() -> Iterator[torch.Tensor]:
        """Goes on for some iterations where the call before has stopped."""
        frames = len(tracks)
        rows = (tracks - tracks.mean(2, keepdim=True)).view(2 * frames, -1)
        shape = principal(rows, 3, True)
        cameras = rows @ shape.T
        residual = torch.addmm(rows, cameras, shape, alpha=-1)
        basis = principal(residual, count, True)
        units = (residual @ basis.T).square().mean(0).sqrt()
        m, scaled = (cameras / cameras.square().mean(0).sqrt()).view(frames, 2, 3), units[:, None] * basis
        residual = residual.view(frames, 2, -1)
        generator = torch.Generator().manual_seed(1)
        d = torch.randn(3, count, generator=generator)
        d = (d / d.norm(dim=0)).requires_grad_(True)
        alpha = torch.zeros(frames, count, requires_grad=True)
        optimizer = torch.optim.Adam([d, alpha], lr=RATE, fused=True)
        while True:
            for _ in range(TIMED_ITERATIONS):
                objective = (residual - (alpha[:, None] * (m @ d)) @ scaled).square().sum()
                # With one weight of the penalty for all k the small basis shapes take several times as many steps.
                loss = objective / frames + ((d.square().sum(0) - 1).square() * units.square()).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield objective.detach()

    if peer == "torch":
        steps = by_the_formula()
        next(steps)
        return {"Adam, autograd": lambda: next(steps)}
    return {"SVD": lambda: fit(False), "Gram matrices": lambda: fit(True)}


def relative_error(result: Any, exact: np.ndarray) -> float:
    """How far the objective is above the reference's; of iterations that were only timed what Adam may stop at."""
    return float(result[6]) / float(exact[0]) - 1 if isinstance(result, tuple) else CLOSE_ENOUGH - 1


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    given = np.load(folder / "tracks.npy")
    for name, way in variants("torch-handwritten", SimpleNamespace(rank=12), {"tracks": given}, np.load(folder / "reference.npy")).items():
        print(f"{given.shape[2]} points, {name}: {int(way()[7])} steps")
