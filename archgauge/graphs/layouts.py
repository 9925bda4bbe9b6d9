"""How the axes of a tensor are read: which one is the batch, and what (H, W, C) the others are.

A model is traced with a batch of `BATCH` samples: on the meta device that costs nothing, and because no other size is
a multiple of this prime, the batch is recognised wherever it stands, also folded into another axis.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod

from archgauge.graphs.operations import Shape

BATCH = 1_000_003
Sizes = tuple[int, ...]


def shape_of(sizes: Sequence[int]) -> Shape:
    """(H, W, C) of (B, C, H, W), (B, N, C), (B, C), (B): the last two axes are H, W, the others before them are C.

    The batch may stand anywhere; (8B, N, M) has C = 8. A tensor without a batch is read as one sample, with or without
    an axis of length 1 in its place.
    """
    rest = _sample(tuple(sizes))
    match len(rest):
        case 0:
            return 1, 1, 1
        case 1:
            return 1, 1, rest[0]
        case 2:
            return rest[0], 1, rest[1]
    return rest[-2], rest[-1], prod(rest[:-2])


def channels_last(sizes: Sequence[int]) -> Shape:
    """(H, W, C) of what a linear layer reads: (B, C), (B, N, C), (B, H, W, C); N counts the tokens of more axes."""
    rest = _sample(tuple(sizes))
    if len(rest) == 3:
        return rest[0], rest[1], rest[2]
    return prod(rest[:-1]), 1, rest[-1] if rest else 1


def batched(sizes: Sequence[int]) -> bool:
    """Whether the first axis is the batch, and it alone."""
    return bool(sizes) and sizes[0] == BATCH


def counted(size: int) -> int | str:
    """A size as `extra` holds it: "8B" for 8 batches.

    Raises:
        ValueError: as `check_no_batch` does.
    """
    if size and not isinstance(size, bool) and size % BATCH == 0:
        return "B" if size == BATCH else f"{size // BATCH}B"
    check_no_batch(size)
    return size


def check_no_batch(number: float) -> None:
    """Check that a number does not depend on how large the batch is, as far as that shows.

    Raises:
        ValueError: when it is a multiple of the batch and one or two more or less, or half a batch.
    """
    from_batch = abs(number) >= BATCH - 2 and number % BATCH in (1, 2, BATCH - 2, BATCH - 1)
    if from_batch or abs(number) in (BATCH // 2, BATCH // 2 + 1):
        raise ValueError("a number or size in the model follows from that of the batch and is no multiple of it")


def resolved(size: int | str, batch: int) -> int:
    """The inverse of `counted` for a batch of some size."""
    return int(size[:-1] or 1) * batch if isinstance(size, str) else size


def copies(sizes: Sequence[int]) -> int:
    """How often a layer over the channels of (B, C) or (B, C, H, W) runs side by side in one sample.

    (8B, C, H, W) has 8 images in a sample, which pass one layer; the vectors of (8B, C) are 8 tokens of one pass. 0
    where the first axis does not hold the whole batch, or the axes are others.
    """
    if len(sizes) not in (2, 4) or any(size % BATCH == 0 for size in sizes[1:]):
        return 0
    if len(sizes) == 2:
        return 1
    return sizes[0] // BATCH if sizes[0] % BATCH == 0 else sizes[0]


def leading(sizes: Sizes, rank: int) -> Sizes:
    """Sizes with axes of length 1 before them, as broadcasting has it."""
    return (*[1] * (rank - len(sizes)), *sizes)


def broadcast_sizes(realised: Sequence[Sizes], own: Sequence[Sizes], result: Sizes) -> Sizes | None:
    """The sizes of what an operation element by element makes of values; None where they need their own sizes first.

    There a (B, C) meets an image as (B, C, 1, 1).

    Args:
        realised: the sizes that each value has in the realised network.
        own: the sizes that it has in the model.
        result: the sizes of the model's result.
    """
    image, rank = any(len(sizes) == 4 for sizes in realised), len(result)
    met = [(*sizes, 1, 1) if image and len(sizes) == 2 else sizes for sizes in realised]
    padded = [leading(sizes, rank) for sizes in met]
    fits = all(len(sizes) == rank for sizes in padded) and all(
        mine in (theirs, 1)
        for sizes, each in zip(padded, own, strict=True)
        for mine, theirs in zip(sizes, leading(each, rank), strict=True)
    )
    if fits and tuple(map(max, zip(*padded, strict=True))) == result:
        return result
    vectors = all(
        len(sizes) == 2 and sizes[0] in (1, BATCH) and sizes == vector(each)
        for sizes, each in zip(met, own, strict=True)
    )
    return vector(result) if vectors else None


def vector(sizes: Sequence[int]) -> Sizes:
    """(B, C) of a vector in the form of an image with one pixel; other sizes as they are."""
    return tuple(sizes[:2] if len(sizes) == 4 and sizes[2] == sizes[3] == 1 else sizes)


def default_sizes(shape: Shape) -> Sizes:
    """The axes behind the batch that a shape stands for: (C,) of a vector, (N, C) of tokens, (C, H, W) of an image."""
    height, width, channels = shape
    if width == 1:
        return (channels,) if height == 1 else (height, channels)
    return channels, height, width


def axis_name(rank: int, axis: int) -> str | None:
    """What an axis of a batched tensor is called; None for the batch and for axes without a name."""
    return _AXES.get(rank, ())[axis - 1] if 0 < axis < rank <= 4 else None


def axis_number(rank: int, name: str) -> int:
    """The inverse of `axis_name`."""
    return _AXES[rank].index(name) + 1


_AXES = {2: ("channels",), 3: ("height", "channels"), 4: ("channels", "height", "width")}


@lru_cache(10_000)
def _sample(sizes: Sizes) -> Sizes:
    """The sizes of one sample's axes.

    Raises:
        ValueError: as `check_no_batch` does.
    """
    for axis, size in enumerate(sizes):
        if size and size % BATCH == 0:
            folded = (size // BATCH,) if size > BATCH else ()
            rest = (*sizes[:axis], *folded, *sizes[axis + 1 :])
            return tuple(other // BATCH if other and other % BATCH == 0 else other for other in rest)
    for size in sizes:
        check_no_batch(size)
    return sizes[1:] if len(sizes) > 1 and sizes[0] == 1 else sizes
