"""Numbers printed in papers, to stand beside ours. Each is found by paper, table, row and column, as printed there."""

from dataclasses import dataclass

from archgauge.errors import ConfigError


@dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        value: the number.
        spread: the number after its ±, or None: a standard deviation over five runs, not a standard error (the
            second paper says so, the first prints it without a word).
        text: value and spread with the digits of the paper.
        source: paper and table, for a line under our table.
    """

    value: float
    spread: float | None
    text: str
    source: str


_PAPERS = {
    "gennape": "GENNAPE",
    "transferable": "A General-Purpose Transferable Predictor for Neural Architecture Search",
}

# Rows that concern NAS-Bench-101 and NAS-Bench-201. GENNAPE's NB-201 is the 4,096 cells without `none`, its encoder and
# heads are trained on 40,000 labelled NB-101 networks; the first row of a family is zero-shot over all cells, "w/ FT"
# is fine-tuned on 50 cells and evaluated on the others, 5 seeds. MAE in percent points.
_TABLES = {
    # Spearman; 50 (NAS-Bench-101) or 40 (NAS-Bench-201) labels of the target for the last two rows.
    ("transferable", "1"): """
                      | NAS-Bench-101 | NAS-Bench-201
        Synflow       | 0.361         | 0.823
        Jacov         | 0.358         | 0.859
        Fisher        | -0.277        | 0.687
        GradNorm      | -0.256        | 0.714
        Grasp         | 0.245         | 0.637
        Snip          | -0.165        | 0.718
        GNN-fine-tune | 0.542 ± 0.14  | 0.884 ± 0.03
        CL-fine-tune  | 0.553 ± 0.09  | 0.917 ± 0.01
    """,
    # Search on NAS-Bench-201, all cells: queries (those of the fine-tuning among them), best accuracy in %, its rank.
    ("transferable", "2, NAS-Bench-201"): """
                     | #Q | Acc. (%)    | Rank
        Random       | 90 | 93.91 ± 0.2 | 104
        Synflow      | 90 | 94.37 ± 0.0 | 1.0
        CL-fine-tune | 90 | 94.37 ± 0.0 | 1.0
    """,
    # Nodes of a computation graph that each operation of a cell becomes.
    ("transferable", "5"): """
                                         | #Nodes
        NAS-Bench-101, 1 × 1 Conv        | 3
        NAS-Bench-101, 3 × 3 Conv        | 3
        NAS-Bench-101, 3 × 3 Max Pool    | 1
        NAS-Bench-201, Zeroize           | 0
        NAS-Bench-201, Skip-Connect      | 0
        NAS-Bench-201, 1 × 1 Conv        | 3
        NAS-Bench-201, 3 × 3 Conv        | 3
        NAS-Bench-201, 3 × 3 Ave. Pool   | 1
        NAS-Bench-301, Skip-Connect      | 0
        NAS-Bench-301, 3 × 3 Sep. Conv   | 8
        NAS-Bench-301, 5 × 5 Sep. Conv   | 8
        NAS-Bench-301, 3 × 3 Dil. Conv   | 4
        NAS-Bench-301, 5 × 5 Dil. Conv   | 4
        NAS-Bench-301, 3 × 3 Ave. Pool   | 1
        NAS-Bench-301, 3 × 3 Max Pool    | 1
    """,
    # Architectures of each family and the mean, standard deviation and range of their accuracies in %.
    ("gennape", "2"): """
                  | #CGs | Mean  | Std  | Least | Greatest
        NB-101    | 50000 | 89.67 | 5.73 | 10    | 94.09
        NB-201    | 4100  | 89.44 | 6.13 | 46.25 | 93.37
        NB-301    | 10000 | 93.03 | 0.74 | 88.28 | 94.67
        PN        | 8200  | 75.41 | 0.09 | 71.15 | 77.81
        OFA-MBv3  | 7500  | 76.94 | 0.08 | 73.56 | 78.83
        OFA-RN    | 10000 | 78.19 | 0.07 | 75.25 | 79.94
        HiAML     | 4600  | 92.36 | 0.37 | 91.11 | 93.44
        Inception | 580   | 91.99 | 0.75 | 89.08 | 94.03
        Two-Path  | 6900  | 89.94 | 0.83 | 85.53 | 92.34
    """,
    # Spearman of zero-cost proxies.
    ("gennape", "1"): """
              | Synflow | Jacov | Fisher | Snip  | FLOPs
        NB-201 | 0.823  | 0.859 | 0.687  | 0.718 | 0.001
    """,
    # Test part of 50,000 NB-101 networks, trained on 80 % of them.
    ("gennape", "3"): """
                 | MAE         | SRCC
        NPN      | 1.09 ± 0.01 | 0.934 ± 0.003
        BANANAS  | 1.40 ± 0.06 | 0.834 ± 0.002
        TNASP    | 1.23 ± 0.02 | 0.918 ± 0.002
        GCN      | 1.78 ± 0.06 | 0.732 ± 0.034
        GIN      | 1.72 ± 0.04 | 0.735 ± 0.035
        k-GNN    | 1.61 ± 0.08 | 0.814 ± 0.020
        CL       | 1.51 ± 0.17 | 0.874 ± 0.009
        CL+FCM   | 1.19 ± 0.12 | 0.896 ± 0.003
        CL+T     | 0.65 ± 0.08 | 0.921 ± 0.003
        CL+FCM+T | 0.59 ± 0.01 | 0.930 ± 0.002
    """,
    # MAE; NB-201 fine-tuned on 50 cells.
    ("gennape", "4"): """
               | k-GNN | CL   | CL+T | CL+FCM+T
        NB-101 | 1.61  | 1.51 | 0.65 | 0.59
        NB-201 | 1.80  | 2.81 | 1.93 | 2.05
    """,
    # Spearman.
    ("gennape", "5"): """
                     | k-GNN           | GENNAPE
        NB-201       | 0.4930          | 0.8146
        NB-201 w/ FT | 0.8606 ± 0.0245 | 0.9103 ± 0.0114
    """,
    # NDCG@10.
    ("gennape", "6"): """
                     | k-GNN           | GENNAPE
        NB-201       | 0.9270          | 0.9793
        NB-201 w/ FT | 0.9751 ± 0.0082 | 0.9855 ± 0.0030
    """,
    # Spearman.
    ("gennape", "8"): """
              | k-GNN | CL | CL+T | CL+FCM+T | CL+Pairwise | CL+FCM+Pairwise | GENNAPE
        NB-201 | 0.4930 | 0.8520 | 0.7834 | 0.7647 | 0.8151 | 0.8503 | 0.8146
        NB-201 w/ FT | 0.8606 ± 0.0245 | 0.7892 ± 0.0715 | 0.8309 ± 0.0410 | 0.8281 ± 0.0181 \
            | 0.8897 ± 0.0153 | 0.8896 ± 0.0179 | 0.9103 ± 0.0114
    """,
    # Kendall's tau.
    ("gennape", "9"): """
              | k-GNN | CL | CL+T | CL+FCM+T | CL+Pairwise | CL+FCM+Pairwise | GENNAPE
        NB-201 | 0.3382 | 0.6554 | 0.5855 | 0.5719 | 0.6253 | 0.6572 | 0.6202
        NB-201 w/ FT | 0.6772 ± 0.0100 | 0.6004 ± 0.0739 | 0.6430 ± 0.0445 | 0.6376 ± 0.0205 \
            | 0.7137 ± 0.0209 | 0.7121 ± 0.0244 | 0.7415 ± 0.0180
    """,
    ("gennape", "10, NDCG@50"): """
              | k-GNN | CL | CL+T | CL+FCM+T | CL+Pairwise | CL+FCM+Pairwise | GENNAPE
        NB-201 | 0.9495 | 0.9848 | 0.9859 | 0.9847 | 0.9793 | 0.9872 | 0.9836
        NB-201 w/ FT | 0.9819 ± 0.0056 | 0.9434 ± 0.0214 | 0.9822 ± 0.0063 | 0.9848 ± 0.0040 \
            | 0.9916 ± 0.0022 | 0.9907 ± 0.0052 | 0.9885 ± 0.0025
    """,
    ("gennape", "10, NDCG@10"): """
              | k-GNN | CL | CL+T | CL+FCM+T | CL+Pairwise | CL+FCM+Pairwise | GENNAPE
        NB-201 | 0.9270 | 0.9845 | 0.9856 | 0.9868 | 0.9755 | 0.9858 | 0.9793
        NB-201 w/ FT | 0.9751 ± 0.0082 | 0.9362 ± 0.0298 | 0.9818 ± 0.0063 | 0.9834 ± 0.0054 \
            | 0.9910 ± 0.0023 | 0.9902 ± 0.0063 | 0.9855 ± 0.0030
    """,
}


def published(paper: str, table: str, row: str, column: str) -> Published:
    """Look a number up, such as `published("gennape", "8", "NB-201 w/ FT", "GENNAPE")`.

    Raises:
        ConfigError: when the table, row or column is not among the collected ones; the message lists the choices.
    """
    if (paper, table) not in _TABLES:
        raise _unknown("a published table", "published", [f"{p} {t}" for p, t in _TABLES], f"{paper} {table}")
    where = f"published, {paper} table {table}"
    rows = _parsed(_TABLES[paper, table])
    if row not in rows:
        raise _unknown("a row of a published table", where, list(rows), row)
    if column not in rows[row]:
        raise _unknown("a column of a published table", where, list(rows[row]), column)
    text = rows[row][column]
    value, _, spread = text.partition(" ± ")
    return Published(float(value), float(spread) if spread else None, text, f"{_PAPERS[paper]}, Table {table}")


def _parsed(text: str) -> dict[str, dict[str, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    (_, *columns), *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return {row: dict(zip(columns, cells, strict=True)) for row, *cells in rows}


def _unknown(checked: str, where: str, choices: list[str], got: str) -> ConfigError:
    return ConfigError(checked, where=where, expected="; ".join(choices), got=got, remedy="Choose one of these.")
