#!/usr/bin/env python3
"""Trains the bundled face generator and its image-to-factor regressor on renders of the face world.

    train_faces.py render       renders faces and packs them
    train_faces.py regressor    image -> factors, landmarks, coarse maps       (regressor.pt)
    train_faces.py warm         generator, supervised: pairs of code and render (warm.pt)
    train_faces.py adversarial  generator against a discriminator, from warm.pt (adversarial.pt)
    train_faces.py export       checkpoints -> data/*.safetensors

Training resumes from its checkpoint when there is one. Needs Python 3.8 or newer, NumPy and PyTorch; see
tools/requirements-train.txt. docs/bundled-generator.md has the whole sequence, what comes of it and how good it is.
"""
from __future__ import annotations

import argparse
import copy
import json
import math
import os
import signal
import sys
import tempfile
from typing import Any, Dict, List, Tuple

try:
    import numpy as np
    import torch
    from torch import Tensor, multiprocessing
    from torch.nn import functional as F
except ImportError as error:
    print(f"train_faces: needs NumPy and PyTorch ({error})", file=sys.stderr)
    sys.exit(2)

from faces.codes import Codes, factor_scores
from faces.data import DETAIL, Output, Renders, outputs_of, render, targets_of
from faces.files import FileError, read_safetensors, sheet, write_png, write_safetensors
from faces.measures import feature_spaces, features_of, frechet_distance, total_variance
from faces.networks import Discriminator, Generator, Regressor, from_bytes, to_bytes
from faces.training import Batches, Team, Trainer, average, cosine, load_checkpoint, set_rate

BF16 = torch.bfloat16
CODE_SEED = 20
MAPS = ("albedo", "depth", "coverage")


# ---- regressor -----------------------------------------------------------------------------------------------------


def standardisation(values: np.ndarray, output: Output) -> Tuple[np.ndarray, np.ndarray]:
    """Mean per component; one deviation per component, or one for all of a map or of the landmarks."""
    mean, deviation = values.mean(0), values.std(0)
    if output.name in MAPS or output.name == "landmarks_2d":
        deviation = np.full_like(deviation, np.sqrt(np.mean(deviation**2)))
    return mean, np.maximum(deviation, 1e-4)


def roughen(images: Tensor, random: torch.Generator) -> Tensor:
    """Small blur and noise: generated pictures are not quite like renders."""
    draw = torch.rand(4, generator=random)
    if draw[0] < 0.5:
        blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
        images = torch.lerp(images, blurred, float(draw[1]))
    if draw[2] < 0.7:
        images = images + 0.08 * float(draw[3]) * torch.randn(images.shape, generator=random)
    return images


def train_regressor(options: argparse.Namespace, team: Team) -> None:
    renders, heldout = Renders(options.renders), Renders(options.heldout)
    outputs = outputs_of(renders.identity_names)
    columns = [targets_of(renders, output) for output in outputs]
    scales = [standardisation(values, output) for values, output in zip(columns, outputs)]
    mean = torch.from_numpy(np.concatenate([s[0] for s in scales]))
    deviation = torch.from_numpy(np.concatenate([s[1] for s in scales]))
    targets = torch.from_numpy(np.concatenate(columns, 1).astype(np.float16))
    del columns
    weights = torch.cat([torch.full((o.size,), o.weight / o.size) for o in outputs])
    at = sum(o.size for o in outputs[:-3])  # maps last: albedo, depth, coverage
    sizes = [o.size for o in outputs[-3:]]

    trainer = Trainer(os.path.join(options.work, options.name + ".pt"), options.steps, options.batch, 200, team)
    torch.manual_seed(options.seed)
    model = Regressor(len(mean))
    ema = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01)
    trainer.restore(model=model, ema=ema, optimizer=optimizer)
    order = Batches(len(renders), options.batch, options.seed)
    while trainer.step < trainer.steps:
        index = team.share(order(trainer.step))
        random = torch.Generator().manual_seed(trainer.step * team.size + team.rank)
        images = roughen(from_bytes(renders["images"][index.numpy()]), random)
        truth = targets[index].float()
        error = (model(images, BF16) - (truth - mean) / deviation).square()
        coverage = truth[:, at + sizes[0] + sizes[1]:]
        error = torch.cat([error[:, :at + sizes[0]], error[:, at + sizes[0]:-sizes[2]] * coverage,
                           error[:, -sizes[2]:]], 1)
        loss = (error.mean(0) * weights).sum() / weights.sum()
        set_rate(optimizer, cosine(trainer.progress(), options.rate, 0.01 * options.rate))
        optimizer.zero_grad()
        loss.backward()
        team.average_gradients(optimizer)
        optimizer.step()
        trainer.step += 1
        average(ema, model, min(0.998, (1 + trainer.step) / (10 + trainer.step)))
        trainer.log(loss=loss.item())
        if trainer.due(options.save):
            trainer.save(model=model, ema=ema, optimizer=optimizer)
            print(accuracy_line(in_natural_units(ema, mean, deviation), heldout, outputs), flush=True)
    if team.leads:
        export_regressor(in_natural_units(ema, mean, deviation), heldout, outputs,
                         options.out)


def in_natural_units(model: Regressor, mean: Tensor, deviation: Tensor) -> Regressor:
    """The same regressor with outputs that are not standardised."""
    result = copy.deepcopy(model)
    last = result.dense[-1]
    last.weight.data *= deviation[:, None]
    last.bias.data = last.bias.data * deviation + mean
    return result


@torch.no_grad()
def predict(model: Regressor, images: np.ndarray) -> np.ndarray:
    return np.concatenate([model(from_bytes(images[i:i + 250])).numpy() for i in range(0, len(images), 250)])


def accuracy(model: Regressor, heldout: Renders, outputs: List[Output]) -> Dict[str, float]:
    """Explained variance of each output, all its components together."""
    predicted = predict(model, heldout["images"])
    result, at = {}, 0
    for output in outputs:
        truth = targets_of(heldout, output)
        weight = heldout["coverage"].reshape(truth.shape).astype(np.float32) if output.name == "depth" else 1.0
        error = (weight * (predicted[:, at:at + output.size] - truth) ** 2).sum()
        spread = (weight * (truth - truth.mean(0)) ** 2).sum()
        result[output.name] = float(1 - error / spread)
        at += output.size
    return result


def accuracy_line(model: Regressor, heldout: Renders, outputs: List[Output]) -> str:
    return "held-out R2: " + ", ".join(f"{name} {r2:.3f}" for name, r2 in accuracy(model, heldout, outputs).items())


def export_regressor(model: Regressor, heldout: Renders, outputs: List[Output], path: str) -> None:
    tensors = {name: array.astype(np.float16 if name.endswith(".weight") else np.float32)
               for name, array in model.tensors().items()}
    rounded = Regressor.from_tensors({name: array.astype(np.float32) for name, array in tensors.items()})
    quality = accuracy(rounded, heldout, outputs)
    described = []
    for output in outputs:
        entry: Dict[str, Any] = {"name": output.name, "size": output.size, "unit": output.unit,
                                 "r2": f"{quality[output.name]:.3f}"}
        if len(output.shape) > 1:
            entry["shape"] = list(output.shape)
        described.append(entry)
    write_safetensors(path, tensors, {
        "kind": "image_regressor", "resolution": "64", "slope": "0.2", "outputs": json.dumps(described),
        "origin": "tools/train_faces.py regressor, on renders of the face world"})
    print(f"{path}: {sum(o.size for o in outputs)} outputs, {os.path.getsize(path)} bytes", flush=True)


# ---- generator, supervised -----------------------------------------------------------------------------------------


def region_weights(renders: Renders) -> np.ndarray:
    """A table from region label to weight."""
    table = np.full(256, 1.0, np.float32)
    for label, weight in DETAIL.items():
        table[label] = weight
    return table


def picture_loss(made: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Absolute differences of pixels, of 2 x 2 and 4 x 4 averages, and of neighbouring differences."""
    difference = made - wanted
    loss = (weights * difference.abs()).mean()
    for size in (2, 4):
        loss = loss + (F.avg_pool2d(weights, size) * F.avg_pool2d(difference, size).abs()).mean()
    for axis in (2, 3):
        loss = loss + 0.5 * (difference.diff(dim=axis).abs() * weights.narrow(axis, 1, weights.shape[axis] - 1)).mean()
    return loss


class Factors:
    """Standardised factors of renders that w shall hold linearly: values, and the square roots of their weights."""

    def __init__(self, renders: Renders):
        outputs = [o for o in outputs_of(renders.identity_names) if o.name not in MAPS and o.name != "landmarks_2d"]
        values = np.concatenate([targets_of(renders, o) for o in outputs], 1)
        emphasis = {"light": 4.0, "hair_style": 0.25, "hair_color": 0.25, "iris_color": 0.25}
        weights = np.concatenate([np.full(o.size, (emphasis.get(o.name, 1.0) * o.weight / o.size) ** 0.5)
                                  for o in outputs])
        self.mean, self.deviation = values.mean(0), np.maximum(values.std(0), 1e-4)
        self.values = torch.from_numpy(((values - self.mean) / self.deviation).astype(np.float32))
        self.weights = torch.from_numpy((weights / np.sqrt(np.mean(weights**2))).astype(np.float32))

    def linear_loss(self, predicted: Tensor, index: Tensor) -> Tensor:
        return ((predicted - self.values[index]) * self.weights).square().mean()


class Teacher:
    """Distance of pictures to renders in the activations of a regressor, which sees an expression where pixels hardly
    differ, and the distance of what it reads to the factors. A regressor that explains the share r2 of a factor's
    variance reads r2 times its deviation from the mean, so that is what it shall read."""

    def __init__(self, options: argparse.Namespace, factors: Factors):
        tensors, described = read_safetensors(options.teacher)
        self.regressor = Regressor.from_tensors(tensors)
        self.lesson, self.reading, self.factors = options.lesson, options.reading, factors
        share = [float(o["r2"]) for o in json.loads(described["outputs"]) for _ in range(o["size"])]
        self.share = torch.tensor(share[:factors.values.shape[1]]).clamp(min=0)
        self.mean, self.deviation = (torch.from_numpy(a.astype(np.float32)) for a in (factors.mean, factors.deviation))

    def __call__(self, made: Tensor, wanted: Tensor, index: Tensor, values: Dict[str, float]) -> Tensor:
        with torch.no_grad():
            targets = self.regressor.stages(wanted, BF16)
        stages = self.regressor.stages(made, BF16)
        lesson = torch.zeros([])
        for stage, target in zip(stages, targets):
            lesson = lesson + (stage - target).abs().float().mean() / target.abs().float().mean()
        read = self.regressor.dense[-1](stages[-1])[:, :len(self.share)]
        error = (read - self.mean) / self.deviation - self.share * self.factors.values[index]
        reading = (self.share * self.factors.weights * error).square().mean()
        values.update(lesson=lesson.item(), reading=reading.item())
        return self.lesson * lesson + self.reading * reading


class Pairs:
    """Codes and renders that belong together."""

    def __init__(self, renders: Renders, batch: int, seed: int, z_dim: int, team: Team):
        scores, _ = factor_scores(renders, CODE_SEED)
        self.codes = Codes(scores, z_dim, CODE_SEED)
        self.renders = renders
        self.table = region_weights(renders)
        self.order = Batches(len(renders), batch, seed)
        self.team = team

    def __call__(self, step: int) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """Indices, codes, pictures, weights of the pixels."""
        index = self.team.share(self.order(step))
        at = index.numpy()
        z = self.codes(index, torch.Generator().manual_seed(step * self.team.size + self.team.rank))
        weights = torch.from_numpy(self.table[self.renders["labels"][at]])[:, None]
        weights = F.avg_pool2d(F.max_pool2d(weights, 3, 1, 1), 3, 1, 1)  # a lip in the wrong place counts as well
        return index, z, from_bytes(self.renders["images"][at]), weights


def generator_groups(model: Generator, mapping_factor: float) -> List[Dict[str, Any]]:
    """The mapping network's stored weights are 100 times as large as they act, so its rate has a factor."""
    return [{"params": list(model.synthesis.parameters()), "factor": 1.0},
            {"params": list(model.mapping.parameters()), "factor": mapping_factor}]


def write_samples(model: Generator, path: str, count: int = 64) -> None:
    z = torch.randn(count, model.z_dim, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        write_png(path, sheet(to_bytes(model(z)), 16))


def teach_mapping(model: Generator, readout: torch.nn.Linear, pairs: Pairs, factors: Factors, steps: int) -> None:
    """Before any picture is made: w learns to hold the factors linearly. Takes seconds, and the synthesis network then
    starts with something to read."""
    optimizer = torch.optim.Adam([{"params": list(model.mapping.parameters()), "factor": 700.0},
                                  {"params": list(readout.parameters())}], betas=(0.9, 0.99))
    order = Batches(len(factors.values), 512, 5)
    total = 0.0
    for step in range(steps):
        index = order(step)
        w = model.mapping(pairs.codes(index, torch.Generator().manual_seed(step)))
        linear_loss = factors.linear_loss(readout(w), index)
        loss = linear_loss + 0.01 * w.mean(0).square().mean()  # no offset that all samples share
        set_rate(optimizer, 3e-3 * min(1.0, (step + 1) / 100) * cosine(step / steps, 1.0, 0.02))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += linear_loss.item()
        if (step + 1) % 500 == 0:
            print(f"mapping, step {step + 1} of {steps}  linear {total / 500:.4f}", flush=True)
            total = 0.0


def train_warm(options: argparse.Namespace, team: Team) -> None:
    renders = Renders(options.renders)
    torch.manual_seed(2)
    model = Generator()
    factors = Factors(renders)
    readout = torch.nn.Linear(model.w_dim, factors.values.shape[1])
    pairs = Pairs(renders, options.batch, 2, model.z_dim, team)
    if not os.path.exists(os.path.join(options.work, "warm.pt")):
        teach_mapping(model, readout, pairs, factors, 6000)
    ema = copy.deepcopy(model).requires_grad_(False)
    groups = generator_groups(model, 15.0) + [{"params": list(readout.parameters()), "factor": 0.5}]
    optimizer = torch.optim.Adam(groups, lr=options.rate, betas=(0.9, 0.99), eps=1e-8)
    trainer = Trainer(os.path.join(options.work, "warm.pt"), options.steps, options.batch, 100, team)
    trainer.restore(model=model, ema=ema, readout=readout, optimizer=optimizer)
    teacher = Teacher(options, factors) if options.teacher else None
    while trainer.step < trainer.steps:
        index, z, wanted, weights = pairs(trainer.step)
        w = model.mapping(z)
        made = model.synthesis(model.broadcast(w), "none", BF16)  # noise could only hurt here
        image_loss = picture_loss(made, wanted, weights)
        linear_loss = factors.linear_loss(readout(w), index)
        loss = image_loss + options.linear * linear_loss
        values = {"image": image_loss.item(), "linear": linear_loss.item()}
        if teacher:
            loss = loss + teacher(made, wanted, index, values)
        warm_up = min(1.0, (trainer.step + 1) / 200)
        set_rate(optimizer, warm_up * cosine(trainer.progress(), options.rate, 0.02 * options.rate))
        optimizer.zero_grad()
        loss.backward()
        team.average_gradients(optimizer)
        optimizer.step()
        trainer.step += 1
        average(ema, model, min(0.998, (1 + trainer.step) / (10 + trainer.step)))
        trainer.log(**values)
        if trainer.due(options.save):
            trainer.save(model=model, ema=ema, readout=readout, optimizer=optimizer)
            write_samples(ema, os.path.join(options.work, f"warm-{trainer.step:06d}.png"))


# ---- generator, adversarial ----------------------------------------------------------------------------------------


def real_pictures(bytes_: np.ndarray, random: torch.Generator) -> Tensor:
    """Renders without the steps of eight bits, by which a discriminator could tell them."""
    images = from_bytes(bytes_)
    return images + (torch.rand(images.shape, generator=random) - 0.5) / 127.5


def gradient_penalty(discriminator: Discriminator, images: Tensor) -> Tensor:
    """R1: the squared gradient of the score with respect to rendered pictures."""
    images = images.detach().requires_grad_(True)
    gradient, = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


class PathLength:
    """The regulariser of StyleGAN2: |J_w^T y| for a random picture y shall be the same everywhere."""

    def __init__(self, team: Team) -> None:
        self.mean, self.team = torch.zeros([]), team

    def __call__(self, generator: Generator, z: Tensor) -> Tuple[Tensor, Tensor]:
        ws = generator.broadcast(generator.mapping(z)).contiguous()
        images = generator.synthesis(ws, "random")
        y = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
        gradient, = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        average_length = self.team.mean(lengths.mean().detach().clone())
        if self.mean == 0:
            self.mean = average_length
        self.mean = torch.lerp(self.mean, average_length, 0.02)
        return (lengths - self.mean).square().mean(), average_length

    def state_dict(self) -> Dict[str, Tensor]:
        return {"mean": self.mean}

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        self.mean = state["mean"]


def mix_styles(generator: Generator, w: Tensor, other: Tensor, random: torch.Generator, probability: float) -> Tensor:
    """Rows of w from a random layer on are those of another code, for some of the samples."""
    ws = generator.broadcast(w)
    count, rows = ws.shape[0], generator.num_ws
    cut = torch.randint(1, rows, (count, 1), generator=random)
    cut = torch.where(torch.rand(count, 1, generator=random) < probability, cut, torch.full_like(cut, rows))
    return torch.where((torch.arange(rows)[None] < cut)[:, :, None], ws, generator.broadcast(other))


def train_adversarial(options: argparse.Namespace, team: Team) -> None:
    renders = Renders(options.renders)
    torch.manual_seed(3)
    model, discriminator, path_length = Generator(), Discriminator(), PathLength(team)
    ema = copy.deepcopy(model).requires_grad_(False)
    factors = Factors(renders)
    readout = torch.nn.Linear(model.w_dim, factors.values.shape[1])
    groups = generator_groups(model, options.mapping) + [{"params": list(readout.parameters()), "factor": 1.0}]
    optimizer = torch.optim.Adam(groups, lr=options.rate, betas=(0.0, 0.99))
    critic = torch.optim.Adam(discriminator.parameters(), lr=options.critic_rate, betas=(0.0, 0.99))
    trainer = Trainer(os.path.join(options.work, options.name + ".pt"), options.steps, options.batch, 100, team)
    if trainer.step:
        trainer.restore(model=model, ema=ema, readout=readout, discriminator=discriminator, path_length=path_length,
                        optimizer=optimizer, critic=critic)
    else:
        start = load_checkpoint(options.start or os.path.join(options.work, "warm.pt"))
        model.load_state_dict(start["ema"])
        ema.load_state_dict(start["ema"])
        readout.load_state_dict(start["readout"])
        if "discriminator" in start:
            discriminator.load_state_dict(start["discriminator"])
    batch = options.batch // team.size
    paired = int(options.paired * batch)
    pairs = Pairs(renders, paired * team.size, 4, model.z_dim, team)
    order = Batches(len(renders), options.batch, 3)
    teacher = Teacher(options, factors) if options.teacher else None
    judge = Judge(options.judge, options.heldout) if options.judge and team.leads else None
    torch.manual_seed(1000 * trainer.step + team.rank)
    while trainer.step < trainer.steps:
        random = torch.Generator().manual_seed(10**6 + trainer.step * team.size + team.rank)
        index, z, wanted, weights = pairs(trainer.step)
        free, other = (torch.randn(n, model.z_dim, generator=random) for n in 2 * [batch - paired])
        warming = trainer.step < options.warm_up
        w = model.mapping(torch.cat([z, free, other]))
        w, other = w[:batch], w[batch:]
        ws = torch.cat([model.broadcast(w[:paired]),
                        mix_styles(model, w[paired:], other, random, options.mixing)])
        made = model.synthesis(ws, "random", BF16)
        real = real_pictures(renders["images"][team.share(order(trainer.step)).numpy()], random)

        scores = discriminator(torch.cat([real, made.detach()]), BF16)
        real_scores, made_scores = scores[:batch], scores[batch:]
        loss = F.softplus(-real_scores).mean() + F.softplus(made_scores).mean()
        values = {"real": real_scores.mean().item(), "made": made_scores.mean().item()}
        if trainer.step % 16 == 0:
            penalty = gradient_penalty(discriminator, real)
            loss = loss + 16 * 0.5 * options.gamma * penalty
            values["r1"] = penalty.item() * 16
        decay = cosine(trainer.progress(), 1.0, 0.1)
        set_rate(critic, options.critic_rate * decay)
        critic.zero_grad()
        loss.backward()
        team.average_gradients(critic)
        critic.step()

        anchor = picture_loss(made[:paired], wanted, weights)
        linear = factors.linear_loss(readout(w[:paired]), index)
        loss = options.anchor * anchor + options.linear * linear
        values.update(anchor=anchor.item(), linear=linear.item())
        if teacher:
            loss = loss + teacher(made[:paired], wanted, index, values)
        if not warming:
            discriminator.requires_grad_(False)
            layers = discriminator.layers(made, BF16)
            fooled = F.softplus(-discriminator.judge(layers)).mean()
            with torch.no_grad():
                wanted_layers = discriminator.layers(wanted, BF16)
            matching = sum((a[:paired] - b).abs().float().mean() for a, b in zip(layers, wanted_layers))
            loss = loss + fooled + options.matching * matching
            values.update(fooled=fooled.item(), matching=matching.item())
            if trainer.step % 8 == 0:
                penalty, length = path_length(model, free[:max(2, batch // 4)])
                loss = loss + 8 * options.path_weight * penalty
                values.update(path=length.item() * 8, path_penalty=penalty.item() * 8)
        set_rate(optimizer, options.rate * decay)
        optimizer.zero_grad()
        loss.backward()
        team.average_gradients(optimizer)
        optimizer.step()
        discriminator.requires_grad_(True)
        average(ema, model, 0.998)
        trainer.step += 1
        trainer.log(**values)
        if trainer.due(options.save):
            trainer.save(model=model, ema=ema, readout=readout, discriminator=discriminator, path_length=path_length,
                         optimizer=optimizer, critic=critic)
            torch.save({"ema": ema.state_dict(), "step": trainer.step},
                       os.path.join(options.work, f"{options.name}-{trainer.step:06d}.pt"))
            write_samples(ema, os.path.join(options.work, f"{options.name}-{trainer.step:06d}.png"))
            if judge:
                print(judge(ema), flush=True)


class Judge:
    """Frechet distances and variety of a generator during training; evaluate_faces.py says more."""

    def __init__(self, regressor: str, heldout: str, count: int = 2500):
        self.count = count
        self.spaces = feature_spaces(Regressor.from_tensors(read_safetensors(regressor)[0]))
        renders = Renders(heldout)["images"][:count]
        self.truth = {name: features_of(space, from_bytes(renders)) for name, space in self.spaces.items()}

    @torch.no_grad()
    def __call__(self, model: Generator) -> str:
        z = torch.randn(self.count, model.z_dim, generator=torch.Generator().manual_seed(6))
        images = torch.cat([model(part) for part in z.split(250)])
        images = from_bytes(to_bytes(images))
        parts = []
        for name, space in self.spaces.items():
            made = features_of(space, images)
            parts.append(f"{name}: distance {frechet_distance(self.truth[name], made):.4f}, "
                         f"variety {total_variance(made) / total_variance(self.truth[name]):.3f}")
        return "judged: " + "; ".join(parts)


# ---- export --------------------------------------------------------------------------------------------------------


def export_generator(options: argparse.Namespace) -> None:
    """Writes the averaged generator of a checkpoint with NVIDIA's names, large tensors as F16."""
    state = load_checkpoint(options.checkpoint)
    model = Generator()
    model.load_state_dict(state["ema"])
    with torch.no_grad():
        z = torch.randn(100000, model.z_dim, generator=torch.Generator().manual_seed(7))
        model.mapping.w_avg.copy_(model.mapping(z).mean(0))
    tensors = {}
    for name, tensor in model.state_dict().items():
        array = tensor.detach().contiguous().numpy()
        large = name.endswith(("weight", "const", "noise_const")) and array.size > 256
        tensors[name] = array.astype(np.float16 if large else np.float32)
    path = os.path.join(options.data, "faces64.safetensors")
    write_safetensors(path, tensors, {
        "format": "stylegan2", "resolution": "64",
        "origin": f"tools/train_faces.py, trained on renders of the face world; {options.note or 'no note'}"})
    print(f"{path}: {sum(a.size for a in tensors.values())} numbers, {os.path.getsize(path)} bytes")


# ---- command line --------------------------------------------------------------------------------------------------


def parse(arguments: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text,
                                   formatter_class=argparse.ArgumentDefaultsHelpFormatter)

    one = command("render", "renders faces and packs them")
    one.add_argument("--face-world", required=True, help="the program face_world")
    one.add_argument("--out", required=True, help="folder for the packed renders")
    one.add_argument("--count", type=int, default=50000, help="number of faces")
    one.add_argument("--seed", type=int, default=101, help="seed of the first 5000 faces; the next ones have the next")

    def training(name: str, text: str, steps: int, batch: int, rate: float, save: int) -> argparse.ArgumentParser:
        one = command(name, text)
        one.add_argument("--renders", required=True, help="packed renders to train on")
        one.add_argument("--work", required=True, help="folder for checkpoints and sample sheets")
        one.add_argument("--steps", type=int, default=steps, help="training steps")
        one.add_argument("--batch", type=int, default=batch, help="pictures per step")
        one.add_argument("--rate", type=float, default=rate, help="learning rate at the beginning")
        one.add_argument("--save", type=int, default=save, help="steps between checkpoints")
        one.add_argument("--processes", type=int, default=2, help="processes of one thread each that share every batch")
        return one

    def add_teacher(one: argparse.ArgumentParser) -> None:
        one.add_argument("--teacher", help="regressor in whose activations pictures shall agree with renders")
        one.add_argument("--lesson", type=float, default=0.5, help="weight of that agreement")
        one.add_argument("--reading", type=float, default=0.5, help="weight of what it reads against the factors")

    one = training("regressor", "image -> factors, landmarks, coarse maps", 6800, 64, 2e-3, 1000)
    one.add_argument("--heldout", required=True, help="packed renders to judge by")
    one.add_argument("--out", default="data/face_factors.safetensors", help="file to write at the end")
    one.add_argument("--name", default="regressor", help="name of the checkpoint")
    one.add_argument("--seed", type=int, default=1, help="seed of the weights and of the order of the renders")
    one = training("warm", "generator, supervised", 9500, 32, 1e-2, 500)
    one.add_argument("--linear", type=float, default=0.5, help="weight of the linear readout of factors from w")
    add_teacher(one)
    one = training("adversarial", "generator against a discriminator", 3000, 32, 1.5e-3, 250)
    add_teacher(one)
    one.add_argument("--start", help="checkpoint to begin with (default: warm.pt of the folder)")
    one.add_argument("--name", default="adversarial", help="name of the checkpoints")
    one.add_argument("--critic-rate", type=float, default=3e-3, help="learning rate of the discriminator")
    one.add_argument("--mapping", type=float, default=5.0, help="factor of the mapping network's learning rate")
    one.add_argument("--gamma", type=float, default=0.5, help="weight of R1")
    one.add_argument("--path-weight", type=float, default=1.0, help="weight of the path length regulariser")
    one.add_argument("--mixing", type=float, default=0.5, help="share of mixed styles among free codes")
    one.add_argument("--paired", type=float, default=0.75, help="share of a batch that are codes of renders")
    one.add_argument("--anchor", type=float, default=1.0, help="weight of the supervised loss on pairs")
    one.add_argument("--matching", type=float, default=2.0,
                     help="weight of the distance of pairs in the discriminator's activations")
    one.add_argument("--linear", type=float, default=0.1, help="weight of the linear readout of factors from w")
    one.add_argument("--warm-up", type=int, default=150, help="steps that train the discriminator alone")
    one.add_argument("--judge", help="regressor in whose features to measure Frechet distances at each checkpoint")
    one.add_argument("--heldout", help="packed renders to judge by")
    one = command("export", "checkpoint -> faces64.safetensors")
    one.add_argument("--checkpoint", required=True, help="checkpoint of warm or adversarial")
    one.add_argument("--data", default="data", help="folder for faces64.safetensors")
    one.add_argument("--note", help="more words for the metadata")
    options = parser.parse_args(arguments)
    if options.command == "adversarial" and options.judge and not options.heldout:
        parser.error("--judge needs --heldout")
    return options


def train(rank: int, options: argparse.Namespace, meeting_point: str) -> None:
    """One process of a training run."""
    torch.set_num_threads(1)
    team = Team(rank, options.processes, meeting_point)
    {"regressor": train_regressor, "warm": train_warm, "adversarial": train_adversarial}[options.command](options, team)


def main(arguments: List[str]) -> int:
    options = parse(arguments)
    try:
        if options.command == "render":
            render(options.face_world, options.out, options.count, options.seed)
            return 0
        if options.command == "export":
            export_generator(options)
            return 0
        if options.batch % (2 * options.processes):
            raise FileError(f"--batch {options.batch} cannot be shared by {options.processes} processes")
        os.makedirs(options.work, exist_ok=True)
        if options.processes == 1:
            train(0, options, "")
        else:
            with tempfile.TemporaryDirectory() as folder:
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes below end too
                multiprocessing.spawn(train, (options, os.path.join(folder, "meeting")), options.processes, daemon=True)
    except FileError as error:
        print(f"train_faces: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
