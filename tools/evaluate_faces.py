#!/usr/bin/env python3
"""Measures the bundled face generator and writes its sample sheets.

    evaluate_faces.py --renders DIR [--data data] [--sheets docs/images] [--document docs/bundled-generator.md]

DIR holds packed renders that training has not seen (train_faces.py render, another seed): half of them stand for the
face world, the other half shows what distance remains between two sets of renders. Prints the tables of
docs/bundled-generator.md. Needs NumPy and PyTorch.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Dict, List

try:
    import numpy as np
    import torch
    from torch import Tensor
except ImportError as error:
    print(f"evaluate_faces: needs NumPy and PyTorch ({error})", file=sys.stderr)
    sys.exit(2)

from faces.data import EXPRESSIONS, Output, Renders, outputs_of
from faces.files import FileError, read_safetensors, sheet, write_atomically, write_png
from faces.measures import (FeatureSpace, coverage_numbers, feature_spaces, features_of, frechet_distance, ridge_r2,
                            total_variance)
from faces.networks import Generator, Regressor, from_bytes, to_bytes

EPSILON = 1e-4  # step of the path length


BEGIN, END = "<!-- measurements: begin -->", "<!-- measurements: end -->"
report: List[str] = []


def say(text: str) -> None:
    """Prints a paragraph and keeps it for the document."""
    print(text + "\n", flush=True)
    report.append(text)


def table(header: List[str], rows: List[List[str]]) -> None:
    lines = [header, ["---"] * len(header), *rows]
    say("\n".join("| " + " | ".join(line) + " |" for line in lines))


def write_into(document: str) -> None:
    """Replaces what stands between the two marks."""
    with open(document, encoding="utf-8") as file:
        text = file.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise FileError(f"{document} has no place marked by {BEGIN} and {END}")
    before, after = text[:text.index(BEGIN)], text[text.index(END):]
    write_atomically(document, (before + BEGIN + "\n" + "\n\n".join(report) + "\n" + after).encode())


@torch.no_grad()
def generate(model: Generator, z: Tensor, psi: float = 1.0) -> Tensor:
    """Pictures as a viewer gets them: eight bits."""
    return from_bytes(np.concatenate([to_bytes(model(part, psi)) for part in z.split(250)]))


def similarity(spaces: Dict[str, FeatureSpace], truth: Tensor, others: Dict[str, Tensor]) -> None:
    """Distances from `truth` to every other set, in every feature space."""
    for name, space in spaces.items():
        reference = features_of(space, truth)
        rows = []
        for label, images in others.items():
            made = features_of(space, images)
            precision, recall = coverage_numbers(reference, made)
            rows.append([label, f"{frechet_distance(reference, made):.4f}",
                         f"{total_variance(made) / total_variance(reference):.3f}", f"{precision:.3f}",
                         f"{recall:.3f}"])
        say(f"Feature space `{name}`, {reference.shape[1]} dimensions, {len(truth)} pictures of each set:")
        table(["set", "Frechet distance", "variance / renders'", "precision", "recall"], rows)


class Readings:
    """What the regressor sees in pictures, by name."""

    def __init__(self, regressor: Regressor, outputs: List[Output], images: Tensor):
        with torch.no_grad():
            values = torch.cat([regressor(part) for part in images.split(250)]).numpy()
        self.values: Dict[str, np.ndarray] = {}
        at = 0
        for output in outputs:
            self.values[output.name] = values[:, at:at + output.size]
            at += output.size

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[name]


FACTORS = ["yaw", "pitch", "roll", "melanin", *EXPRESSIONS, "beard", "age", "build", "blink"]


def light_azimuth(light: np.ndarray) -> np.ndarray:
    """Where most of the light comes from, around the vertical axis, from the coefficients of x and z."""
    return np.arctan2(light[:, 3:4], light[:, 2:3])


def predictability(model: Generator, by: Dict[str, Readings], z: Tensor, accuracy: Dict[str, str],
                   held_out: int) -> None:
    """How well a linear function of w predicts what a regressor sees; `by` has one column per regressor."""
    with torch.no_grad():
        w = model.mapping(z).double().numpy()
    names = [*FACTORS, *(f"light, coefficient {k}" for k in range(9)), "light, azimuth"]
    at = slice(len(FACTORS), len(FACTORS) + 9)
    columns: List[List[str]] = []
    for title, readings in by.items():
        values = np.concatenate([*(readings[name] for name in FACTORS), readings["light"],
                                 light_azimuth(readings["light"])], 1).astype(np.float64)
        for space, x in (("w", w), ("z", z.double().numpy())):
            if space == "z" and len(columns) > 1:
                continue  # once is enough
            r2 = ridge_r2(x, values, held_out)
            variance = values[-held_out:, at].var(0)
            together = 1 - ((1 - r2[at]) * variance).sum() / variance.sum()
            columns.append([f"R2 from {space}, {title}", *(f"{value:.3f}" for value in r2), f"{together:.3f}"])
    columns.append(["regressor's own R2 on renders", *(accuracy[name] for name in FACTORS), *10 * [""],
                    accuracy["light"]])
    names.append("light, all nine together")
    say(f"Linear (ridge) prediction, fitted to {len(z) - held_out} samples, R2 on {held_out} others:")
    table(["what the regressor sees", *(column[0] for column in columns)],
          [[name, *(column[i + 1] for column in columns)] for i, name in enumerate(names)])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    angle = torch.arccos((a * b).sum(1, keepdim=True))
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


@torch.no_grad()
def path_lengths(model: Generator, regressor: Regressor, scale: float, count: int) -> None:
    """001 Eq. 2.15 in double precision; differences of float32 pictures would be noise at this step."""
    model, regressor = model.double(), regressor.double()
    random = torch.Generator().manual_seed(31)
    sums = {"z": np.zeros(2), "w": np.zeros(2)}
    for part in torch.full((count,), 1.0, dtype=torch.float64).split(50):
        z1, z2 = (torch.randn(len(part), model.z_dim, generator=random, dtype=torch.float64) for _ in range(2))
        t = torch.rand(len(part), 1, generator=random, dtype=torch.float64)
        for space in sums:
            ends = []
            for at in (t, t + EPSILON):
                if space == "z":
                    w = model.mapping(slerp(z1, z2, at))
                else:
                    w = torch.lerp(model.mapping(z1), model.mapping(z2), at)
                ends.append(model.synthesis(model.broadcast(w), "const", torch.float64))
            features = [regressor.features(image, torch.float64) for image in ends]
            sums[space] += [float((features[1] - features[0]).square().sum() / scale / EPSILON**2),
                            float((ends[1] - ends[0]).square().mean((1, 2, 3)).sum() / EPSILON**2)]
    model.float()
    regressor.float()
    say(f"Path length (001 Eq. 2.15), epsilon {EPSILON:g}, {count} pairs, in double precision:")
    table(["space", "d = squared distance of features / renders' variance", "d = mean squared difference of pixels"],
          [[f"{space} ({'slerp' if space == 'z' else 'lerp'})", f"{sums[space][0] / count:.3f}",
            f"{sums[space][1] / count:.3f}"] for space in ("z", "w")])


DIRECTIONS = ["yaw", "pitch", "melanin", "beard", "age", *EXPRESSIONS]


@torch.no_grad()
def direction_sheet(model: Generator, readings: Readings, z: Tensor, path: str) -> None:
    """A row per factor: along the ridge direction of w, from -3 to 3 standard deviations, on one sample at psi 0.7."""
    w = model.mapping(z)
    center = model.mapping.w_avg
    covariance = torch.cov(w.t()) + 1e-3 * w.var(0).mean() * torch.eye(w.shape[1])
    start = center + 0.7 * (model.mapping(torch.randn(1, model.z_dim,
                                                      generator=torch.Generator().manual_seed(9)))[0] - center)
    rows = []
    names = DIRECTIONS + ["light"]
    for name in names:
        values = torch.from_numpy(readings[name][:, 3 if name == "light" else 0].astype(np.float32))
        slope = torch.linalg.solve(covariance, ((w - w.mean(0)) * (values - values.mean())[:, None]).mean(0))
        step = covariance @ slope / (slope @ covariance @ slope).sqrt()  # the likeliest change of w that does it
        ws = start + torch.linspace(-3, 3, 9)[:, None] * step
        rows.append(to_bytes(model.synthesis(model.broadcast(ws))))
    write_png(path, sheet(np.concatenate(rows), 9))
    print(f"{path}: rows {', '.join(names)}")


def main(arguments: List[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renders", required=True, help="packed renders that training has not seen")
    parser.add_argument("--data", default="data", help="folder of the two weight files (default: data)")
    parser.add_argument("--generator", help="another generator than DATA/faces64.safetensors")
    parser.add_argument("--check", help="another regressor, which had no part in training the generator")
    parser.add_argument("--sheets", help="folder for bundled-*.png (default: none are written)")
    parser.add_argument("--document", help="file whose marked part is replaced by the tables")
    parser.add_argument("--samples", type=int, default=10000, help="generated pictures (default: 10000)")
    parser.add_argument("--pairs", type=int, default=1000, help="pairs for the path length (default: 1000)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (default: 2)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        tensors, metadata = read_safetensors(options.generator or os.path.join(options.data, "faces64.safetensors"))
        model = Generator.from_tensors(tensors)
        weights, described = read_safetensors(os.path.join(options.data, "face_factors.safetensors"))
        regressor = Regressor.from_tensors(weights)
        check = Regressor.from_tensors(read_safetensors(options.check)[0]) if options.check else None
        renders = Renders(options.renders)
        accuracy = {entry["name"]: entry["r2"] for entry in json.loads(described["outputs"])}
    except (FileError, KeyError, ValueError, RuntimeError) as error:
        print(f"evaluate_faces: {error}", file=sys.stderr)
        return 2
    outputs = outputs_of(renders.identity_names)
    print(f"{metadata.get('origin', 'no origin')}\n{sum(t.size for t in tensors.values())} numbers, "
          f"{model.mapping.layers} mapping layers, z {model.z_dim}, w {model.w_dim}\n", flush=True)

    z = torch.randn(options.samples, model.z_dim, generator=torch.Generator().manual_seed(30))
    images = generate(model, z)
    half = len(renders) // 2
    truth, other = from_bytes(renders["images"][:half]), from_bytes(renders["images"][half:2 * half])
    spaces = feature_spaces(regressor)
    if check:
        spaces["check"] = check.features
    similarity(spaces, truth, {"other renders": other, "generated": images[:half],
                               "generated, psi 0.7": generate(model, z[:half], 0.7)})
    readings = Readings(regressor, outputs, images)
    by = {"bundled regressor": readings}
    if check:
        by["check regressor"] = Readings(check, outputs, images)
    predictability(model, by, z, accuracy, options.samples // 5)
    path_lengths(model, regressor, total_variance(features_of(spaces["regressor"], truth)), options.pairs)
    say("The regressor on held-out renders, explained variance of each output: "
        + ", ".join(f"{name} {r2}" for name, r2 in accuracy.items()) + ".")

    if options.document:
        try:
            write_into(options.document)
        except (FileError, OSError) as error:
            print(f"evaluate_faces: {error}", file=sys.stderr)
            return 2
    if options.sheets:
        shown = torch.randn(64, model.z_dim, generator=torch.Generator().manual_seed(8))
        for name, psi in (("samples", 1.0), ("truncated", 0.7)):
            with torch.no_grad():
                write_png(os.path.join(options.sheets, f"bundled-{name}.png"), sheet(to_bytes(model(shown, psi)), 16))
        write_png(os.path.join(options.sheets, "bundled-renders.png"), sheet(renders["images"][:64], 16))
        direction_sheet(model, readings, z, os.path.join(options.sheets, "bundled-directions.png"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
