"""The space of GENNAPE's Inception family: its specs, which of them are of the family, and edits of a stage."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import Any, NamedTuple

from archgauge.families._common import bad_spec

FAMILY = "inception"
CONV_OPERATORS = (
    *("conv3x3", "inception_s3x3", "inception_p3x3", "depthwise3x3"),
    *("conv5x5", "depthwise5x5", "inception_s5x5", "inception_p5x5"),
)
SUPPLEMENTARY_OPERATORS = ("conv1x1", "avgpool3x3", "maxpool3x3", "double1x1")
OPERATORS = CONV_OPERATORS + SUPPLEMENTARY_OPERATORS
CHANNEL_CHANGERS = frozenset({*CONV_OPERATORS, "conv1x1", "double1x1"})

MAX_OPERATORS = {1: 3, 2: 4, 3: 8, 4: 10}
"""Paths of a block -> the most operators in all of them."""
MIN_OPERATORS = {1: 1, 2: 1, 3: 2, 4: 2}
"""Paths of a block -> the fewest operators in each."""
MIN_CHANNELS = 16
WIDTHS = (0.5, 1.0, 2.0)
"""Channels inside a path over those at its end, before `MIN_CHANNELS`."""

VARIANTS = {
    "code": (((32, 1), (64, 2), (128, 2), (256, 2)), range(2, 7)),
    "paper": (((64, 2), (128, 2), (256, 2)), range(2, 5)),
}
"""Variant -> (channels, stride of the first block) of each stage, and how many blocks a stage may have."""

_STAGE = re.compile(r"(\d)x(.+)")
_PATH = re.compile(r"([\w+]+)@(\d{1,4})>(\d{1,4})")


class Path(NamedTuple):
    """A sequence of operators, with the channels inside it and at its end."""

    operators: tuple[str, ...]
    inner: int
    outer: int


class Stage(NamedTuple):
    """How many equal blocks, and their paths."""

    blocks: int
    paths: tuple[Path, ...]


Network = tuple[Stage, ...]


def variant_of(stages: Sequence[Stage]) -> str:
    """Which variant a network follows, told by how many stages it has."""
    return "code" if len(stages) == len(VARIANTS["code"][0]) else "paper"


def parse(spec: str) -> Network:
    """The stages.

    Raises:
        SpecError: when `spec` is no network of the family in its canonical form.
    """
    texts = spec.split(";") if isinstance(spec, str) else []
    stages = tuple(map(_stage, texts))
    if is_network(stages) and spec_of(stages) == spec:
        return stages
    raise bad_spec(
        FAMILY,
        spec,
        "4 stages (code) or 3 (paper) <blocks>x<path>|<path>.., paths sorted, <operator>+..@<inner>><outer>",
    )


def _stage(text: str) -> Stage:
    """One stage; without paths where the text does not say them."""
    match = _STAGE.fullmatch(text)
    paths = [_PATH.fullmatch(path) for path in match[2].split("|")] if match else []
    found = tuple(Path(tuple(path[1].split("+")), int(path[2]), int(path[3])) for path in paths if path)
    return Stage(int(match[1]), found) if match else Stage(0, ())


def spec_of(stages: Sequence[Stage]) -> str:
    """The spec of stages, whatever the order of paths. Inverse of `parse`."""
    return ";".join(f"{blocks}x" + "|".join(sorted(map(_path_text, paths))) for blocks, paths in stages)


def _path_text(path: Path) -> str:
    return f"{'+'.join(path.operators)}@{path.inner}>{path.outer}"


def arch_id(spec: str) -> str:
    """`inception/<hash of the spec>`.

    Raises:
        SpecError: when `spec` is no network of the family in its canonical form.
    """
    return f"{FAMILY}/{hashlib.blake2b(spec_of(parse(spec)).encode(), digest_size=8).hexdigest()}"


def shares(count: int, channels: int) -> tuple[int, ...]:
    """Channels at the end of each of 1 to 4 paths of a block."""
    parts = (2, 4, 4) if count == 3 else (count,) * count
    return tuple(max(MIN_CHANNELS, channels // part) for part in parts)


def path_of(operators: tuple[str, ...], width: float, outer: int) -> Path:
    """A path that is `width` times as wide inside, where two of its operators can change the channels."""
    changers = sum(name in CHANNEL_CHANGERS for name in operators)
    return Path(operators, max(MIN_CHANNELS, int(width * outer)) if changers > 1 else outer, outer)


def is_network(stages: Sequence[Stage]) -> bool:
    """Whether these stages are a network of the family, of either variant."""
    shapes, blocks = VARIANTS[variant_of(stages)]
    fits = (is_stage(stage, channels, blocks) for stage, (channels, _) in zip(stages, shapes, strict=False))
    return len(stages) == len(shapes) and all(fits)


def is_stage(stage: Stage, channels: int, blocks: range) -> bool:
    """Whether a stage of this many channels and allowed numbers of blocks is of the family."""
    count = len(stage.paths)
    if stage.blocks not in blocks or count not in MAX_OPERATORS:
        return False
    if sum(len(path.operators) for path in stage.paths) > MAX_OPERATORS[count]:
        return False
    if sorted(path.outer for path in stage.paths) != sorted(shares(count, channels)):
        return False
    return all(len(path.operators) >= MIN_OPERATORS[count] and _is_path(path) for path in stage.paths)


def _is_path(path: Path) -> bool:
    extra = sum(name in SUPPLEMENTARY_OPERATORS for name in path.operators)
    mixed = set(path.operators) <= set(OPERATORS) and extra <= 1 and extra < len(path.operators)
    return mixed and path in [path_of(path.operators, width, path.outer) for width in WIDTHS]


def with_operators(stage: Stage, place: int, operators: tuple[str, ...]) -> Stage:
    """The stage with other operators on one path, which keeps the ratio of its widths where it can."""
    old = stage.paths[place]
    path = path_of(operators, old.inner / old.outer, old.outer)
    return stage._replace(paths=(*stage.paths[:place], path, *stage.paths[place + 1 :]))


def operator_edits(stage: Stage, _channels: int) -> Iterator[Stage]:
    """An operator replaced, inserted or removed."""
    for number, path in enumerate(stage.paths):
        for place in range(len(path.operators) + 1):
            before, after = path.operators[:place], path.operators[place:]
            for middle in [(), *((name,) for name in OPERATORS)]:
                yield with_operators(stage, number, (*before, *middle, *after))
                yield with_operators(stage, number, (*before, *middle, *after[1:]))


def width_edits(stage: Stage, _channels: int) -> Iterator[Stage]:
    """Another inner width of a path."""
    for place, path in enumerate(stage.paths):
        for width in WIDTHS:
            other = path_of(path.operators, width, path.outer)
            yield stage._replace(paths=(*stage.paths[:place], other, *stage.paths[place + 1 :]))


def depth_edits(stage: Stage, _channels: int) -> Iterator[Stage]:
    """One block more or less."""
    yield stage._replace(blocks=stage.blocks - 1)
    yield stage._replace(blocks=stage.blocks + 1)


def path_edits(stage: Stage, channels: int) -> Iterator[Stage]:
    """A path added, with as few operators as allowed, or dropped; or the shares of the paths exchanged."""
    old = [(path.operators, path.inner / path.outer) for path in stage.paths]
    changed = [old, *([*old[:place], *old[place + 1 :]] for place in range(len(old)))]
    if len(old) + 1 in MIN_OPERATORS:
        changed += [[*old, (new, 1.0)] for new in product(OPERATORS, repeat=MIN_OPERATORS[len(old) + 1])]
    for paths in filter(None, changed):
        for parts in set(permutations(shares(len(paths), channels))):
            divided = (path_of(*path, part) for path, part in zip(paths, parts, strict=True))
            yield stage._replace(paths=tuple(divided))


def spec_of_config(config: Any) -> str:
    """The spec of the authors' configuration.

    It is {"stages": [{"block": {"paths": [{"ops", "op_types", "C_internal", "C_out"}]}, "n_blocks", "C_in", "C_out",
    "stride"}]}.

    Raises:
        SpecError: when it is no such dict or no network of the family.
    """
    try:
        stages = tuple(_configured_stage(stage) for stage in config["stages"])
        shapes, _ = VARIANTS[variant_of(stages)]
        before = [32, *(channels for channels, _ in shapes)]
        wanted = [(past, channels, stride) for past, (channels, stride) in zip(before, shapes, strict=False)]
        fits = [(stage["C_in"], stage["C_out"], stage["stride"]) for stage in config["stages"]] == wanted
    except (LookupError, TypeError):
        fits, stages = False, ()
    if not fits or not is_network(stages):
        expected = "stages of block.paths with ops, op_types, C_internal, C_out, n_blocks, C_in, C_out, stride"
        raise bad_spec(FAMILY, config, expected)
    return spec_of(stages)


def _configured_stage(stage: Any) -> Stage:
    paths = []
    for path in stage["block"]["paths"]:
        if list(path["op_types"]) != ["conv" if name in CONV_OPERATORS else "supp" for name in path["ops"]]:
            raise LookupError(f"types {path['op_types']} of {path['ops']}")
        paths.append(Path(tuple(path["ops"]), path["C_internal"], path["C_out"]))
    return Stage(stage["n_blocks"], tuple(paths))
