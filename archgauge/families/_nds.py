"""What the five NAS families of NDS share (Radosavovic et al. 2019, "On Network Design Spaces for Visual Recognition").

Each family is the cells of one published search, unfolded by DARTS' skeleton at a width and a depth. A node sums two
operations; the two may read one input, and be one and the same. The output of a cell concatenates the loose ends
(NASNet, AmoebaNet, ENAS) or all nodes (PNAS, DARTS).

The spec is `w<width>,d<depth>[,imagenet]:<normal cell>;<reduction cell>`, a cell `operation~input|operation~input+...
>node,node`: one pair for each node, then the nodes of the output. The arch_id is `<family>/<spec>`. Without
"imagenet" the network has DARTS' stem for CIFAR (3x3 to 3 x width channels) and 10 classes of 32x32 images, with it
three convolutions of stride 2 and 1,000 classes of 224x224 images. `published_costs` and labels take every genotype as
the file has it; samples, mutations and crossovers keep to the family's output.

The authors count cells with ordered pairs, ((2 + i) operations)^2 for node i: 71,465,842 (NASNet), 556,628 (AmoebaNet
and PNAS), 5,063 (ENAS) and 242 (DARTS) thousand millions. Here the order of a pair does not count.

Counts: parameters and MACs of convolutions and the classifier are those of the authors' builder (facebookresearch/unnas
has it) on all of 275 networks measured. The auxiliary head of training, `to_graph`'s `auxiliary`, counts as
parameters outside; each training of the official files says whether it had one (`aux`).

Labels, in percent, official trainings:
- "nds": `cifar10/test@<epochs>/run<k>`; width and depth vary.
- "nds_fix-w-d": the same of the sweep whose width and depth are fixed.
- "nds_lr-wd": `...+lr-wd`, learning rate and weight decay vary too.
- "nds_in", "nds_lr-wd_in": `imagenet/validation@<epochs>/run<k>`, the sweeps on ImageNet.
Trainings of one architecture in one sweep are its runs, in the order of the file.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from archgauge.cells import Cell
from archgauge.download import Remote
from archgauge.errors import ConfigError, FormatError, SpecError
from archgauge.families import _common
from archgauge.families._darts_network import IMAGES, Plan, unfold
from archgauge.families._genotypes import Genotype, Space, Wiring, edges_of, merged_cell, text_of
from archgauge.formats import nds
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable

WIDTHS, DEPTHS = (16, 24, 32), (4, 8, 12, 16, 20)
"""What the sweeps on CIFAR-10 draw width and depth from."""

_SPEC = re.compile(r"w(\d{1,4}),d(\d{1,3})(,imagenet)?:([^;>]+)>([\d,]+);([^;>]+)>([\d,]+)")
_EXPECTED = "w<even width>,d<depth>[,imagenet]:<normal cell>;<reduction cell> with cells operation~input|...+...>nodes"
_DEEPEST, _WIDEST = 100, 1024
_REMOTE = Remote(sources=("https://dl.fbaipublicfiles.com/nds/data.zip",))


@dataclass(frozen=True)
class Architecture:
    """A genotype with its width, its depth, and "cifar" or "imagenet"."""

    genotype: Genotype
    width: int
    depth: int
    images: str


@dataclass(frozen=True)
class NdsFamily:
    """All that the module of a family has but its name.

    Attributes:
        name: of the family.
        sweep: the authors' name of its sweep on CIFAR-10.
        space: of its cells.
        variants: suffixes of its other sweeps.
        search: what the cells come from, for the data sheet.
    """

    name: str
    sweep: str
    space: Space
    variants: tuple[str, ...]
    search: str

    def parse(self, spec: str) -> Architecture:
        """The architecture of a spec, in canonical order.

        Raises:
            SpecError: when `spec` describes none of the family.
        """
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise _common.bad_spec(self.name, spec, _EXPECTED)
        cells = []
        for text, concat in ((match[4], match[5]), (match[6], match[7])):
            edges = edges_of(text)
            if edges is None or "" in concat.split(","):
                raise _common.bad_spec(self.name, spec, _EXPECTED)
            cells.append(self.space.wiring(edges, map(int, concat.split(","))))
        images = "imagenet" if match[3] else "cifar"
        return self._checked(Architecture(Genotype(*cells), int(match[1]), int(match[2]), images), spec)

    def _checked(self, found: Architecture, given: object) -> Architecture:
        genotype = found.genotype
        faults = [fault for cell in (genotype.normal, genotype.reduce) if (fault := self.space.fault(cell)) is not None]
        if found.width % 2 or not 2 <= found.width <= _WIDEST:
            faults.append(f"the width {found.width}")
        if not 2 <= found.depth <= _DEEPEST:
            faults.append(f"the depth {found.depth}")
        if faults:
            raise _common.bad_spec(self.name, given, f"{_EXPECTED}, not {' or '.join(faults)}")
        return found

    def spec_of(self, architecture: Architecture) -> str:
        """The spec of an architecture in canonical order. Inverse of `parse`."""
        genotype = architecture.genotype
        cells = (f"{text_of(cell)}>{','.join(map(str, cell.concat))}" for cell in (genotype.normal, genotype.reduce))
        images = ",imagenet" if architecture.images == "imagenet" else ""
        return f"w{architecture.width},d{architecture.depth}{images}:{';'.join(cells)}"

    def arch_id(self, spec: str) -> str:
        """Return `<family>/<canonical spec>`.

        Raises:
            SpecError: when `spec` describes no architecture of the family.
        """
        return f"{self.name}/{self.spec_of(self.parse(spec))}"

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        widths: Sequence[int] = WIDTHS,
        depths: Sequence[int] = DEPTHS,
        images: str = "cifar",
    ) -> list[str]:
        """Draw `n` distinct architectures, uniform over genotypes, widths and depths.

        Genotypes with other numbers of nodes count apart. Give one width and one depth for a space like that of the
        sweeps that fix them.

        Raises:
            ConfigError: when `n` is negative or larger than the family, or `images` is unknown.
        """
        if images not in IMAGES:
            raise ConfigError(
                "the images of a network",
                where=f"families.{self.name}.sample.images",
                expected=f"one of {', '.join(IMAGES)}",
                got=repr(images),
                remedy="Name one of these.",
            )

        def draw() -> str:
            width, depth = (choice[int(rng.integers(len(choice)))] for choice in (widths, depths))
            return self.spec_of(Architecture(self.space.draw(rng), width, depth, images))

        return _common.distinct(n, draw, self.name, self.space.cells**2 * len(set(widths)) * len(set(depths)))

    def mutate(self, spec: str, rng: np.random.Generator) -> str:
        """Change one operation or one input of a cell, either as likely; width and depth stay.

        Raises:
            SpecError: when `spec` describes no architecture of the family.
        """
        found = self.parse(spec)
        return self._with(found, self.space.mutate(found.genotype, rng))

    def crossover(self, first: str, second: str, rng: np.random.Generator) -> str:
        """Replace one operation of the first by a different one of the second's same cell.

        Raises:
            SpecError: when `first` or `second` describes no architecture of the family.
        """
        found = self.parse(first)
        return self._with(found, self.space.crossover(found.genotype, self.parse(second).genotype, rng))

    def _with(self, found: Architecture, genotype: Genotype) -> str:
        return self.spec_of(Architecture(genotype, found.width, found.depth, found.images))

    def cell(self, spec: str) -> Cell:
        """Both cells as one DAG; `archgauge.families._genotypes.merged_cell` says how. Width and depth are not in it.

        Raises:
            SpecError: when `spec` describes no architecture of the family.
        """
        return merged_cell(self.parse(spec).genotype)

    def to_graph(self, spec: str, kinds: KindTable | None = None, *, auxiliary: bool = False) -> Graphs:
        """The computation graph of an architecture.

        Args:
            kinds: the table to build over; a new one by default.
            auxiliary: whether the auxiliary head of training counts, as parameters outside.

        Raises:
            SpecError: when `spec` describes no architecture of the family.
        """
        found = self.parse(spec)
        plan = Plan(found.width, found.depth, found.images, auxiliary, padded_reduction=True)
        return unfold(found.genotype, plan, KindTable() if kinds is None else kinds)

    def published_costs(self, path: Path) -> pa.Table:
        """(arch_id, params, macs, auxiliary) of the family's sweep on CIFAR-10, as published.

        Raises:
            FormatError: when the sweep cannot be read.
        """
        rows = [
            (name, training.params, training.macs, training.auxiliary)
            for name, training in self._named(path, self.sweep, "cifar")
        ]
        names = ["arch_id", "params", "macs", "auxiliary"]
        return pa.table([list(column) for column in zip(*rows, strict=True)], names=names)

    @cached_property
    def LABEL_SOURCES(self) -> dict[str, Callable[[Path], pa.Table]]:
        """Source -> reader of data.zip, its folder, or the sweep's own file, giving LABELS."""
        return {f"nds{variant}": partial(self._read, variant) for variant in ("", *self.variants)}

    @cached_property
    def REMOTES(self) -> dict[str, Remote]:
        """Every source is in the authors' one archive, whose size and hash are not published."""
        return dict.fromkeys(self.LABEL_SOURCES, _REMOTE)

    @cached_property
    def DATASHEET(self) -> dict[str, str]:
        """Facts about the family."""
        output = "loose ends" if self.space.loose_ends else "all nodes"
        return {
            "title": f"NDS {self.sweep}",
            "space": (
                f"Two cells of {self.space.nodes} nodes with two of {len(self.space.operations)} operations each, "
                f"{output} concatenated ({self.search}); width {min(WIDTHS)} to {max(WIDTHS)}, depth {min(DEPTHS)} to "
                f"{max(DEPTHS)}."
            ),
            "labels": "CIFAR-10 (and, for some, ImageNet) test accuracy after the last epoch of one training.",
            "licence": "MIT",
            "citation": (
                "Radosavovic, Johnson, Xie, Lo, Dollár: On Network Design Spaces for Visual Recognition, ICCV 2019"
            ),
            "graph": "The auxiliary head of training counts as parameters outside, where asked for.",
        }

    def _read(self, variant: str, path: Path) -> pa.Table:
        return _common.labels(self._rows(variant, path), path)

    def _rows(self, variant: str, path: Path) -> Iterable[tuple[str, str, float, str]]:
        imagenet = variant.endswith("_in")
        data = "imagenet/validation" if imagenet else "cifar10/test"
        suffix = "+lr-wd" if "lr-wd" in variant else ""
        seen: Counter[str] = Counter()
        for name, training in self._named(path, self.sweep + variant, "imagenet" if imagenet else "cifar"):
            yield name, f"{data}@{training.epochs}/run{seen[name]}{suffix}", training.accuracy_pct, "percent"
            seen[name] += 1

    def _named(self, path: Path, sweep: str, images: str) -> Iterator[tuple[str, nds.Training]]:
        """The trainings of a sweep with their arch_ids."""
        for position, training in enumerate(nds.read_sweep(path, sweep)):
            cells = [
                Wiring((), ()) if len(edges) % 2 else self.space.wiring(edges, concat)
                for edges, concat in (
                    (training.normal, training.normal_concat),
                    (training.reduce, training.reduce_concat),
                )
            ]
            try:
                found = Architecture(Genotype(*cells), training.width, training.depth, images)
                spec = self.spec_of(self._checked(found, training))
            except SpecError as error:
                raise FormatError(
                    f"a training of the sweep {sweep}",
                    where=f"{path}, training {position}",
                    expected=f"an architecture of {self.name}",
                    got=error.expected,
                    remedy="The file is of another sweep, or damaged: fetch data.zip again.",
                ) from error
            yield f"{self.name}/{spec}", training
