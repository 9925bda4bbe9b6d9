"""Images for realised networks: random ones, or CIFAR-10's in the official binary layout."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from archgauge.errors import FormatError, GraphError
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import Shape

CIFAR10_SHAPE: Shape = (32, 32, 3)
TRAINING, TEST = "data_batch_*.bin", "test_batch.bin"
_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the 50,000 training images, by channel
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue pixels


@dataclass(frozen=True)
class Batch:
    """B images (B, C, H, W) float32, and their classes (B,) int64."""

    images: Tensor
    labels: Tensor


def shapes(graph: Graphs) -> tuple[Shape, int]:
    """The shape (H, W, C) of the one input of a graph, and the number of classes that it tells apart.

    Raises:
        GraphError: when the network is no classifier of one image.
    """
    read = [graph.kinds[int(kind)] for kind in graph.kind[graph.having("input")]]
    given = [graph.kinds[int(kind)] for kind in graph.kind[graph.having("output")]]
    if len(read) != 1 or len(given) != 1 or given[0].inputs[0][:2] != (1, 1):
        raise GraphError(
            "the network that a proxy looks at",
            where="archgauge.proxies",
            expected="one image in, one vector of logits out",
            got=f"inputs {[kind.outputs[0] for kind in read]}, outputs {[kind.inputs[0] for kind in given]}",
            remedy="Leave this architecture out, or trace the model without its other inputs and outputs.",
        )
    return read[0].outputs[0], given[0].inputs[0][2]


def random_batch(shape: Shape, classes: int, size: int, seed: int) -> Batch:
    """Standard normal images of `shape` (H, W, C) and uniform classes."""
    rng = torch.Generator().manual_seed(seed)
    height, width, channels = shape
    images = torch.empty(size, channels, height, width).normal_(generator=rng)
    return Batch(images, torch.randint(classes, (size,), generator=rng))


def cifar10_batch(folder: Path, size: int | None, seed: int, pattern: str = TRAINING) -> Batch:
    """Distinct images, standardised by channel.

    Args:
        folder: holds the official files, records of 1 label byte and 3,072 pixel bytes.
        size: how many are drawn; None takes all, in a drawn order.
        pattern: of the names of the files, `TRAINING` or `TEST`.

    Raises:
        FormatError: when there are too few, or a file is not in this layout.
    """
    files = batch_files(folder, pattern)
    wrong = [path.name for path in files if path.stat().st_size % _RECORD]
    if wrong:
        raise _bad(folder, f"{pattern} of records of {_RECORD} bytes", ", ".join(wrong))
    parts = [np.fromfile(path, np.uint8).reshape(-1, _RECORD) for path in files]
    rows = np.concatenate(parts)
    size = len(rows) if size is None else size
    if len(rows) < size or rows[:, 0].max() > 9:
        raise _bad(
            folder, f"at least {size} images of classes 0 to 9", f"{len(rows)} of 0 to {rows[:, 0].max(initial=0)}"
        )
    drawn = rows[np.random.default_rng(seed).choice(len(rows), size, replace=False)]
    pixels = torch.from_numpy(drawn[:, 1:].reshape(size, 3, 32, 32)).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
    return Batch((pixels - mean) / std, torch.from_numpy(drawn[:, 0].astype(np.int64)))


def batch_files(folder: Path, pattern: str = TRAINING) -> list[Path]:
    """The files of training (or test) images in a folder.

    Raises:
        FormatError: when there are none.
    """
    files = sorted(folder.glob(pattern))
    if not files:
        raise _bad(folder, f"files {pattern}", "none")
    return files


def _bad(folder: Path, expected: str, got: str) -> FormatError:
    return FormatError(
        "CIFAR-10 in the binary layout",
        where=folder,
        expected=expected,
        got=got,
        remedy="Give the folder of the official cifar-10-binary.tar.gz, cifar-10-batches-bin.",
    )
