"""From the factors of a render to a code z.

The generator is first taught by example: pairs of a code and a picture. For that the codes must be distributed like the
z drawn later, N(0, 1) in every component and independent, while each is a function of what is true about its picture.
Every factor is turned into normal variables: by its rank; by its rank among those that share what it depends on (a
beard grows on one kind of face only, so its rank is taken there, and elsewhere the variable is noise); by iterating
ranks and rotations for groups that depend on each other in unknown ways (the coefficients of the light). Components
that are left over are noise, and a fixed rotation mixes everything, so that no axis of z is a factor.
"""
from __future__ import annotations

from typing import List, Tuple

import numpy as np
import torch

from .data import EXPRESSIONS, Renders

# Hair styles by length: bald, buzz, receding, short up, short side, curly, bob, tied back, long wavy, long straight.
STYLE_ORDER = np.array([0, 1, 4, 3, 2, 5, 6, 9, 8, 7])


def quantile(p: np.ndarray) -> np.ndarray:
    """Inverse of the normal distribution function."""
    return torch.special.ndtri(torch.from_numpy(np.asarray(p, np.float64))).numpy()


def normal_scores(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Normal variables in the order of the values; equal values are ordered at random."""
    order = np.lexsort((random.random(len(values)), values))
    scores = np.empty(len(values))
    scores[order] = quantile((np.arange(len(values)) + 0.5) / len(values))
    return scores


def scores_within(values: np.ndarray, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Normal scores among the samples of the same group; noise in groups below 0."""
    scores = random.standard_normal(len(values))
    for group in np.unique(groups[groups >= 0]):
        chosen = groups == group
        scores[chosen] = normal_scores(values[chosen], random)
    return scores


def jointly_normal(values: np.ndarray, random: np.random.Generator, rounds: int = 30) -> np.ndarray:
    """Iterated normal scores and rotations: N x d dependent values to N x d independent normal ones."""
    x = np.asarray(values, np.float64)
    for i in range(rounds):
        x = np.stack([normal_scores(column, random) for column in x.T], 1)
        if i + 1 < rounds:
            _, axes = np.linalg.eigh(np.cov(x.T))
            turn, _ = np.linalg.qr(random.standard_normal((x.shape[1], x.shape[1])))
            x = x @ (axes if i % 2 == 0 else turn)
    return x


def by_gap(kind: np.ndarray, strength: np.ndarray, kinds: int, random: np.random.Generator) -> np.ndarray:
    """Independent normal variables, one per kind, of which the largest belongs to `kind`, with the larger a lead over
    the second largest the larger `strength`. Strengths vary continuously with the variables: they are 0 between
    kinds."""
    x = random.standard_normal((len(kind), kinds))
    top = np.sort(x, 1)
    x = x[np.argsort(top[:, -1] - top[:, -2])]
    order = np.lexsort((random.random(len(kind)), strength))
    result = np.empty_like(x)
    result[order] = x
    rows = np.arange(len(kind))
    leader = result.argmax(1)
    result[rows, leader], result[rows, kind] = result[rows, kind], result[rows, leader]
    return result


def expression_scores(expression: np.ndarray, random: np.random.Generator) -> List[np.ndarray]:
    """Six variables for the strongest expression and six for a second one."""
    count = len(expression)
    kinds = len(EXPRESSIONS)
    anything = random.integers(0, kinds, count)
    first = expression.max(1)
    kind = np.where(first > 0, expression.argmax(1), anything)
    rest = expression.copy()
    rest[np.arange(count), kind] = 0
    second = rest.max(1)
    other = np.where(second > 0, rest.argmax(1), random.integers(0, kinds, count))
    seconds = random.standard_normal((count, kinds))
    active = first > 0
    seconds[active] = by_gap(other[active], second[active], kinds, random)
    return [by_gap(kind, first, kinds, random), seconds]


def own_blink(renders: Renders) -> np.ndarray:
    """The blink that is not part of an expression."""
    blink, expression = renders["blink"].copy(), renders["expression"]
    for k in range(len(EXPRESSIONS)):
        alone = (expression[:, k] > 0.1) & ((expression > 0).sum(1) == 1)
        share = np.median(renders["blink"][alone] / np.maximum(expression[alone, k], 0.1))
        blink -= share * expression[:, k]
    return np.where(np.abs(blink) < 1e-3, 0.0, blink)


def hue_disc(linear: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Colours as three normal variables: hue is the angle of the first two, the order of saturation their radius."""
    srgb = np.clip(linear, 0, 1) ** (1 / 2.2)
    high, low = srgb.max(1), srgb.min(1)
    alpha = srgb[:, 0] - 0.5 * (srgb[:, 1] + srgb[:, 2])
    beta = np.sqrt(0.75) * (srgb[:, 1] - srgb[:, 2])
    angle = np.arctan2(beta, alpha)
    angle = 2 * np.pi * (np.argsort(np.argsort(angle)) + 0.5) / len(angle)
    saturation = 1 - low / np.maximum(high, 1e-4)
    rank = (np.argsort(np.argsort(saturation)) + 0.5) / len(angle)
    radius = np.sqrt(-2 * np.log1p(-rank))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), normal_scores(high, random)], 1)


def factor_scores(renders: Renders, seed: int) -> Tuple[np.ndarray, List[str]]:
    """Independent normal variables that determine the renders, N x d, and a name for each."""
    random = np.random.default_rng(seed)
    parts: List[np.ndarray] = []
    names: List[str] = []

    def add(name: str, scores: np.ndarray) -> None:
        scores = scores.reshape(len(renders), -1)
        parts.append(scores)
        names.extend([name] * scores.shape[1])

    def add_ranks(name: str, values: np.ndarray) -> None:
        add(name, normal_scores(values, random))

    identity = renders.identity
    build = identity("build")
    group = (build > 0).astype(int)
    shape_count = renders.identity_names.index("melanin")
    for name in renders.identity_names[:shape_count]:
        add_ranks(name, identity(name))
    melanin, age = identity("melanin"), identity("age")
    for name in ("melanin", "undertone", "blush", "age", "neckline"):
        add_ranks(name, identity(name))
    add("freckles", scores_within(identity("freckles"), np.where(melanin < 0.4, 0, -1), random))
    add("beard", scores_within(identity("beard"), np.where(build > 0.23, 0, -1), random))
    add("lip_color", scores_within(identity("lip_color"), group, random))
    for name in ("brow_thickness", "brow_arch", "lashes"):
        slope = {"brow_thickness": 0.24, "brow_arch": -0.22, "lashes": -0.3}[name] / 1.15
        add(name, scores_within(identity(name) - slope * build, group, random))
    add("hair_style", scores_within(np.argsort(STYLE_ORDER)[identity("hair_style").astype(int)], group, random))

    def color(name: str) -> np.ndarray:
        return np.stack([identity(f"{name}_{channel}") for channel in ("red", "green", "blue")], 1)

    dark = (melanin > 0.42).astype(int)
    hair = color("hair")
    shade = np.log(hair.mean(1))
    old = age > 0.55
    scores = np.stack([scores_within(shade, np.where(old, -1, dark), random), random.standard_normal(len(renders))], 1)
    for level in (0, 1):
        grey = old & (dark == level)
        features = np.stack([shade, hair.min(1) / hair.max(1)], 1)
        scores[grey] = jointly_normal(features[grey], random)
    add("hair_color", scores)
    iris = color("iris")
    features = np.stack([np.log(iris.mean(1)), np.log(iris[:, 2] / iris[:, 0])], 1)
    scores = np.empty((len(renders), 2))
    brown = (melanin > 0.45).astype(int)
    for level in (0, 1):
        scores[brown == level] = jointly_normal(features[brown == level], random)
    add("iris_color", scores)
    add("clothes_color", hue_disc(color("clothes"), random))

    first, second = expression_scores(renders["expression"], random)
    add("expression", first)
    add("second_expression", second)
    add_ranks("blink", own_blink(renders))
    for i, name in enumerate(("gaze_right", "gaze_up")):
        add_ranks(name, renders["gaze"][:, i])
    add("light", jointly_normal(renders["light"], random))
    add_ranks("light_color", renders["light_color"][:, 0])
    for i, name in enumerate(("yaw", "pitch", "roll")):
        add_ranks(name, renders["pose"][:, i])
    for i, name in enumerate(("view", "center_x", "center_y")):
        add_ranks(name, renders["camera"][:, i])
    background = renders["background"].astype(np.float64)
    background = background - background.mean(0)
    _, axes = np.linalg.eigh(np.cov(background.T))
    add("background", jointly_normal(background @ axes[:, ::-1][:, :8], random))
    return np.concatenate(parts, 1).astype(np.float32), names


class Codes:
    """Codes z of renders. The components that stand for nothing are drawn anew every time; their length makes that of
    z sqrt(z_dim), which is what the mapping network's normalisation would make of it."""

    def __init__(self, scores: np.ndarray, z_dim: int, seed: int):
        self.scores = torch.from_numpy(scores)
        self.free = z_dim - scores.shape[1]
        if self.free < 1:
            raise ValueError(f"{scores.shape[1]} factors do not fit into {z_dim} components")
        turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((z_dim, z_dim)))
        self.turn = torch.from_numpy(turn.astype(np.float32))

    def __call__(self, index: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        scores = self.scores[index]
        noise = torch.randn(len(index), self.free, generator=generator)
        missing = (len(self.turn) - scores.square().sum(1, keepdim=True)).clamp(min=1.0)
        noise = noise * (missing / noise.square().sum(1, keepdim=True)).sqrt()
        return torch.cat([scores, noise], 1) @ self.turn.t()
