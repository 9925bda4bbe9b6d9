"""Two-Path (Mills et al. 2023, "GENNAPE", arXiv 2211.17226): two independent paths of blocks on one stem.

A path has two to four blocks, of which exactly two reduce (stride 2, twice the channels). A block is a sequence of one
to three operators: at least one of `CONV_OPERATORS`, at most one of `SUPPLEMENTARY_OPERATORS`. Its first convolution
operator takes the stride and the change of channels; operators before it run on the block's input channels. A block
that does not reduce adds its input at its end.

The spec is `<path>|<path>`, a path is `<block>,<block>...`, a block is `<operator>+<operator>...` with `/2` behind it
where it reduces:
`conv3x3+avgpool3x3/2,conv3x3/2|conv5x5/2,conv1x1+conv3x3,inception_s3x3/2`. The paths are sorted, because they meet in
a concatenation that is read by one convolution: swapping them permutes its input channels. So there are
P (P + 1) / 2 = `SIZE` specs over the P = 1624^2 + 3 * 1624^3 + 6 * 1624^4 paths. Some of them still are one network: in
a block of stride 1, `double3x3` is `conv3x3+conv3x3`; their graphs have one canonical hash.
The `arch_id` is `two_path/<16 hexadecimal digits>`, a hash of the spec, which is too long for a name.

The network, on CIFAR-10 images of 32x32: a stem of two 3x3 convolutions of 32 channels, the second with stride 2, the
two paths, which end in 128 channels at 4x4, their concatenation, a 3x3 convolution of 512 channels, a global average
pool and a classifier. The dropout before it has rate 0 and is no node.

Parameters, MACs and operations equal those of the authors' network on all 200 rows of the truth table. The authors
publish no counts of their own for this family. Labels: see `archgauge.families._gennape_labels`.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from itertools import combinations, product
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from archgauge.download import Remote
from archgauge.errors import SpecError
from archgauge.families import _common, _gennape_labels
from archgauge.families._gennape_blocks import IMAGE_PIXELS, classifier, conv_bn, draw_operators, pool_bn, separable
from archgauge.graphs.builder import GraphBuilder, Value
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

FAMILY = "two_path"
CONV_OPERATORS = (
    *("conv3x3", "double3x3", "conv5x5", "bottleneck-r2-k3", "bottleneck-r4-k3", "bottleneck-e2-k3"),
    *("inception_s3x3", "inception_s5x5"),
)
SUPPLEMENTARY_OPERATORS = ("conv1x1", "bottleneck-r2-k1", "bottleneck-e2-k1", "avgpool3x3", "maxpool3x3")
OPERATORS = CONV_OPERATORS + SUPPLEMENTARY_OPERATORS
MAX_OPERATORS = 3
PATH_LENGTHS = (2, 3, 4)
REDUCTIONS = 2
STEM_CHANNELS, HEAD_CHANNELS = 32, 512

_BLOCKS = 8 + (8**2 + 2 * 8 * 5) + (8**3 + 3 * 8**2 * 5)  # of one, two and three operators
_PATHS = _BLOCKS**2 + 3 * _BLOCKS**3 + 6 * _BLOCKS**4
SIZE = _PATHS * (_PATHS + 1) // 2
_BOTTLENECK = re.compile(r"bottleneck-([re])(\d)-k(\d)")


class Block(NamedTuple):
    """A sequence of operators, and whether it reduces."""

    operators: tuple[str, ...]
    reduces: bool


Path = tuple[Block, ...]
Network = tuple[Path, Path]


def parse(spec: str) -> Network:
    """The two paths.

    Raises:
        SpecError: when `spec` is no network of the family in its canonical form.
    """
    paths = spec.split("|") if isinstance(spec, str) else []
    network = tuple(tuple(_block(text) for text in path.split(",")) for path in paths)
    if len(network) != 2 or not all(map(_is_path, network)) or spec_of(network) != spec:
        raise _common.bad_spec(
            FAMILY,
            spec,
            "<path>|<path>, sorted; a path: 2 to 4 <operator>+<operator>[/2] joined by commas, two with /2",
        )
    return network


def _block(text: str) -> Block:
    return Block(tuple(text.removesuffix("/2").split("+")), text.endswith("/2"))


def _is_block(operators: Sequence[str]) -> bool:
    """Whether this sequence of operators is a block of the family."""
    extra = sum(name in SUPPLEMENTARY_OPERATORS for name in operators)
    known = set(operators) <= set(OPERATORS)
    return known and extra <= 1 and extra < len(operators) <= MAX_OPERATORS


def _is_path(path: Path) -> bool:
    reductions = sum(block.reduces for block in path)
    return len(path) in PATH_LENGTHS and reductions == REDUCTIONS and all(_is_block(b.operators) for b in path)


def spec_of(network: Sequence[Path]) -> str:
    """The spec of two paths, whatever their order. Inverse of `parse`."""
    return "|".join(sorted(",".join("+".join(b.operators) + "/2" * b.reduces for b in path) for path in network))


def arch_id(spec: str) -> str:
    """`two_path/<hash of the spec>`.

    Raises:
        SpecError: when `spec` is no network of the family in its canonical form.
    """
    return f"{FAMILY}/{hashlib.blake2b(spec_of(parse(spec)).encode(), digest_size=8).hexdigest()}"


def sample(n: int, rng: np.random.Generator) -> list[str]:
    """Draw `n` distinct specs as the authors draw them, because the labelled networks are so distributed.

    That is not uniform over the family: a path of two blocks is as likely as one of four, a block of one operator as
    one of three, though there are 184 times as many of those. Of uniform draws 99.9 % would be two paths of four
    blocks, nine blocks of ten with three operators.

    Raises:
        ConfigError: when there are fewer than `n`.
    """
    return _common.distinct(n, lambda: spec_of((_draw_path(rng), _draw_path(rng))), FAMILY, SIZE)


def _draw_path(rng: np.random.Generator) -> Path:
    length = PATH_LENGTHS[rng.integers(len(PATH_LENGTHS))]
    reducing = rng.choice(length, size=REDUCTIONS, replace=False)
    counts = rng.integers(1, MAX_OPERATORS + 1, length).tolist()
    drawn = [draw_operators(rng, count, CONV_OPERATORS, SUPPLEMENTARY_OPERATORS) for count in counts]
    return tuple(Block(operators, position in reducing) for position, operators in enumerate(drawn))


def mutate(spec: str, rng: np.random.Generator) -> str:
    """One edit, all distinct neighbours equally likely. Every edit can be undone by another.

    An operator is replaced, inserted or removed; one that would be alone makes or takes away a block that does not
    reduce; or the reduction of a block moves to another block of its path.

    Raises:
        SpecError: when `spec` is no network of the family in its canonical form.
    """
    first, second = parse(spec)
    pairs = [(other, second) for other in _edited_paths(first)] + [(first, other) for other in _edited_paths(second)]
    return spec_of(pairs[rng.integers(len(pairs))])


def _edited_paths(path: Path) -> list[Path]:
    """The distinct paths of the family that are one edit away."""
    found = [
        (*path[:place], block._replace(operators=operators), *path[place + 1 :])
        for place, block in enumerate(path)
        for operators in _edited_operators(block.operators)
    ]
    if len(path) > min(PATH_LENGTHS):
        alone = [place for place, block in enumerate(path) if len(block.operators) == 1 and not block.reduces]
        found += [(*path[:place], *path[place + 1 :]) for place in alone]
    if len(path) < max(PATH_LENGTHS):
        places = product(range(len(path) + 1), CONV_OPERATORS)
        found += [(*path[:place], Block((name,), False), *path[place:]) for place, name in places]
    for one, other in combinations(range(len(path)), 2):
        if path[one].reduces != path[other].reduces:
            moved = {one: path[other].reduces, other: path[one].reduces}
            found.append(tuple(Block(block.operators, moved.get(i, block.reduces)) for i, block in enumerate(path)))
    return list(dict.fromkeys(found))


@functools.cache
def _edited_operators(operators: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The distinct blocks with one operator replaced, inserted or removed."""
    found = []
    for place in range(len(operators) + 1):
        before, after = operators[:place], operators[place:]
        for middle in [(), *((name,) for name in OPERATORS)]:
            found += [(*before, *middle, *after), (*before, *middle, *after[1:])]
    return tuple(dict.fromkeys(block for block in found if block != operators and _is_block(block)))


def crossover(first: str, second: str, rng: np.random.Generator) -> str:
    """Replace one operator of the first network by a different one of the second, all such pairs equally likely.

    The place in the second network does not count, and the result is of the family.

    Raises:
        SpecError: when `first` or `second` is no network of the family in its canonical form.
    """
    network = parse(first)
    given = [name for path in parse(second) for block in path for name in block.operators]
    places = [
        (half, row, place)
        for half, path in enumerate(network)
        for row, block in enumerate(path)
        for place in range(len(block.operators))
    ]
    for code in rng.permutation(len(places) * len(given)):
        (half, row, place), name = places[code // len(given)], given[code % len(given)]
        path, own = network[half], network[half][row].operators
        changed = Block((*own[:place], name, *own[place + 1 :]), path[row].reduces)
        if name != own[place] and _is_block(changed.operators):
            return spec_of(((*path[:row], changed, *path[row + 1 :]), network[1 - half]))
    return first


def to_graph(spec: str, kinds: KindTable | None = None) -> Graphs:
    """The computation graph of the authors' network.

    Raises:
        SpecError: when `spec` is no network of the family in its canonical form.
    """
    network = parse(spec)
    build = GraphBuilder(KindTable() if kinds is None else kinds)
    stem = conv_bn(build, build.input(IMAGE_PIXELS, IMAGE_PIXELS, 3), STEM_CHANNELS, 3)
    stem = conv_bn(build, stem, STEM_CHANNELS, 3, 2)
    ends = []
    for path in network:
        x = stem
        for block in path:
            x = _build_block(build, x, block)
        ends.append(x)
    classifier(build, conv_bn(build, build.concat(ends), HEAD_CHANNELS, 3))
    return build.finish()


def _build_block(build: GraphBuilder, x: Value, block: Block) -> Value:
    stride, channels = (2, 2 * build.shape(x)[2]) if block.reduces else (1, build.shape(x)[2])
    turn = next(place for place, name in enumerate(block.operators) if name in CONV_OPERATORS)
    y = x
    for place, name in enumerate(block.operators):
        y = _operator(build, y, name, channels, stride) if place == turn else _operator(build, y, name)
    return y if block.reduces else build.add([y, x])


def _operator(build: GraphBuilder, x: Value, name: str, channels: int | None = None, stride: int = 1) -> Value:
    """One operator, to as many channels as come in unless said. No convolution has a bias."""
    before = build.shape(x)[2]
    channels = before if channels is None else channels
    if bottleneck := _BOTTLENECK.fullmatch(name):
        factor, kernel = int(bottleneck[2]), int(bottleneck[3])
        hidden = before * factor if bottleneck[1] == "e" else max(1, before // factor)
        return conv_bn(build, conv_bn(build, x, hidden, kernel, stride), channels, kernel)
    match name:
        case "avgpool3x3" | "maxpool3x3":
            return pool_bn(build, x, {"avgpool3x3": "avg_pool", "maxpool3x3": "max_pool"}[name])
        case "double3x3":
            return conv_bn(build, conv_bn(build, x, before, 3, stride), channels, 3)
        case "inception_s3x3" | "inception_s5x5":
            return separable(build, x, channels, int(name[-1]), (stride, 1))
    return conv_bn(build, x, channels, int(name[-1]), stride)


def spec_of_config(config: Any) -> str:
    """The spec of the authors' configuration.

    It is {"path1" and "path2": [{"op_names": [...], "op_types": ["conv" or "supp", ...]}, ...], "path1_reduce_inds" and
    "path2_reduce_inds": [positions of the blocks that reduce]}.

    Raises:
        SpecError: when it is no such dict or no network of the family.
    """
    try:
        network = [_configured_path(config[name], config[f"{name}_reduce_inds"]) for name in ("path1", "path2")]
        spec = spec_of(network)
        parse(spec)
    except (LookupError, TypeError, SpecError) as error:
        expected = "path1, path2 of op_names and op_types, path1_reduce_inds, path2_reduce_inds"
        raise _common.bad_spec(FAMILY, config, expected) from error
    return spec


def _configured_path(blocks: Any, reducing: Any) -> Path:
    if not {*reducing} <= {*range(len(blocks))}:
        raise LookupError(f"no block at one of {reducing}")
    for block in blocks:
        types = ["conv" if name in CONV_OPERATORS else "supp" for name in block["op_names"]]
        if list(block["op_types"]) != types:
            raise LookupError(f"types {block['op_types']} of {block['op_names']}")
    return tuple(Block(tuple(block["op_names"]), place in reducing) for place, block in enumerate(blocks))


_FILE = "gpi_test_two_path_cifar10_labelled_cg_data.json"


def _read(path: FilePath) -> pa.Table:
    return _gennape_labels.read(path, _FILE, 200, lambda config: arch_id(spec_of_config(config)))


def labelled_specs(path: FilePath) -> list[str]:
    """The specs of the networks that the authors' file has labels of; raises FormatError as the reader does."""
    return _gennape_labels.specs(path, _FILE, spec_of_config)


LABEL_SOURCES: dict[str, Callable[[FilePath], pa.Table]] = {"gennape": _read}
"""Source -> reader of CG_data.zip or of the JSON file in it, giving LABELS; FormatError when it cannot be read."""

REMOTES: dict[str, Remote] = {"gennape": _gennape_labels.CG_DATA}

DATASHEET = {
    "title": "Two-Path",
    "space": "Two paths of two to four blocks of up to three operators, concatenated; for 32x32 images.",
    "labels": "6,890 networks drawn by the authors' sampler, trained 200 epochs on CIFAR-10; 85.53 to 92.34 %.",
    "graph": "The authors' PyTorch network; they trained its TensorFlow twin, of equal parameters and MACs.",
    "licence": _gennape_labels.LICENCE,
    "citation": _gennape_labels.CITATION,
}
