"""Tables: the right numbers in the right cells, honest about what is missing, the same in three forms."""

import csv
import io
import re

import numpy as np
import pyarrow as pa
import pytest

from archgauge.errors import ConfigError, TableError
from archgauge.evaluation.published import published
from archgauge.evaluation.table_files import as_csv, as_latex, as_markdown, write_files
from archgauge.evaluation.tables import Heading, Note, pivot
from archgauge.schemas import METRICS

ROWS = [
    Heading("GENNAPE, NB101", {"predictor": "gennape"}),
    Heading("ridge | paths", {"predictor": "ridge"}),
    Heading("MACs", {"predictor": "macs"}),
]
COLUMNS = [
    Heading("ρ, 20 labels", {"metric": "spearman", "n_train": 20, "population": "all"}),
    Heading("ρ, 50 labels", {"metric": "spearman", "n_train": 50, "population": "all"}),
    Heading("MAE %", {"metric": "mae", "n_train": 50, "population": "all"}),
]
VALUES = {
    ("gennape", 20, "spearman"): [0.80, 0.84, 0.88],
    ("gennape", 50, "spearman"): [0.911, 0.921, 0.931],
    ("gennape", 50, "mae"): [1.0, 1.2, 1.1],
    ("ridge", 20, "spearman"): [0.70, 0.75, 0.77],
    ("ridge", 50, "spearman"): [0.871, 0.880, 0.892],
    ("ridge", 50, "mae"): [2.0, 2.2, 2.1],
    ("macs", 20, "spearman"): [0.5],
    ("macs", 50, "spearman"): [0.51, np.nan, 0.52],
}


def _metrics(values=VALUES, **changes):
    common = {"experiment": "e", "family": "nb201", "population": "all", "label": "x", "n": 9, "backend": "torch"}
    rows = [
        {**common, "predictor": p, "n_train": n, "metric": m, "split": run, "seed": run + 5, "value": value, **changes}
        for (p, n, m), numbers in values.items()
        for run, value in enumerate(numbers)
    ]
    return pa.Table.from_pylist(rows, METRICS)


def _table(metrics=None, **options):
    options = {"title": "Few labels", "corner": "predictor", "rows": ROWS, "columns": COLUMNS, **options}
    return pivot(_metrics() if metrics is None else metrics, **options)


def test_each_cell_holds_mean_error_and_runs():
    entry = _table().entries["GENNAPE, NB101", "ρ, 50 labels"]
    assert entry.summary.mean == pytest.approx(0.921)
    assert entry.summary.standard_error == pytest.approx(0.01 / np.sqrt(3))
    assert entry.summary.runs == 3
    assert "**0.921 ± 0.006** (3)" in as_markdown(_table())


def test_best_is_highest_or_lowest_as_the_metric_has_it():
    entries = _table().entries
    assert [entries[row.text, "ρ, 20 labels"].best for row in ROWS] == [True, False, False]
    assert [entries[row.text, "MAE %"].best for row in ROWS] == [True, False, False]
    swapped = {**VALUES, ("ridge", 50, "mae"): [0.5, 0.6, 0.7]}
    assert _table(_metrics(swapped)).entries["ridge | paths", "MAE %"].best


def test_best_is_sought_among_equally_many_runs():
    """A mean over fewer draws is another quantity: no bold, however good it is."""
    entries = _table(_metrics({**VALUES, ("macs", 20, "spearman"): [0.99]})).entries
    assert [entries[row.text, "ρ, 20 labels"].best for row in ROWS] == [True, False, False]


def test_a_mean_over_fewer_runs_is_not_best_by_being_equal():
    entries = _table(_metrics({**VALUES, ("macs", 20, "spearman"): [0.84]})).entries
    assert entries["GENNAPE, NB101", "ρ, 20 labels"].best
    assert not entries["MACs", "ρ, 20 labels"].best


def test_equal_to_the_printed_digits_is_equally_good():
    entries = _table(_metrics({**VALUES, ("ridge", 50, "spearman"): [0.9112, 0.9212, 0.9312]})).entries
    assert entries["GENNAPE, NB101", "ρ, 50 labels"].best
    assert entries["ridge | paths", "ρ, 50 labels"].best


def test_empty_and_undefined_cells_say_why():
    table = _table(notes=[Note("MACs are no accuracy", "MACs", "MAE %")])
    text = as_markdown(table)
    assert table.entries["MACs", "MAE %"].summary is None
    assert table.notes == (
        ("ᵃ", "MACs are no accuracy"),
        ("ᵇ", "undefined in 1 of 3 runs: all predictions or all labels equal"),
    )
    assert text.splitlines()[-3:] == ["ᵃ MACs are no accuracy", "", "ᵇ " + table.notes[1][1]]
    assert "| MACs | 0.500 (1) | –ᵇ | –ᵃ |" in text
    assert "no such run was made" in as_markdown(_table())


def test_notes_on_rows_columns_and_cells_share_marks():
    scaled = "trained on 2,000 instead of 40,000 networks"
    notes = [
        Note(scaled, row="GENNAPE, NB101"),
        Note("another label", column="MAE %"),
        Note(scaled, "ridge | paths", "MAE %"),
        Note("another label", "ridge | paths", "MAE %"),
        *(Note(f"note {index}", row="MACs") for index in range(5)),
    ]
    table = _table(notes=notes)
    assert table.row_marks == {"GENNAPE, NB101": "ᵃ", "ridge | paths": "", "MACs": "ᶜ,ᵈ,ᵉ,ᶠ,ᵍ"}
    assert table.column_marks["MAE %"] == "ᵇ"
    assert table.entries["ridge | paths", "MAE %"].marks == "ᵃ,ᵇ"
    assert len({mark for mark, _ in table.notes}) == len(table.notes)
    listed = list(csv.DictReader(io.StringIO(as_csv(table))))
    mine = next(row for row in listed if row["row"] == "ridge | paths" and row["column"] == "MAE %")
    assert mine["notes"] == f"another label; {scaled}"


def test_published_numbers_stand_beside_ours_with_their_source():
    number = published("gennape", "8", "NB-201 w/ FT", "GENNAPE")
    table = _table(published={("GENNAPE, NB101", "ρ, 50 labels"): number})
    text = as_markdown(table)
    assert "**0.921 ± 0.006** (3) [0.9103 ± 0.0114]" in text
    assert "(GENNAPE, Table 8)" in text


def test_significance_against_a_reference_is_paired():
    table = _table(reference="ridge | paths")
    gennape = table.entries["GENNAPE, NB101", "ρ, 50 labels"]
    assert gennape.direction == "↑"
    assert gennape.difference.mean == pytest.approx(0.04)
    assert table.entries["GENNAPE, NB101", "MAE %"].direction == ""  # every run differs by exactly 1: no spread, no p
    noisy = {**VALUES, ("ridge", 50, "mae"): [2.0, 2.21, 2.13]}
    assert _table(_metrics(noisy), reference="ridge | paths").entries["GENNAPE, NB101", "MAE %"].direction == "↑"
    assert _table(_metrics(noisy), reference="GENNAPE, NB101").entries["ridge | paths", "MAE %"].direction == "↓"
    assert table.entries["ridge | paths", "MAE %"].difference is None
    assert table.entries["MACs", "ρ, 20 labels"].difference.runs == 1


def test_three_forms_agree(tmp_path):
    table = _table(reference="ridge | paths", notes=[Note("5 % & more_ρ", row="MACs")])
    for folder in ("a", "b"):
        paths = {"page": "t.html", "markdown": "t.md", "comma_separated": "t.csv", "latex": "t.tex"}
        write_files(table, **{form: tmp_path / folder / name for form, name in paths.items()})
    for name in ("t.html", "t.md", "t.csv", "t.tex"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["t.csv", "t.html", "t.md", "t.tex"]
    listed = list(csv.DictReader((tmp_path / "a" / "t.csv").open(encoding="utf-8")))
    assert len(listed) == 9
    assert float(listed[1]["mean"]) == pytest.approx(0.921, abs=1e-15)
    assert listed[1]["best"] == "True"
    assert listed[8]["mean"] == ""
    latex = (tmp_path / "a" / "t.tex").read_text(encoding="utf-8")
    assert r"\textbf{\boldmath 0.921 $\pm$ 0.006} (3) $\uparrow$" in latex
    assert r"5 \% \& more\_$\rho$" in latex
    assert latex.isascii()


def test_a_bar_does_not_break_the_markdown():
    lines = [line for line in as_markdown(_table()).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}


def test_latex_is_balanced():
    text = as_latex(_table(reference="MACs", notes=[Note("why # ~ ^ \\ { <", row="MACs")]))
    plain = re.sub(r"\\[{}\\]", "", text)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert [line.count(" & ") for line in body.strip().splitlines()] == [3, 3, 3]


def test_numbers_of_different_names_are_never_pooled():
    mixed = pa.concat_tables([_metrics(), _metrics(label="y", split=99)])
    with pytest.raises(TableError, match=r"GENNAPE, NB101 / ρ, 20 labels: expected .*got \{'label': \['x', 'y'\]\}"):
        _table(mixed)
    with pytest.raises(TableError, match=r"got 6 numbers of 3 \(split, seed\) runs"):
        _table(pa.concat_tables([_metrics(), _metrics()]))


def test_a_table_without_a_number():
    with pytest.raises(TableError, match="numbers of a table at Few labels: expected METRICS rows under at least one"):
        _table(rows=[Heading("x", {"predictor": "nobody"})])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "nobody"}, "a row named by .* got 'nobody'"),
        ({"notes": [Note("x", row="nobody")]}, "a row named by .* got 'nobody'"),
        ({"notes": [Note("x", column="none")]}, "a column named by .* got 'none'"),
        ({"rows": [ROWS[0], ROWS[0]]}, "the rows of a table .*distinct"),
        ({"columns": []}, "the columns of a table .*at least one"),
        ({"rows": [Heading("x", {"colour": 1})]}, r"the heading 'x' .*columns of METRICS.* got \['colour'\]"),
        ({"columns": [Heading("x", {"n_train": 1})]}, "the column 'x' .*a metric"),
    ],
)
def test_a_wrong_definition(options, message):
    with pytest.raises(ConfigError, match=message):
        _table(**options)
