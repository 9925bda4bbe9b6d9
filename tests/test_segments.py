"""Specs made of segments: the grammar, counting, uniform samples, one-edit mutations, crossover."""

import itertools
from collections import Counter

import numpy as np
import pytest

from archgauge.errors import ConfigError, SpecError
from archgauge.families._common import distinct
from archgauge.families._segments import Part, Segment, Space, spec_of

BLOCK = (("e1", "e4"), ("k3", "k5", "k7"))
SPACE = Space(
    "toy",
    (
        Segment((("w1.0", "w1.2"),), fixed=True),
        Segment((("m24", "m32"), ("", "s"))),
        Segment((("2x:", "3x:"),), BLOCK, (1, 2)),
        Segment(block=(("20", "25"),), depths=(2, 2)),
    ),
)


def every_spec() -> list[str]:
    """The space written out by hand."""
    blocks = [e + k for e in ("e1", "e4") for k in ("k3", "k5", "k7")]
    rows = [*blocks, *(f"{a},{b}" for a in blocks for b in blocks)]
    widths, stems, counts, ratios = ("w1.0", "w1.2"), ("m24", "m24s", "m32", "m32s"), ("2x:", "3x:"), ("20", "25")
    choices = (widths, stems, [n + row for n in counts for row in rows], [f"{a},{b}" for a in ratios for b in ratios])
    return ["-".join(chosen) for chosen in itertools.product(*choices)]


SPECS = every_spec()
ONE = "w1.0-m24-2x:e1k3-20,25"


def test_the_space_is_counted_and_each_architecture_has_one_text():
    assert SPACE.size == len(set(SPECS)) == 2 * 4 * (2 * (6 + 36)) * 4
    for segment in SPACE.segments:
        texts = [segment.number(index).text() for index in range(segment.size)]
        assert len(set(texts)) == segment.size
    assert [spec_of(SPACE.parse(spec)) for spec in SPECS] == SPECS


def test_a_spec_is_read_into_its_parts():
    width, stem, stage, last = SPACE.parse("w1.2-m32s-3x:e4k5,e1k7-25,20")
    assert (width, stem) == (Part(("w1.2",)), Part(("m32", "s")))
    assert stage == Part(("3x:",), (("e4", "k5"), ("e1", "k7")))
    assert last == Part((), (("25",), ("20",)))


@pytest.mark.parametrize(
    "spec",
    [
        *("", "w1.0", ONE + "-", "-" + ONE, ONE + " ", ONE.replace("w1.0", "w1x0"), ONE.replace("m24", "m40")),
        *(ONE.replace("e1k3", ""), ONE.replace("e1k3", "e1k3,"), ONE.replace("e1k3", "k3e1"), ONE + ",20"),
        *(ONE.replace("e1k3", "e1k3,e1k3,e1k3"), ONE.replace("20,25", "20"), ONE.replace("2x:", "2x"), None, 7),
    ],
)
def test_a_spec_outside_the_space_is_refused(spec):
    expected = r"spec of an architecture of toy at toy/\?: expected 4 segments like w1.2-m32s-3x:e4k7,e4k7-25,25, got "
    for use in (SPACE.parse, lambda text: SPACE.mutate(text, np.random.default_rng(0))):
        with pytest.raises(SpecError, match=expected):
            use(spec)
    for pair in ((spec, ONE), (ONE, spec)):
        with pytest.raises(SpecError):
            SPACE.crossover(*pair, np.random.default_rng(0))


def test_samples_are_distinct_and_can_exhaust_the_space():
    assert sorted(SPACE.sample(len(SPECS), np.random.default_rng(1))) == sorted(SPECS)
    assert SPACE.sample(50, np.random.default_rng(2)) == SPACE.sample(50, np.random.default_rng(2))
    with pytest.raises(ConfigError, match=r"families.toy.sample: expected 0 to 2,688 architectures, got 2689"):
        SPACE.sample(2689, np.random.default_rng(0))


def test_a_sample_of_a_space_that_is_too_small_ends():
    rng = np.random.default_rng(0)
    assert len(distinct(6, lambda: str(rng.integers(6)), "toy")) == 6
    with pytest.raises(ConfigError, match=r"families.toy.sample: expected about 6 architectures, .* got 7"):
        distinct(7, lambda: str(rng.integers(6)), "toy")


def test_samples_are_uniform_over_architectures_not_over_depths():
    rng = np.random.default_rng(0)
    drawn = Counter(spec for _ in range(400) for spec in SPACE.sample(100, rng))
    expected = 40_000 / len(SPECS)
    counts = np.array([drawn[spec] for spec in SPECS])
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - len(SPECS)) < 5 * np.sqrt(2 * len(SPECS))
    single = sum(count for spec, count in drawn.items() if spec.count(",") == 1) / 40_000
    assert single == pytest.approx(6 / 42, abs=0.01)


def neighbours(spec: str) -> set[str]:
    """One-edit neighbours by definition: other specs of the space that differ in one place."""
    width, stem, stage, last = spec.split("-")
    number, blocks = stage.split(":")
    blocks = blocks.split(",")
    every = [e + k for e in ("e1", "e4") for k in ("k3", "k5", "k7")]
    found = set()
    for other in ("m24", "m24s", "m32", "m32s"):
        if (other[:3] != stem[:3]) + (other[3:] != stem[3:]) == 1:
            found.add((other, number, tuple(blocks), last))
    found.add((stem, "3x" if number == "2x" else "2x", tuple(blocks), last))
    for slot, own in enumerate(blocks):
        for new in every:
            if (new[:2] != own[:2]) + (new[2:] != own[2:]) == 1:
                found.add((stem, number, (*blocks[:slot], new, *blocks[slot + 1 :]), last))
    if len(blocks) == 2:
        found.add((stem, number, tuple(blocks[:1]), last))
    else:
        found |= {(stem, number, (*blocks, new), last) for new in every}
    first, second = last.split(",")
    flip = {"20": "25", "25": "20"}
    found |= {(stem, number, tuple(blocks), row) for row in (f"{flip[first]},{second}", f"{first},{flip[second]}")}
    return {f"{width}-{s}-{n}:{','.join(b)}-{row}" for s, n, b, row in found}


@pytest.mark.parametrize("spec", [ONE, "w1.2-m32s-3x:e4k5,e1k7-25,20"])
def test_a_mutation_changes_one_place_and_reaches_every_neighbour(spec):
    rng = np.random.default_rng(0)
    reached = {SPACE.mutate(spec, rng) for _ in range(1_500)}
    assert reached == neighbours(spec)
    assert reached <= set(SPECS)
    assert all(spec in neighbours(other) for other in reached)


def test_every_place_mutates_equally_often():
    """ONE has 8 places: two of the stem, the count, two of the block, one to append, two ratios."""
    rng = np.random.default_rng(0)
    changed = Counter()
    for _ in range(8_000):
        _, stem, stage, last = SPACE.mutate(ONE, rng).split("-")
        changed["ratio"] += last != "20,25"
        changed["stem"] += stem != "m24"
        changed["append"] += "," in stage
        changed["count"] += stage.startswith("3x")
    assert {name: round(count / 1_000, 1) for name, count in changed.items()} == pytest.approx(
        {"ratio": 2, "stem": 2, "append": 1, "count": 1}, abs=0.15
    )


def test_a_crossover_takes_one_block_over():
    space = Space("toy", (Segment((("a", "b"),), BLOCK, (1, 3)),))
    rng = np.random.default_rng(0)
    children = Counter(space.crossover("ae1k3,e4k3", "be1k3,e1k3,e4k7", rng) for _ in range(4_000))
    # pairs of slot and different block: (0, e4k7), (1, e1k3) twice, (1, e4k7)
    assert set(children) == {"ae4k7,e4k3", "ae1k3,e1k3", "ae1k3,e4k7"}
    assert children["ae1k3,e1k3"] / 4_000 == pytest.approx(0.5, abs=0.03)
    assert space.crossover("ae1k3", "be1k3,e1k3", rng) == "ae1k3"
