"""Training the network of a computation graph on CIFAR-10, to measure what a search has found.

GENNAPE's Table 7 names no recipe. `config.yaml` has the one by which the paper labels HiAML and Two-Path (supplement):
SGD with Nesterov momentum, a cosine schedule over all steps, label smoothing; the usual crops and flips are ours.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from archgauge.errors import ConfigError
from archgauge.files import sha256
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs
from archgauge.proxies.images import CIFAR10_SHAPE, TEST, TRAINING, Batch, batch_files, cifar10_batch, shapes
from archgauge.proxies.network import initialised
from archgauge.resume import read_resume, write_resume

CROP_PIXELS = 4
"""Zeros around an image before it is cropped to its size again."""

TEST_BATCH = 250
Report = Callable[[str, float, int], None]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        images, test_images: how many are drawn; None takes all.
        epochs, batch_size: of SGD.
        learning_rate, final_learning_rate: at the first and after the last step.
        momentum, weight_decay, label_smoothing: as usual.
    """

    images: int | None
    test_images: int | None
    epochs: int
    batch_size: int
    learning_rate: float
    final_learning_rate: float
    momentum: float
    weight_decay: float
    label_smoothing: float


def label_of(recipe: Recipe, seed: int) -> str:
    """The name of the accuracy, as LABELS tells it."""
    images = "" if recipe.images is None else f"+{recipe.images}images"
    return f"cifar10/test@{recipe.epochs}/run{seed}{images}"


def trained_accuracy(
    graph: Graphs,
    recipe: Recipe,
    folder: Path,
    *,
    seed: int,
    device: str,
    resume: Path,
    fingerprint: str = "",
    report: Report = lambda name, value, step: None,
) -> float:
    """Train one network from scratch and test it once, at the end.

    The state is written to `resume` after each epoch; the caller removes the file when it has written the result. A run
    that finds the file of the same network, recipe, images and fingerprint goes on from there, to the same weights (bit
    for bit on a CPU). A file of another run, or a damaged one, is warned about and replaced.

    Args:
        graph: a classifier of images of 32 x 32 pixels into at least 10 classes.
        folder: of CIFAR-10 in the official binary layout.
        seed: of the drawn images, the initial weights, the order of images, crops and flips.
        report: gets the mean loss and the learning rate of each epoch, and the accuracy at the end.

    Returns:
        Top-1 accuracy on the test images, in percent.

    Raises:
        ConfigError: when the network is for other images.
        FormatError: when the folder does not hold CIFAR-10.
    """
    _check(graph, folder)
    identity = _identity(graph, recipe, folder, seed, fingerprint)
    loop = _Loop(graph, recipe, cifar10_batch(folder, recipe.images, seed), seed, device)
    loop.restore(resume, identity)
    with tqdm(total=recipe.epochs, initial=loop.epoch, desc="training", unit="epoch", mininterval=1) as bar:
        while loop.epoch < recipe.epochs:
            loss = loop.advance()
            loop.save(resume, identity)
            report("training/loss", loss, loop.epoch)
            report("training/learning_rate", loop.learning_rate, loop.epoch)
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()
    accuracy_pct = loop.accuracy_pct(cifar10_batch(folder, recipe.test_images, seed, TEST))
    report("training/test_accuracy_pct", accuracy_pct, loop.epoch)
    return accuracy_pct


class _Loop:
    """Everything that an epoch changes."""

    def __init__(self, graph: Graphs, recipe: Recipe, data: Batch, seed: int, device: str):
        self.recipe, self.device = recipe, device
        self.images, self.labels = data.images.to(device), data.labels.to(device)
        self.network = initialised(graph, seed).to(device)
        self.optimiser = torch.optim.SGD(
            self.network.parameters(),
            recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay,
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = 0

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return self.optimiser.param_groups[0]["lr"]

    def advance(self) -> float:
        """One epoch; its mean loss. A last batch of one image is left out: batch norm cannot learn from it."""
        order = torch.randperm(len(self.images), generator=self.generator)
        batches = [rows for rows in order.split(self.recipe.batch_size) if len(rows) > 1]
        losses = []
        for place, rows in enumerate(batches):
            self._schedule((self.epoch + place / len(batches)) / self.recipe.epochs)
            rows = rows.to(self.device)
            logits = self.network(augmented(self.images[rows], self.generator)).flatten(1)
            loss = F.cross_entropy(logits, self.labels[rows], label_smoothing=self.recipe.label_smoothing)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            losses.append(loss.detach())
        self.epoch += 1
        return torch.stack(losses).mean().item()

    def accuracy_pct(self, test: Batch) -> float:
        """Top-1 accuracy on images that were not trained on."""
        self.network.eval()
        right = 0
        with torch.inference_mode():
            parts = zip(test.images.split(TEST_BATCH), test.labels.split(TEST_BATCH), strict=True)
            for images, labels in parts:
                found = self.network(images.to(self.device)).flatten(1).argmax(1)
                right += int((found.cpu() == labels).sum())
        return 100 * right / len(test.labels)

    def _schedule(self, progress: float) -> None:
        first, last = self.recipe.learning_rate, self.recipe.final_learning_rate
        self.optimiser.param_groups[0]["lr"] = last + (first - last) * (1 + math.cos(math.pi * progress)) / 2

    def save(self, path: Path, identity: str) -> None:
        """Write all of it, whole or not at all."""
        content = {
            "identity": identity,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
        }
        write_resume(path, content)

    def restore(self, path: Path, identity: str) -> None:
        """Go on from what `save` wrote in a run of the same identity; otherwise change nothing."""
        content = read_resume(path, identity, "training")
        if content is None:
            return
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.generator.set_state(content["generator"])
        self.epoch = content["epoch"]


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random crops of padded images, half of them mirrored: (B, C, H, W) to the same shape."""
    count, _, height, width = images.shape
    padded = F.pad(images, [CROP_PIXELS] * 4)
    top, left = torch.randint(2 * CROP_PIXELS + 1, (2, count, 1), generator=generator).to(images.device)
    mirrored = torch.rand(count, 1, generator=generator).to(images.device) < 0.5
    across = torch.arange(width, device=images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.where(mirrored, across.flip(0), across)
    picked = torch.arange(count, device=images.device)[:, None, None]
    return padded.movedim(1, 3)[picked, rows[:, :, None], columns[:, None, :]].movedim(3, 1).contiguous()


def _check(graph: Graphs, folder: Path) -> None:
    shape, classes = shapes(graph)
    if shape != CIFAR10_SHAPE or classes < 10:
        raise ConfigError(
            "the network to train on CIFAR-10",
            where=folder,
            expected=f"one for images of (H, W, C) = {CIFAR10_SHAPE} and at least 10 classes",
            got=f"one for {shape} and {classes} classes",
            remedy="Set this family's training to null: its network is for other images.",
        )


def _identity(graph: Graphs, recipe: Recipe, folder: Path, seed: int, fingerprint: str) -> str:
    files = [sha256(path) for pattern in (TRAINING, TEST) for path in batch_files(folder, pattern)]
    settings = [canonical_hash(graph).tolist(), asdict(recipe), files, seed, fingerprint]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
