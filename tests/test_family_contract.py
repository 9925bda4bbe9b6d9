"""What every family promises, found by name: a new module of archgauge/families is held to all of it."""

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml

from archgauge.cells import Cell
from archgauge.config_check import PLUGINS
from archgauge.errors import SpecError
from archgauge.fingerprint import choices
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.operations import KindTable
from archgauge.graphs.realise import realise
from archgauge.graphs.trace import trace
from archgauge.schemas import ARCHITECTURES

ROOT = Path(__file__).parents[1]
FAMILIES = [name for name in choices(*PLUGINS["family"]) if name != "table"]  # the user's own needs the user's file
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
NONSENSE = "no such architecture"


@pytest.fixture(params=FAMILIES)
def family(request):
    return import_module(f"archgauge.families.{request.param}")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def specs_of(family, count: int, seed: int = 0) -> list[str]:
    return family.sample(count, rng(seed))


def test_a_family_describes_itself(family):
    assert family.__name__.endswith(f".{family.FAMILY}")
    assert {"title", "space", "labels", "licence", "citation"} <= set(family.DATASHEET)
    assert all(text.strip() for text in family.DATASHEET.values())
    assert set(family.REMOTES) <= set(family.LABEL_SOURCES)
    assert ("tables" in family.LABEL_SOURCES) == hasattr(family, "COLLECTED")


def test_a_sample_is_distinct_and_repeats(family):
    specs = specs_of(family, 8)
    assert len(set(specs)) == len({family.arch_id(spec) for spec in specs}) == 8
    assert specs == specs_of(family, 8)
    assert specs != specs_of(family, 8, seed=1)
    assert all(family.arch_id(spec).startswith(f"{family.FAMILY}/") for spec in specs)


def test_a_labelled_architecture_can_be_rebuilt_from_its_name(family):
    """The rule `tabulate` lists those that labels are of."""
    if hasattr(family, "enumerate_specs"):
        listed = family.enumerate_specs()
        assert listed.schema == ARCHITECTURES
        assert len(set(listed["arch_id"].to_pylist())) == len(listed)
        assert {family.arch_id(spec) for spec in specs_of(family, 3)} <= set(listed["arch_id"].to_pylist())
    elif family.LABEL_SOURCES and not hasattr(family, "labelled_specs"):
        for spec in specs_of(family, 3):
            assert family.arch_id(spec) == f"{family.FAMILY}/{spec}"


def test_a_network_is_traced_back_to_its_graph(family):
    kinds = KindTable()
    for spec in specs_of(family, 2):
        graph = family.to_graph(spec, kinds)
        assert graph.kinds is kinds
        network = realise(graph).eval()
        trainable = sum(tensor.numel() for tensor in network.parameters() if tensor.requires_grad)
        assert cost.params(graph)[0] == trainable
        assert cost.macs(graph)[0] > 0
        shapes = [kinds[int(kind)].outputs[0] for kind in graph.kind if kinds[int(kind)].operation == "input"]
        again = trace(network, *(zeros(shape) for shape in shapes))
        assert canonical_hash(again) == canonical_hash(graph)


def zeros(shape):
    import torch

    height, width, channels = shape
    return torch.zeros(1, channels, height, width, device="meta")


def test_a_mutation_is_another_member(family):
    if not hasattr(family, "mutate"):
        pytest.skip(f"{family.FAMILY} is a list of networks, and has no mutation")
    draws = rng()
    for spec in specs_of(family, 4):
        child = family.mutate(spec, draws)
        assert family.arch_id(child) != family.arch_id(spec)
        assert len(family.to_graph(child)) == 1


def test_a_crossover_is_a_member(family):
    if not hasattr(family, "crossover"):
        pytest.skip(f"{family.FAMILY} is a list of networks, and has no crossover")
    first, second = specs_of(family, 2)
    assert len(family.to_graph(family.crossover(first, second, rng()))) == 1


def test_a_cell_runs_from_input_to_output(family):
    if not hasattr(family, "cell"):
        pytest.skip(f"{family.FAMILY} has no cell")
    cell = family.cell(specs_of(family, 1)[0])
    assert isinstance(cell, Cell)
    assert (cell.operations[0], cell.operations[-1]) == ("input", "output")
    assert all(source < target for source, target in cell.edges)


@pytest.mark.parametrize("function", ["arch_id", "to_graph"])
def test_nonsense_is_refused_by_name(family, function):
    with pytest.raises(SpecError, match=family.FAMILY) as raised:
        getattr(family, function)(NONSENSE)
    assert NONSENSE in str(raised.value)


def test_files_of_one_name_are_one_file():
    remotes: dict[str, set] = {}
    for name in FAMILIES:
        for remote in import_module(f"archgauge.families.{name}").REMOTES.values():
            remotes.setdefault(remote.name, set()).add(remote)
            assert re.fullmatch(r"[\w.+-]+\.\w+", remote.name), remote
    assert all(len(same) == 1 for same in remotes.values())


def test_every_family_is_configured():
    assert set(CONFIG["families"]) == set(FAMILIES)
