"""Feature spaces and what is measured in them."""
from __future__ import annotations

import copy
from typing import Callable, Dict, Tuple

import numpy as np
import torch
from torch import Tensor

from .networks import Regressor

FeatureSpace = Callable[[Tensor], Tensor]


def feature_spaces(regressor: Regressor, seed: int = 11) -> Dict[str, FeatureSpace]:
    """`regressor`: activations before the regressor's last layer. `random`: the same layers with random weights, which
    know nothing about faces and had no part in any choice made while training."""
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    untrained = copy.deepcopy(regressor)
    for layer in [*untrained.convs, *untrained.dense]:
        fan_in = layer.weight[0].numel()
        layer.weight.data = torch.randn(layer.weight.shape) * (2.0 / fan_in) ** 0.5
        layer.bias.data = torch.zeros(layer.bias.shape)
    torch.random.set_rng_state(state)
    return {"regressor": regressor.features, "random": untrained.features}


@torch.no_grad()
def features_of(space: FeatureSpace, images: Tensor) -> Tensor:
    return torch.cat([space(part) for part in images.split(250)]).double()


def total_variance(features: Tensor) -> float:
    return float(features.var(0).sum())


def frechet_distance(truth: Tensor, made: Tensor) -> float:
    """Of the normal distributions with the same means and covariances, over the total variance of `truth`: 0 for the
    same distribution; 1 is the distance of one point at the mean."""
    a, b = torch.cov(truth.t()), torch.cov(made.t())
    values, axes = torch.linalg.eigh(a)
    root = (axes * values.clamp(min=0).sqrt()) @ axes.t()
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    distance = (truth.mean(0) - made.mean(0)).square().sum() + a.trace() + b.trace() - 2 * cross
    return float(distance / a.trace())


def coverage_numbers(truth: Tensor, made: Tensor, neighbours: int = 5) -> Tuple[float, float]:
    """Precision (share of made pictures within reach of a true one) and recall (share of true pictures within reach of
    a made one); the reach of a picture is the distance to its k-th nearest neighbour of the same kind."""
    truth, made = truth.float(), made.float()

    def reach(x: Tensor) -> Tensor:
        return torch.cat([torch.cdist(part, x).kthvalue(neighbours + 1, 1).values for part in x.split(500)])

    def covered(x: Tensor, by: Tensor, radius: Tensor) -> float:
        return float(torch.cat([(torch.cdist(part, by) <= radius).any(1) for part in x.split(500)]).float().mean())

    return covered(made, truth, reach(truth)), covered(truth, made, reach(made))


def ridge_r2(x: np.ndarray, y: np.ndarray, held_out: int, strength: float = 1.0) -> np.ndarray:
    """Explained variance of each column of y on the last `held_out` rows by a linear function of x fitted to the
    others."""
    train = len(x) - held_out
    mean, scale = x[:train].mean(0), x[:train].std(0) + 1e-8
    a = (x - mean) / scale
    center = y[:train].mean(0)
    gram = a[:train].T @ a[:train] + strength * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, a[:train].T @ (y[:train] - center))
    error = y[train:] - (a[train:] @ weights + center)
    return 1 - (error**2).sum(0) / ((y[train:] - y[train:].mean(0)) ** 2).sum(0)
