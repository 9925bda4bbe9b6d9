"""Spaces whose architectures are a row of stages, and the texts of their specs.

A spec is its segments joined by "-". A segment is the text of each of its settings, and behind them its blocks joined
by ",". A block is the text of each of its attributes. "r160-2x:e3k5,e6k7" has a segment of one setting, and one of a
setting and two blocks. Each architecture has one text.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from archgauge.families._common import bad_spec, distinct

Texts = tuple[str, ...]


class Part(NamedTuple):
    """What an architecture has in one segment: the text of each setting, and each block's texts."""

    settings: Texts = ()
    blocks: tuple[Texts, ...] = ()

    def text(self) -> str:
        """The segment of the spec."""
        return "".join(self.settings) + ",".join(map("".join, self.blocks))

    def with_block(self, slot: int, block: Texts) -> "Part":
        """The part with another block at `slot`."""
        return self._replace(blocks=(*self.blocks[:slot], block, *self.blocks[slot + 1 :]))


@dataclass(frozen=True)
class Segment:
    """What can stand in one place of a spec.

    Attributes:
        settings: the texts to choose from for each setting.
        block: the texts to choose from for each attribute of a block.
        depths: the fewest and the most blocks.
        fixed: whether mutations leave the settings alone.
    """

    settings: tuple[Texts, ...] = ()
    block: tuple[Texts, ...] = ()
    depths: tuple[int, int] = (0, 0)
    fixed: bool = False

    @cached_property
    def every_block(self) -> tuple[Texts, ...]:
        """All different blocks; none where a segment has settings alone."""
        if not self.block:
            return ()
        return tuple(_chosen(self.block, index)[1] for index in range(math.prod(map(len, self.block))))

    @cached_property
    def size(self) -> int:
        """How many parts there are: d blocks can be chosen in (number of blocks)^d ways."""
        fewest, most = self.depths
        rows = sum(len(self.every_block) ** depth for depth in range(fewest, most + 1))
        return math.prod(map(len, self.settings)) * rows

    def number(self, index: int) -> Part:
        """Part `index` of the `size` that there are."""
        index, settings = _chosen(self.settings, index)
        kinds, depth = len(self.every_block), self.depths[0]
        while index >= kinds**depth:
            index, depth = index - kinds**depth, depth + 1
        return Part(settings, tuple(self.every_block[index // kinds**slot % kinds] for slot in range(depth)))

    def parse(self, text: str) -> Part | None:
        """The part that a text says, or None when it says none."""
        match = self._pattern.fullmatch(text)
        if match is None:
            return None
        *settings, blocks = match.groups()
        named = (self._blocks.get(block) for block in blocks.split(","))
        return Part(tuple(settings), tuple(block for block in named if block is not None))

    def neighbours(self, part: Part) -> Iterator[list[Part]]:
        """The parts that differ in one place, a list for each place.

        The places are each setting, each attribute of each block, the last block to drop, and one to append.
        """
        fewest, most = self.depths
        if not self.fixed:
            yield from ([part._replace(settings=new) for new in group] for group in _edits(self.settings, part[0]))
        for slot, block in enumerate(part.blocks):
            yield from ([part.with_block(slot, new) for new in group] for group in _edits(self.block, block))
        if len(part.blocks) > fewest:
            yield [part._replace(blocks=part.blocks[:-1])]
        if len(part.blocks) < most:
            yield [part._replace(blocks=(*part.blocks, new)) for new in self.every_block]

    @cached_property
    def _blocks(self) -> dict[str, Texts]:
        return {"".join(block): block for block in self.every_block}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        settings = "".join(f"({'|'.join(map(re.escape, choices))})" for choices in self.settings)
        block = "|".join(map(re.escape, self._blocks))
        fewest, most = self.depths
        rows = f"(?:{block})(?:,(?:{block})){{{fewest - 1},{most - 1}}}" if most else ""
        return re.compile(f"{settings}({rows})")


@dataclass(frozen=True)
class Space:
    """A family's space: one part for each segment, chosen independently."""

    family: str
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """How many architectures there are."""
        return math.prod(segment.size for segment in self.segments)

    def parse(self, spec: str) -> list[Part]:
        """The parts of a spec.

        Raises:
            SpecError: when `spec` is not of this space.
        """
        texts = spec.split("-") if isinstance(spec, str) else []
        parts = [segment.parse(text) for segment, text in zip(self.segments, texts, strict=False)]
        found = [part for part in parts if part is not None]
        if not len(found) == len(texts) == len(self.segments):
            raise bad_spec(self.family, spec, f"{len(self.segments)} segments like {self._example}")
        return found

    def sample(self, n: int, rng: np.random.Generator) -> list[str]:
        """Draw `n` distinct specs, each set of `n` equally likely.

        Raises:
            ConfigError: when `n` is negative or more than there are.
        """
        return distinct(n, lambda: self._draw(rng), self.family, self.size)

    def mutate(self, spec: str, rng: np.random.Generator) -> str:
        """Change one place: all places are equally likely, and all changes of one (see `Segment.neighbours`).

        Raises:
            SpecError: when `spec` is not of this space.
        """
        parts = self.parse(spec)
        places = [
            (row, group)
            for row, (segment, part) in enumerate(zip(self.segments, parts, strict=True))
            for group in segment.neighbours(part)
        ]
        row, group = places[rng.integers(len(places))]
        parts[row] = group[rng.integers(len(group))]
        return spec_of(parts)

    def crossover(self, first: str, second: str, rng: np.random.Generator) -> str:
        """Replace one block of the first by a different one of the second, all such pairs equally likely.

        The place in the second does not count. Specs that share one single block leave the first as it is.

        Raises:
            SpecError: when `first` or `second` is not of this space.
        """
        parts, given = self.parse(first), [block for part in self.parse(second) for block in part.blocks]
        pairs = [
            (row, slot, new)
            for row, part in enumerate(parts)
            for slot, own in enumerate(part.blocks)
            for new in given
            if new != own
        ]
        if pairs:
            row, slot, new = pairs[rng.integers(len(pairs))]
            parts[row] = parts[row].with_block(slot, new)
        return spec_of(parts)

    def _draw(self, rng: np.random.Generator) -> str:
        return spec_of(segment.number(int(rng.integers(segment.size))) for segment in self.segments)

    @property
    def _example(self) -> str:
        return spec_of(segment.number(segment.size - 1) for segment in self.segments)


def spec_of(parts: Iterable[Part]) -> str:
    """The spec of parts. Inverse of `Space.parse`."""
    return "-".join(part.text() for part in parts)


def _chosen(choices: Sequence[Texts], index: int) -> tuple[int, Texts]:
    """One text of each choice by the mixed-radix digits of `index`, and what is left of the index."""
    texts = []
    for options in choices:
        index, digit = divmod(index, len(options))
        texts.append(options[digit])
    return index, tuple(texts)


def _edits(choices: Sequence[Texts], texts: Texts) -> Iterator[list[Texts]]:
    """The texts with one changed, a list for each place that has a choice."""
    for place, (options, own) in enumerate(zip(choices, texts, strict=True)):
        if len(options) > 1:
            yield [(*texts[:place], new, *texts[place + 1 :]) for new in options if new != own]
