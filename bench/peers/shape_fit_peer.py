"""Parameters q of the landmark model for new landmarks (001 Paper III Eq. 11): SciPy's least_squares, one set after the other, and L-BFGS in
PyTorch, on all sets at once or with a step length for every set. All start from the camera [I | 0], coefficients of 0 and the mean of the landmarks.
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

import nrsfm_peer

CLOSE_ENOUGH = 1.001
TIMED_SETS = 50  # of SciPy; the time of all is worked out from them
MOST_STEPS = 2000
MEMORY = 10  # of L-BFGS
CHECK_EVERY = 5


def make_inputs(rng: np.random.Generator, shape: tuple[int, ...], count: int, dtype: str) -> dict[str, np.ndarray]:
    model = nrsfm_peer.make_model(rng, shape[1], count)
    landmarks = nrsfm_peer.make_landmarks(rng, model, shape[0], dtype)
    return {"landmarks": landmarks} | {name: array.astype(dtype) for name, array in model.items()}


def start(landmarks: np.ndarray, count: int) -> np.ndarray:
    q = np.zeros((len(landmarks), 8 + count), landmarks.dtype)
    q[:, 0] = q[:, 2] = 1
    q[:, -2:] = landmarks.mean(2)
    return q


def residuals_and_jacobian(q: np.ndarray, landmarks: np.ndarray, shapes: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """N x 2L and N x 2L x (8 + K), in the type of q."""
    sets, count, points = len(q), len(directions), shapes.shape[1]
    (cx, cy, cz), (sx, sy, sz) = np.cos(q[:, 3:6]).T, np.sin(q[:, 3:6]).T
    r = nrsfm_peer.rotations(q[:, 3:6])
    zero = np.zeros_like(cx)
    turned = {
        3: np.stack([zero, r[:, 0, 2], -r[:, 0, 1], zero, r[:, 1, 2], -r[:, 1, 1]], 1),
        4: np.stack([-cz * sy, cz * cy * sx, cz * cy * cx, -sz * sy, sz * cy * sx, sz * cy * cx], 1),
        5: np.stack([-r[:, 1, 0], -r[:, 1, 1], -r[:, 1, 2], r[:, 0, 0], r[:, 0, 1], r[:, 0, 2]], 1),
    }
    k11, k12, k22 = (q[:, i, None] for i in range(3))

    def camera(rows: np.ndarray) -> np.ndarray:
        return np.stack([k11 * rows[:, 0] + k12 * rows[:, 1], k22 * rows[:, 1]], 1)

    alpha = q[:, 6 : 6 + count]
    shape = shapes[:3] + np.einsum("nk,ki,kl->nil", alpha, directions, shapes[3:], optimize=True)
    m = camera(r)
    residuals = m @ shape + q[:, -2:, None] - landmarks
    jacobian = np.zeros((sets, 2, points, 8 + count), q.dtype)
    seen = r[:, :2] @ shape
    jacobian[:, 0, :, 0], jacobian[:, 0, :, 1], jacobian[:, 1, :, 2] = seen[:, 0], seen[:, 1], seen[:, 1]
    for j, rows in turned.items():
        jacobian[..., j] = camera(rows.reshape(-1, 2, 3)) @ shape
    jacobian[..., 6 : 6 + count] = np.einsum("nai,ki,kl->nalk", m, directions, shapes[3:], optimize=True)
    jacobian[:, 0, :, -2] = jacobian[:, 1, :, -1] = 1
    return residuals.reshape(sets, -1), jacobian.reshape(sets, 2 * points, -1)


def reference(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The objective of every set by Levenberg-Marquardt in double precision."""
    landmarks, directions = inputs["landmarks"].astype(np.float64), inputs["directions"].astype(np.float64)
    shapes = np.vstack([inputs["shape"], inputs["basis"]]).astype(np.float64)
    objectives = []
    for first in range(0, len(landmarks), 1000):
        some = landmarks[first : first + 1000]
        q = start(some, len(directions))
        damping = np.full(len(q), 1e-3)
        r, jacobian = residuals_and_jacobian(q, some, shapes, directions)
        cost = (r * r).sum(1)
        for _ in range(60):
            gram = np.einsum("nri,nrj->nij", jacobian, jacobian, optimize=True)
            diagonal = np.einsum("nii->ni", gram)
            damped = gram + (damping[:, None] * diagonal)[:, :, None] * np.eye(q.shape[1])
            step = np.linalg.solve(damped, -np.einsum("nri,nr->ni", jacobian, r)[..., None])[..., 0]
            new_r, new_jacobian = residuals_and_jacobian(q + step, some, shapes, directions)
            new_cost = (new_r * new_r).sum(1)
            better = new_cost < cost
            damping = np.where(better, np.maximum(damping / 10, 1e-12), np.minimum(damping * 10, 1e8))
            q[better] += step[better]
            r[better], jacobian[better] = new_r[better], new_jacobian[better]
            settled = np.all(np.where(better, cost - new_cost, 0) <= 1e-12 * cost)
            cost = np.minimum(cost, new_cost)
            if settled:
                break
        objectives.append(cost)
    return np.concatenate(objectives)


def by_scipy(inputs: dict[str, np.ndarray]) -> dict[str, Callable[[], Any]]:
    from scipy.optimize import least_squares

    shapes, directions = np.vstack([inputs["shape"], inputs["basis"]]).astype(np.float64), inputs["directions"].astype(np.float64)
    some = inputs["landmarks"][:TIMED_SETS].astype(np.float64)

    def fit(method: str, analytic: bool) -> np.ndarray:
        objectives = []
        for landmarks in some:

            def residual(q: np.ndarray) -> np.ndarray:
                r = nrsfm_peer.rotations(q[None, 3:6])[0]
                shape = shapes[:3] + (directions.T * q[6:-2]) @ shapes[3:]
                m = np.stack([q[0] * r[0] + q[1] * r[1], q[2] * r[1]])
                return (m @ shape + q[-2:, None] - landmarks).ravel()

            def jacobian(q: np.ndarray) -> np.ndarray:
                return residuals_and_jacobian(q[None], landmarks[None], shapes, directions)[1][0]

            found = least_squares(residual, start(landmarks[None], len(directions))[0], jac=jacobian if analytic else "2-point", method=method)
            objectives.append(2 * found.cost)
        return np.array(objectives)

    return {f"{method}, {name}": lambda m=method, a=analytic: fit(m, a) for method in ("lm", "trf") for name, analytic in (("analytic", True), ("differences", False))}


def by_torch(inputs: dict[str, np.ndarray], exact: np.ndarray) -> dict[str, Callable[[], Any]]:
    import torch

    landmarks, directions = torch.from_numpy(inputs["landmarks"]), torch.from_numpy(inputs["directions"])
    shape, basis = torch.from_numpy(inputs["shape"]), torch.from_numpy(inputs["basis"])
    first = torch.from_numpy(start(inputs["landmarks"], len(directions)))
    sets, enough = len(landmarks), CLOSE_ENOUGH * float(exact.sum())
    shapes = torch.cat([shape, basis])

    def costs(q: torch.Tensor) -> torch.Tensor:
        """Of every set."""
        (cx, cy, cz), (sx, sy, sz) = q[:, 3:6].cos().unbind(1), q[:, 3:6].sin().unbind(1)
        x = torch.stack([cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx], 1)
        y = torch.stack([sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx], 1)
        m = torch.stack([q[:, :1] * x + q[:, 1:2] * y, q[:, 2:3] * y], 1)
        design = torch.cat([m, (m @ directions.T) * q[:, None, 6:-2]], 2)
        return (design @ shapes + q[:, -2:, None] - landmarks).square().sum((1, 2))

    def all_at_once() -> torch.Tensor:
        q = first.clone().requires_grad_(True)
        optimizer = torch.optim.LBFGS([q], max_iter=CHECK_EVERY, history_size=MEMORY, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            total = costs(q).sum()
            total.backward()
            return total

        for _ in range(MOST_STEPS // CHECK_EVERY):
            optimizer.step(closure)
            if costs(q.detach()).sum().item() <= enough:
                break
        return costs(q.detach())

    def value_and_gradient(q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q = q.detach().requires_grad_(True)
        value = costs(q)
        return value.detach(), torch.autograd.grad(value.sum(), q)[0]

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(1, keepdim=True)

    def batched() -> torch.Tensor:
        """Every set has curvature pairs and a backtracking line search of its own."""
        q = first.clone()
        value, gradient = value_and_gradient(q)
        pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for step in range(MOST_STEPS):
            if step % CHECK_EVERY == 0 and value.sum().item() <= enough:
                break
            way, kept = gradient.clone(), []
            for s, y, rho in reversed(pairs):
                a = rho * dot(s, way)
                way -= a * y
                kept.append(a)
            if pairs:
                s, y, _ = pairs[-1]
                way *= torch.where(dot(s, y) > 0, dot(s, y) / dot(y, y).clamp_min(1e-30), torch.ones(()))
            else:
                way /= gradient.norm(dim=1, keepdim=True).clamp_min(1e-30)
            for (s, y, rho), a in zip(pairs, reversed(kept)):
                way += (a - rho * dot(y, way)) * s
            slope = dot(gradient, way)
            way = torch.where(slope > 0, way, gradient)
            slope = dot(gradient, way)
            length = torch.ones(sets, 1)
            for _ in range(15):
                with torch.no_grad():
                    short = costs(q - length * way)[:, None] <= value[:, None] - 1e-4 * length * slope
                if bool(short.all()):
                    break
                length = torch.where(short, length, 0.4 * length)
            length = torch.where(short, length, torch.zeros(()))
            new_value, new_gradient = value_and_gradient(q - length * way)
            s, y = -length * way, new_gradient - gradient
            product = dot(s, y)
            good = product > 1e-10 * dot(y, y)
            pairs = pairs[1 - MEMORY :] + [(s, torch.where(good, y, torch.zeros(())), torch.where(good, 1 / product.clamp_min(1e-30), torch.zeros(())))]
            q, value, gradient = q + s, new_value, new_gradient
        return value

    return {"L-BFGS, one for all sets": all_at_once, "L-BFGS, batched": batched}


def variants(peer: str, inputs: dict[str, np.ndarray], exact: np.ndarray) -> dict[str, Callable[[], Any]]:
    return by_scipy(inputs) if peer == "scipy" else by_torch(inputs, exact)


def relative_error(result: Any, exact: np.ndarray) -> float:
    """How far the mean objective is above the reference's of the same sets."""
    objectives = np.asarray(result, np.float64)
    return float(objectives.mean() / exact[: len(objectives)].mean()) - 1
