"""Published numbers: the papers' own tables repeat one another, so slips of copying show."""

import pytest

from archgauge.errors import ConfigError
from archgauge.evaluation.published import published


def test_a_number_with_its_digits():
    number = published("gennape", "8", "NB-201 w/ FT", "GENNAPE")
    assert (number.value, number.spread, number.text) == (0.9103, 0.0114, "0.9103 ± 0.0114")
    assert number.source == "GENNAPE, Table 8"
    assert published("gennape", "1", "NB-201", "FLOPs").spread is None
    assert published("transferable", "1", "CL-fine-tune", "NAS-Bench-201").value == 0.917


FAMILIES = ["NB-201", "NB-301", "PN", "OFA-MBv3", "OFA-RN", "HiAML", "Inception", "Two-Path"]
ROWS = [f"{family}{tuned}" for family in FAMILIES for tuned in ("", " w/ FT")]


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("column", ["k-GNN", "GENNAPE"])
@pytest.mark.parametrize(("short", "long"), [("5", "8"), ("6", "10, NDCG@10")])
def test_the_short_tables_repeat_the_long_ones(row, column, short, long):
    assert published("gennape", short, row, column).text == published("gennape", long, row, column).text


@pytest.mark.parametrize("column", ["k-GNN", "CL", "CL+T", "CL+FCM+T"])
def test_table_4_repeats_table_3(column):
    assert published("gennape", "4", "NB-101", column).value == published("gennape", "3", column, "MAE").value


@pytest.mark.parametrize("proxy", ["Synflow", "Jacov", "Fisher", "Snip"])
def test_both_papers_print_the_same_proxies(proxy):
    ours = published("gennape", "1", "NB-201", proxy).value
    assert ours == published("transferable", "1", proxy, "NAS-Bench-201").value


@pytest.mark.parametrize("column", ["CL", "CL+T", "CL+FCM+T", "CL+Pairwise", "CL+FCM+Pairwise", "GENNAPE"])
@pytest.mark.parametrize("row", ["NB-201", "NB-201 w/ FT"])
def test_tau_lies_below_rho(row, column):
    rho, tau = (published("gennape", table, row, column).value for table in ("8", "9"))
    assert 0.7 * rho < tau < 0.85 * rho


def test_unknown_places():
    with pytest.raises(ConfigError, match=r"a published table at published: expected .*gennape 8.*, got gennape 12"):
        published("gennape", "12", "NB-201", "CL")
    with pytest.raises(ConfigError, match=r"a row .* gennape table 5: expected NB-201; NB-201 w/ FT.*, got NB-401"):
        published("gennape", "5", "NB-401", "GENNAPE")
    with pytest.raises(ConfigError, match=r"a column .* expected k-GNN; GENNAPE, got CL"):
        published("gennape", "5", "NB-201", "CL")


@pytest.mark.parametrize("row", ROWS)
def test_tau_and_rho_of_a_row_agree(row):
    """Copied from two tables of the paper; its one cell with tau above rho is CL on Two-Path."""
    for column in ("k-GNN", "CL", "CL+T", "CL+FCM+T", "CL+Pairwise", "CL+FCM+Pairwise", "GENNAPE"):
        rho, tau = (published("gennape", table, row, column).value for table in ("8", "9"))
        assert rho * tau > 0
        assert abs(tau) < abs(rho) or (row, column) == ("Two-Path", "CL")


@pytest.mark.parametrize("row", ROWS)
def test_values_of_ndcg_lie_between_0_and_1(row):
    for column in ("k-GNN", "CL", "CL+T", "CL+FCM+T", "CL+Pairwise", "CL+FCM+Pairwise", "GENNAPE"):
        for k in (10, 50):
            assert 0 < published("gennape", f"10, NDCG@{k}", row, column).value < 1
