"""The network that DARTS unfolds a genotype to (Liu et al. 2019), and its variants.

A stem, `depth` cells, a global average pool and a classifier. The cells at `depth // 3` and `2 * depth // 3` reduce:
they double the channels, and operations on their inputs have stride 2. Each cell brings its inputs to its own channels
by ReLU-conv1x1-BN, the older one after a reduction by a factorised reduction. Convolutions have no bias.

Operations: `conv_KxK` and the two halves of `conv_Kx1_1xK` (1xK first, one BN at the end) behind one ReLU; `sep_conv`
twice ReLU, depthwise, 1x1, BN; `dil_conv` once, with dilation 2; `dil_sep_conv` twice with dilation 2; pools, whose
averages leave the padding out; `skip_connect`, with stride 2 a factorised reduction; `none`. A `none` of stride 2 is
a zero without inputs, since a zero with one has its shape.

The auxiliary head of training (ReLU, average pool, conv1x1 to 128, BN, ReLU, conv2x2 to 768, BN, ReLU, classifier,
behind the second reduction) is off the forward path and counts as parameters outside.
"""

import re
from dataclasses import dataclass

from archgauge.families._genotypes import Genotype, Wiring
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import BATCH_NORM_EPS, Kind, KindTable

_OPERATION = re.compile(r"(max_pool|avg_pool|conv|sep_conv|dil_conv|dil_sep_conv)_(\d)x(\d)(_1x\d)?")
_SEPARABLE = {"sep_conv": (1, 2), "dil_conv": (2, 1), "dil_sep_conv": (2, 2)}
"""Operation -> (dilation, how often)."""

IMAGES = {"cifar": (32, 10), "imagenet": (224, 1000)}
"""Data set -> (pixels of an edge, classes)."""


@dataclass(frozen=True)
class Plan:
    """How a genotype is unfolded.

    Attributes:
        width: channels of the first cell.
        depth: number of cells.
        images: "cifar" (one stem of 3 x width channels) or "imagenet" (three strided convolutions).
        auxiliary: whether the auxiliary head counts.
        affine: whether the batch norms inside operations have scale and shift; those of stem and inputs always have.
        pool_norm: whether a batch norm follows each pool.
        padded_reduction: whether a factorised reduction pads one pixel, so that odd sizes work.
        two_stems: whether both inputs of the first cell have a stem of `width` channels of their own, conv-ReLU-BN,
            and the classifier is a convolution without bias (GENNAPE's network).
        eps: of all batch norms.
    """

    width: int
    depth: int
    images: str = "cifar"
    auxiliary: bool = False
    affine: bool = True
    pool_norm: bool = False
    padded_reduction: bool = False
    two_stems: bool = False
    eps: float = BATCH_NORM_EPS


def unfold(genotype: Genotype, plan: Plan, kinds: KindTable) -> Graphs:
    """The computation graph of a genotype."""
    build = GraphBuilder(kinds)
    pixels, classes = IMAGES[plan.images]
    image = build.input(pixels, pixels, 3)
    older, newer = _stems(build, image, plan)
    channels, reductions = plan.width, (plan.depth // 3, 2 * plan.depth // 3)
    reduced = plan.images == "imagenet"
    for position in range(plan.depth):
        reduces = position in reductions
        channels *= 1 + reduces
        cell = genotype.reduce if reduces else genotype.normal
        inputs = _inputs(build, older, newer, channels, reduced, plan)
        older, newer = newer, _cell(build, cell, inputs, 1 + reduces, plan)
        reduced = reduces
        if plan.auxiliary and position == reductions[1]:
            build.params_outside = auxiliary_params(build.shape(newer)[2], plan.images)
    x = build.global_avg_pool(newer)
    build.output(build.conv(x, classes, 1) if plan.two_stems else build.linear(x, classes))
    return build.finish()


def auxiliary_params(channels: int, images: str) -> int:
    """Parameters of the auxiliary head on `channels`. The one for ImageNet lacks its second BN, as DARTS' has it."""
    classes = IMAGES[images][1]
    norms = 2 * 128 + (2 * 768 if images == "cifar" else 0)
    return channels * 128 + 128 * 768 * 4 + norms + 768 * classes + classes


def _stems(build: GraphBuilder, image: Value, plan: Plan) -> tuple[Value, Value]:
    width = plan.width
    if plan.two_stems:
        stems = [build.same("relu", build.conv(image, width, 3)) for _ in range(2)]
        first, second = (build.batch_norm(stem, eps=plan.eps) for stem in stems)
        return first, second
    if plan.images == "cifar":
        stem = build.batch_norm(build.conv(image, 3 * width, 3), eps=plan.eps)
        return stem, stem
    x = build.batch_norm(build.conv(image, width // 2, 3, stride=2), eps=plan.eps)
    x = build.batch_norm(build.conv(build.same("relu", x), width, 3, stride=2), eps=plan.eps)
    return x, build.batch_norm(build.conv(build.same("relu", x), width, 3, stride=2), eps=plan.eps)


def _inputs(build: GraphBuilder, older: Value, newer: Value, channels: int, reduced: bool, plan: Plan) -> list[Value]:
    """Both inputs of a cell at its own channels; the older is larger when the cell before it reduced."""
    if reduced:
        first = _factorised_reduction(build, older, channels, True, plan)
    else:
        first = _conv(build, older, channels, plan)
    return [first, _conv(build, newer, channels, plan)]


def _conv(build: GraphBuilder, x: Value, channels: int, plan: Plan) -> Value:
    return build.batch_norm(build.conv(build.same("relu", x), channels, 1), eps=plan.eps)


def _cell(build: GraphBuilder, cell: Wiring, inputs: list[Value], stride: int, plan: Plan) -> Value:
    values = list(inputs)
    for node in cell.nodes:
        terms = [
            operation(build, values[source], name, stride if source < len(inputs) else 1, plan) for name, source in node
        ]
        values.append(build.add(terms))
    return build.concat([values[node] for node in cell.concat])


def operation(build: GraphBuilder, x: Value, name: str, stride: int, plan: Plan) -> Value:
    """Add one operation of a cell."""
    if name == "skip_connect":
        channels = build.shape(x)[2]
        return x if stride == 1 else _factorised_reduction(build, x, channels, plan.affine, plan)
    if name == "none":
        return build.same("zero", x) if stride == 1 else _strided_zero(build, x, stride)
    match = _OPERATION.fullmatch(name)
    assert match is not None  # the spaces name no other
    form, kernel, factorised = match[1], int(match[2]), match[4]
    if form in ("max_pool", "avg_pool"):
        pooled = build.pool(x, form, kernel, stride=stride)
        return build.batch_norm(pooled, affine=plan.affine, eps=plan.eps) if plan.pool_norm else pooled
    if form in _SEPARABLE:
        return _separable(build, x, kernel, stride, *_SEPARABLE[form], plan)
    channels = build.shape(x)[2]
    y = build.same("relu", x)
    if factorised:
        y = build.conv(y, channels, (1, kernel), stride=(1, stride))
        y = build.conv(y, channels, (kernel, 1), stride=(stride, 1))
    else:
        y = build.conv(y, channels, kernel, stride=stride)
    return build.batch_norm(y, affine=plan.affine, eps=plan.eps)


def _separable(build: GraphBuilder, x: Value, kernel: int, stride: int, dilation: int, times: int, plan: Plan) -> Value:
    channels = build.shape(x)[2]
    for step in (stride, 1)[:times]:
        x = build.same("relu", x)
        x = build.conv(x, channels, kernel, stride=step, dilation=dilation, groups=channels)
        x = build.batch_norm(build.conv(x, channels, 1), affine=plan.affine, eps=plan.eps)
    return x


def _factorised_reduction(build: GraphBuilder, x: Value, channels: int, affine: bool, plan: Plan) -> Value:
    """Two 1x1 convolutions of stride 2 side by side, the second one pixel further along both axes."""
    x = build.same("relu", x)
    shifted = build.pad(x, 0, 1, 0, 1) if plan.padded_reduction else x
    height, width, _ = build.shape(shifted)
    shifted = build.slice(build.slice(shifted, "height", 1, height), "width", 1, width)
    halves = [build.conv(half, channels // 2, 1, stride=2) for half in (x, shifted)]
    return build.batch_norm(build.concat(halves), affine=affine, eps=plan.eps)


def _strided_zero(build: GraphBuilder, x: Value, stride: int) -> Value:
    height, width, channels = build.shape(x)
    return build.node(Kind("zero", (), ((-(-height // stride), -(-width // stride), channels),)), ())
