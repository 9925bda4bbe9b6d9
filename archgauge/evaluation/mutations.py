"""The search by mutation, from the workflow's tables to the networks that GENNAPE's Table 7 compares."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archgauge.errors import TableError
from archgauge.evaluation.labels import label_values, labelled
from archgauge.evaluation.protocols import factory, labelled_population
from archgauge.evaluation.source_models import load_model, transferred
from archgauge.evaluation.splits import division
from archgauge.evaluation.transfer import Transferred
from archgauge.graphs import cost
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs, concatenate
from archgauge.graphs.tables import graphs_to_table, iter_graphs, kinds_to_table, read_kinds
from archgauge.predictors.inputs import load_population
from archgauge.schemas import ARCHITECTURES, CANDIDATES, GRAPHS, KINDS, LABELS, SPLITS, read_table, write_table
from archgauge.search.graph_search import Candidates, Score, found, random_descent

Settings = Mapping[str, Any]
"""Of `archgauge.graph_search_config.graph_search_settings`."""


def fitted_guide(
    models: Sequence[Path],
    population: Sequence[Path],
    labels: Sequence[Path],
    splits: Sequence[Path],
    settings: Settings,
) -> Any:
    """The predictor that a transfer carries over, fine-tuned as its first run is, or as the source made it.

    Args:
        models: its seeds on the source.
        population, labels, splits: tables of the family; none where it is not fine-tuned.
    """
    (model, *_) = transferred([load_model(path) for path in models], settings["transferred"])
    make = factory(settings["module"], settings["keywords"])
    if not settings["n_train"]:
        return make(model.seed).restore(model.state)
    needs = import_module(f"archgauge.predictors.{settings['module']}").Predictor.needs
    family = load_population(settings["family"], dict(zip(settings["tables"], population, strict=True)), needs)
    known, accuracy_pct = labelled_population(family, read_table(labels[0], LABELS), settings["label"])
    rows = division(read_table(splits[0], SPLITS), 0, known.arch_id).training_rows(settings["n_train"])
    return Transferred(make, model, settings["fine_tuning"], seed=0).fit(known.take(rows), accuracy_pct[rows])


def start_spec(architectures: Sequence[Path], labels: Sequence[Path], settings: Settings) -> tuple[str, Graphs]:
    """The `arch_id` and the graph of the network to begin with: the configured one, or the best by label."""
    module, spec = import_module(f"archgauge.families.{settings['family']}"), settings["spec"]
    if spec is None:
        table, known = read_table(architectures[0], ARCHITECTURES), read_table(labels[0], LABELS)
        table = table.filter(pa.array(labelled(known, settings["label"], table["arch_id"].to_numpy())))
        values = label_values(known, settings["label"], table["arch_id"].to_numpy())
        spec = table["spec"][int(values.argmax())].as_py()
    return module.arch_id(spec), module.to_graph(spec, **settings["graph"])


def compared(
    arch_id: str, searched: Candidates, score: Score, rng: np.random.Generator, settings: Settings
) -> tuple[tuple[Graphs, list[str]], pa.Table]:
    """The start, what was found, and the end of a random descent; and CANDIDATES, its end among them.

    Args:
        arch_id: of the start; mutants are named by their canonical hash.

    Returns:
        The three live graphs with their `arch_id`s, and the table.
    """
    names = [arch_id, *(_mutant(settings["family"], one) for one in searched.live_hash[1:])]
    row = found(searched)
    lighter = random_descent(searched.graphs[0], rng, most_macs=int(searched.macs[row]))
    (live_hash,) = canonical_hash(lighter)
    known = dict(zip(searched.live_hash, names, strict=True))  # the descent may end where the search has been
    random_name = known.get(live_hash, _mutant(settings["family"], live_hash))
    columns = {
        "arch_id": names,
        "parent": [names[parent] if parent >= 0 else None for parent in searched.parent],
        "iteration": searched.iteration,
        "predicted": searched.predicted,
        "macs": searched.macs,
        "params": searched.params,
        "kept": searched.kept,
    }
    table = pa.table(columns).cast(CANDIDATES)
    if random_name not in names:
        end = {"iteration": [None], "predicted": score(lighter), "kept": [False]}
        end |= {"macs": cost.macs(lighter), "params": cost.params(lighter)}
        last = pa.table({"arch_id": [random_name], "parent": pa.nulls(1, pa.string()), **end})
        table = pa.concat_tables([table, last.select(CANDIDATES.names).cast(CANDIDATES)])
    return (concatenate([searched.graphs[0], searched.graphs[row], lighter]), [arch_id, names[row], random_name]), table


def write_networks(networks: tuple[Graphs, list[str]], graphs: Path, kinds: Path) -> None:
    """Write the compared networks as GRAPHS and KINDS, one row for each of `archgauge.graph_search_config.NETWORKS`."""
    found_graphs, names = networks
    columns = {
        "arch_id": np.array(names),
        "macs": cost.macs(found_graphs),
        "params": cost.params(found_graphs),
        "params_outside": found_graphs.params_outside,
        "live_hash": canonical_hash(found_graphs),
    }
    write_table(graphs, graphs_to_table(found_graphs, columns), GRAPHS)
    write_table(kinds, kinds_to_table(found_graphs.kinds), KINDS)


def read_network(graphs: Path, kinds: Path, row: int) -> tuple[str, Graphs]:
    """The `arch_id` and the graph of one row that `write_networks` wrote.

    Raises:
        TableError: when there is no such row.
    """
    networks, table = next(iter_graphs(graphs, read_kinds(kinds)))
    if row >= len(networks):
        raise TableError(
            "the networks that a search compares",
            where=graphs,
            expected=f"at least {row + 1}",
            got=len(networks),
            remedy="Delete the file and run the workflow again.",
        )
    return table["arch_id"][row].as_py(), networks[row]


def accuracies(trained: Sequence[Path]) -> dict[str, list[float]]:
    """The test accuracies in percent of trained networks by `arch_id`, one for each seed."""
    found_values: dict[str, dict[str, float]] = {}
    for path in trained:
        for one in read_table(path, LABELS).to_pylist():
            found_values.setdefault(one["arch_id"], {})[one["label"]] = one["value"]
    return {arch_id: list(values.values()) for arch_id, values in found_values.items()}


def mutants(table: pa.Table) -> pa.Table:
    """Those of CANDIDATES that the search has made: neither the start nor a random descent's end."""
    return table.filter(pc.greater(table["iteration"], 0))


def improved(table: pa.Table) -> int:
    """How many mutants of CANDIDATES are predicted better than the start with fewer multiply-adds."""
    first, table = table.slice(0, 1).to_pylist()[0], mutants(table)
    better = pc.and_(pc.greater(table["predicted"], first["predicted"]), pc.less(table["macs"], first["macs"]))
    return pc.sum(better).as_py() or 0


def _mutant(family: str, live_hash: str) -> str:
    return f"{family}/mutant-{live_hash}"
