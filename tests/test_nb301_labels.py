"""NAS-Bench-301: labels of the table, of the published runs and of the surrogates."""

import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from nb301_boosters import MEMBERS, SPECS
from nb301_files import RESULT, ensemble_files, result, runtime_files
from nb301_runtimes import RUNTIMES

from archgauge.errors import FormatError, TableError
from archgauge.families import nb301
from archgauge.schemas import LABELS

SPEC = SPECS[0]


def test_labels_of_the_table(tables_dir):
    path = tables_dir / "nb301_surrogate725.parquet"
    labels, table = nb301.LABEL_SOURCES["tables"](path), pq.read_table(path)
    assert labels.schema == LABELS
    assert len(set(labels["arch_id"].to_pylist())) == 725
    assert labels["value"].to_pylist() == table["val_accuracy"].to_pylist()
    assert set(pc.cast(labels["label"], pa.string()).to_pylist()) == {"cifar10/validation@100/xgb_noisy+surrogate"}
    assert labels["arch_id"][0].as_py() == f"nb301/{nb301.from_compact(table['arch_compact'][0].as_py())}"


def test_a_table_with_a_bad_accuracy_is_refused(tmp_path, tables_dir):
    table = pq.read_table(tables_dir / "nb301_surrogate725.parquet").slice(0, 2)
    table = table.set_column(1, "val_accuracy", pa.array([93.0, float("nan")]))
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(TableError, match="the label cifar10/validation@100/xgb_noisy"):
        nb301.LABEL_SOURCES["tables"](tmp_path / "x.parquet")


def test_labels_of_runs(tmp_path):
    for number, changed in enumerate(({}, {"test_accuracy": 93.5}, {"budget": 50})):
        folder = tmp_path / f"run_{number}" / "results_fidelity_0"
        folder.mkdir(parents=True)
        (folder / f"results_{number}.json").write_text(json.dumps(result(SPEC) | changed))
    (tmp_path / "results_9.json").write_text(json.dumps(RESULT))
    labels = nb301.LABEL_SOURCES["runs"](tmp_path).to_pylist()
    found = {(row["arch_id"], row["label"]): (row["value"], row["unit"]) for row in labels}
    name, other = f"nb301/{SPEC}", nb301.arch_id(nb301.from_configuration(RESULT["optimized_hyperparamater_config"]))
    assert len(found) == len(labels) == 12
    assert found[name, "cifar10/validation@100/run0"] == (94.1, "percent")
    assert found[name, "cifar10/test@100/run0"] == (93.7, "percent")
    assert found[name, "cifar10/test@100/run1"] == (93.5, "percent")
    assert found[name, "cifar10/train_seconds@100/run0"] == (4321.0, "seconds")
    assert found[name, "cifar10/test@50/run2"] == (93.7, "percent")
    assert found[other, "cifar10/test@1500/run0+other_settings"] == (97.54, "percent")


def test_a_run_of_another_space_is_refused(tmp_path):
    bad = result(SPEC)
    bad["optimized_hyperparamater_config"]["NetworkSelectorDatasetInfo:darts:edge_normal_0"] = "none"
    (tmp_path / "results_0.json").write_text(json.dumps(bad))
    with pytest.raises(FormatError, match=r"results_0.json.*the operation none"):
        nb301.LABEL_SOURCES["runs"](tmp_path)


def test_labels_of_the_surrogate(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in ensemble_files().items():
            packed.writestr(f"nb_models/{name}", content)
    path = tmp_path / "nb_models.zip"
    path.write_bytes(archive.getvalue())
    labels = nb301.surrogate_labels(path, SPECS)
    assert labels.schema == LABELS
    assert labels["arch_id"].to_pylist() == [f"nb301/{spec}" for spec in SPECS]
    official = np.array([predictions for _, predictions in MEMBERS])
    assert np.array_equal(labels["value"].to_numpy(), official.mean(0))
    assert set(pc.cast(labels["label"], pa.string()).to_pylist()) == {"cifar10/validation@100/xgb+surrogate"}
    draws = [nb301.surrogate_labels(path, SPECS, np.random.default_rng(seed)) for seed in range(300)]
    values = np.array([draw["value"].to_numpy() for draw in draws])
    assert np.allclose(values.std(0), official.std(0), rtol=0.2)
    assert np.allclose(values.mean(0), official.mean(0), atol=4 * official.std(0).max() / 300**0.5)
    assert draws[0]["label"][0].as_py() == "cifar10/validation@100/xgb_noisy+surrogate"


def test_labels_of_training_time_are_seconds(tmp_path):
    for name, content in runtime_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    labels = nb301.surrogate_labels(tmp_path, SPECS)
    assert set(pc.cast(labels["label"], pa.string()).to_pylist()) == {"cifar10/train_seconds@100/lgb+surrogate"}
    assert set(pc.cast(labels["unit"], pa.string()).to_pylist()) == {"seconds"}
    assert np.array_equal(labels["value"].to_numpy(), np.mean([official for _, official in RUNTIMES], axis=0))


def test_the_surrogates_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(nb301, "SURROGATE_SAMPLE", 7)
    for name, content in ensemble_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    first, second = (nb301.LABEL_SOURCES["surrogate"](tmp_path) for _ in range(2))
    assert first == second
    assert len(set(first["arch_id"].to_pylist())) == len(first) == 7
