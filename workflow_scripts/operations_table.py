"""Print what operations of cells become in a computation graph, beside the transferable predictor's Table 5."""

from pathlib import Path

from archgauge import job
from archgauge.evaluation.family_tables import operations_table
from archgauge.evaluation.table_files import write_files
from archgauge.families import nb101, nb201, nb301

OPERATIONS = {
    "NAS-Bench-101": (nb101, {"1 × 1 Conv": "conv1x1", "3 × 3 Conv": "conv3x3", "3 × 3 Max Pool": "maxpool3x3"}),
    "NAS-Bench-201": (
        nb201,
        {
            "Zeroize": "none",
            "Skip-Connect": "skip_connect",
            "1 × 1 Conv": "nor_conv_1x1",
            "3 × 3 Conv": "nor_conv_3x3",
            "3 × 3 Ave. Pool": "avg_pool_3x3",
        },
    ),
    "NAS-Bench-301": (
        nb301,
        {
            "Skip-Connect": "skip_connect",
            "3 × 3 Sep. Conv": "sep_conv_3x3",
            "5 × 5 Sep. Conv": "sep_conv_5x5",
            "3 × 3 Dil. Conv": "dil_conv_3x3",
            "5 × 5 Dil. Conv": "dil_conv_5x5",
            "3 × 3 Ave. Pool": "avg_pool_3x3",
            "3 × 3 Max Pool": "max_pool_3x3",
        },
    ),
}
"""The paper's names -> the families' (the benchmark has no Zeroize in NAS-Bench-301, though the paper lists it)."""

APART = ("input", "output", "zero")
"""Not counted: what is around an operation, and zeros, which carry nothing."""


def main(*, page: Path, markdown: Path, comma_separated: Path, latex: Path) -> None:
    sequences = {}
    for space, (family, names) in OPERATIONS.items():
        for printed, name in names.items():
            graph = family.operation_graph(name)
            nodes = [graph.kinds[int(kind)].operation for kind in graph.kind]
            sequences[f"{space}, {printed}"] = tuple(node for node in nodes if node not in APART)
    table = operations_table(sequences, "Operations of cells and their nodes in a computation graph")
    write_files(table, page=page, markdown=markdown, comma_separated=comma_separated, latex=latex)


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
