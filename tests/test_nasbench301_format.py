"""Official files of NAS-Bench-301: results, features, tree and graph surrogates, and what is wrong with bad ones."""

import io
import json
import math
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from nb301_boosters import MEMBERS, SPECS
from nb301_files import RESULT, booster, ensemble_files, result, runtime_files
from nb301_runtimes import RUNTIMES

from archgauge.errors import FormatError
from archgauge.families import nb301
from archgauge.formats import nasbench301, nasbench301_surrogates
from archgauge.formats.xgboost_trees import Forest, read_pickled_forest


def cells(spec: str) -> nasbench301.Cells:
    genotype = nb301.parse(spec)
    return genotype.normal.edges, genotype.reduce.edges


FEATURES = np.stack([nasbench301.features(cells(spec)) for spec in SPECS])


# Results


def test_the_official_result():
    (normal, reduce) = nasbench301.cells_of(RESULT["optimized_hyperparamater_config"])
    assert normal[:4] == [("skip_connect", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("skip_connect", 1)]
    assert reduce[6:] == [("sep_conv_3x3", 2), ("dil_conv_3x3", 3)]
    own = {
        key: value
        for key, value in RESULT["optimized_hyperparamater_config"].items()
        if "_normal_" in key or "_reduce_" in key
    }
    assert nasbench301.configuration_of(normal, reduce) == own


def test_results_in_a_folder_a_zip_and_one_file(tmp_path):
    folder = tmp_path / "run_1" / "results_fidelity_0"
    folder.mkdir(parents=True)
    (folder / "results_2.json").write_text(json.dumps(RESULT))
    (folder / "results_10.json").write_text(json.dumps(result(SPECS[0])))
    (folder / "train_paths.json").write_text("[]")
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as packed:
        for file in folder.iterdir():
            packed.write(file, f"nb/{file.name}")
    runs = list(nasbench301.read_runs(tmp_path / "run_1"))
    assert [run.name for run in runs] == ["results_fidelity_0/results_10.json", "results_fidelity_0/results_2.json"]
    assert [(run.standard, run.epochs, run.validation_pct, run.test_pct, run.seconds) for run in runs] == [
        (True, 100, 94.1, 93.7, 4321.0),
        (False, 1500, 97.68, 97.54, 365136.0),
    ]
    assert runs[1].parameters == 6_369_358
    zipped = list(nasbench301.read_runs(tmp_path / "runs.zip"))
    assert [run.cells for run in zipped] == [run.cells for run in runs]
    assert [run.test_pct for run in nasbench301.read_runs(folder / "results_2.json")] == [97.54]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "JSONDecodeError"),
        (json.dumps(RESULT)[:-5].encode(), "JSONDecodeError"),
        (b"[" * 200_000, "RecursionError"),
        (b"\xff\xfe", "a JSON file"),
        (b"[]", "TypeError"),
        (b"{}", "KeyError"),
        (json.dumps(RESULT | {"info": []}).encode(), "IndexError"),
        (json.dumps(RESULT | {"test_accuracy": None}).encode(), "TypeError"),
        (json.dumps(RESULT | {"budget": 1e999}).encode(), "OverflowError"),
        (json.dumps(RESULT | {"optimized_hyperparamater_config": {}}).encode(), "KeyError"),
        (json.dumps(RESULT).replace('"0_1"', '"0_1_2"').encode(), "ValueError"),
        (json.dumps(RESULT).replace('"0_1"', "3").encode(), "AttributeError"),
        (b'{"a": "' + b"x" * 2**22 + b'"}', "more than 4,194,304 bytes"),
    ],
)
def test_a_bad_result_is_refused(tmp_path, content, message):
    path = tmp_path / "results_0.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        list(nasbench301.read_runs(tmp_path))
    assert "results_0.json" in str(caught.value)


def test_a_folder_without_results_is_said(tmp_path):
    with pytest.raises(FormatError, match=r"got no results_<number>.json"):
        list(nasbench301.read_runs(tmp_path))
    with pytest.raises(FormatError, match="got nothing there"):
        list(nasbench301.read_runs(tmp_path / "absent"))


@pytest.mark.parametrize(
    "name", ["../results_0.json", "/results_0.json", "a/../../results_0.json", "..\\results_0.json"]
)
def test_a_name_that_leads_out_of_an_archive_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(name, json.dumps(RESULT))
    with pytest.raises(FormatError, match="leads out of the archive"):
        list(nasbench301.read_runs(tmp_path / "x.zip"))


def test_a_damaged_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("results_0.json", json.dumps(RESULT))
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[200:220] = bytes(20)
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(FormatError, match="a whole zip archive"):
        list(nasbench301.read_runs(tmp_path / "x.zip"))


# Features


def test_the_features_are_configspaces():
    """Second construction: names sorted as ConfigSpace 0.4 sorts them, from the benchmark's configspace.json."""
    darts = "NetworkSelectorDatasetInfo:darts:"
    rates = "SimpleLearningrateSchedulerSelector:"
    fixed = {
        "CreateImageDataLoader:batch_size": math.log(96 / 63.50001) / math.log(128.49999 / 63.50001),
        "ImageAugmentation:cutout_holes": 0.49999 / 2.99998,
        "ImageAugmentation:cutout_length": 15.49999 / 49.99998,
        f"{darts}init_channels": 31.49999 / 9999.99998,
        f"{darts}layers": 7.49999 / 9999.99998,
        "OptimizerSelector:sgd:learning_rate": math.log(0.025),
        "OptimizerSelector:sgd:momentum": 0.8 / 0.89,
        "OptimizerSelector:sgd:weight_decay": math.log(0.0003),
        f"{rates}cosine_annealing:T_max": 99.49999 / 9999.99998,
        f"{rates}cosine_annealing:eta_min": 1e-12,
        "SimpleTrainNode:mixup:alpha": math.log(20) / math.log(70),
    }
    single = ["augment", "autoaugment", "cutout", "fastautoaugment"]
    fixed |= {f"ImageAugmentation:{name}": 0 for name in single}
    fixed |= {f"{darts}{name}": 0 for name in ("auxiliary", "drop_path_prob")}
    fixed |= {"LossModuleSelectorIndices:loss_module": 0, "NetworkSelectorDatasetInfo:network": 0}
    fixed |= {"OptimizerSelector:optimizer": 0, f"{rates}lr_scheduler": 0}
    fixed |= {"SimpleTrainNode:batch_loss_computation_technique": 0}
    pairs = {3: "0_1 0_2 1_2", 4: "0_1 0_2 0_3 1_2 1_3 2_3", 5: "0_1 0_2 0_3 0_4 1_2 1_3 1_4 2_3 2_4 3_4"}
    for spec, found in zip(SPECS, FEATURES, strict=True):
        given = nb301.to_configuration(spec)
        always, sometimes = dict(fixed), {}
        for side in ("normal", "reduce"):
            for node, names in pairs.items():
                key = f"{darts}inputs_node_{side}_{node}"
                always[key] = names.split().index(given[key])
            for edge in range(14):
                key = f"{darts}edge_{side}_{edge}"
                (always if edge < 2 else sometimes)[key] = nb301.OPERATIONS.index(given[key]) if key in given else -1
        expected = [always[key] for key in sorted(always)] + [sometimes[key] for key in sorted(sometimes)]
        assert len(expected) == nasbench301.FEATURES == 56
        assert np.allclose(found, expected, rtol=1e-12)


# Trees


@pytest.mark.parametrize("member", range(len(MEMBERS)))
def test_trees_predict_what_xgboost_predicted(member):
    """Predictions that XGBoost 1.2.1 made of its own model, to the last bit."""
    forest = read_pickled_forest(booster(member), "x", 56)
    assert len(forest.root) == 3
    assert np.array_equal(forest.predict(FEATURES), np.array(MEMBERS[member][1], np.float32))
    assert forest.predict(FEATURES[:0]).shape == (0,)


def test_a_feature_at_the_threshold_goes_right():
    """XGBoost sends what is below the threshold left, so what equals it right; a leaf may be a whole tree."""
    part = np.array
    forest = Forest(
        root=part([0, 3]),
        left=part([1, 1, 2, 3]),
        right=part([2, 1, 2, 3]),
        feature=part([1, 0, 0, 0]),
        value=part([2.0, -1.0, 1.0, 0.25], np.float32),
        base_score=np.float32(90),
    )
    assert forest.predict(np.array([[9, 1.5], [9, 2], [9, -1]])).tolist() == [89.25, 91.25, 89.25]


def handle_of(data: bytes) -> tuple[int, int]:
    start = data.index(b"CONFIG-offset:")
    return start, start + 14 + 8 + 4


def changed(place: int, content: bytes) -> bytes:
    data = booster(0)
    return data[:place] + content + data[place + len(content) :]


START, MODEL = handle_of(booster(0))
TREES = MODEL + 136 + 8 + 16 + 8 + 6
FIRST_TREE = TREES + 160


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a pickle"),
        (booster(0)[:1500], "a pickle"),
        (booster(0) + b".", "nothing after its end"),
        (changed(START, b"JSON"), "a model that starts with b'JSON"),
        (changed(MODEL + 4, struct.pack("<I", 55)), "55 features"),
        (changed(MODEL + 136 + 8, b"bin"), "in place of b'reg:squarederror'"),
        (changed(MODEL + 136, struct.pack("<Q", 2**63)), "an XGBoost regressor"),
        (changed(TREES, struct.pack("<i", 10**6)), "an XGBoost regressor"),
        (changed(TREES, struct.pack("<i", 0)), "an XGBoost regressor"),
        (changed(TREES, struct.pack("<i", -3)), "an XGBoost regressor"),
        (changed(FIRST_TREE + 4, struct.pack("<i", -1)), "a tree of -1 nodes"),
        (changed(FIRST_TREE + 4, struct.pack("<i", 2**30)), "an XGBoost regressor"),
        (changed(FIRST_TREE + 148 + 4, struct.pack("<i", 0)), "children are no later nodes"),
        (changed(FIRST_TREE + 148 + 4, struct.pack("<i", -1)), "children are no later nodes"),
        (changed(FIRST_TREE + 148 + 8, struct.pack("<i", 5000)), "children are no later nodes"),
        (changed(FIRST_TREE + 148 + 12, struct.pack("<I", 56)), "a feature that is not there"),
        (changed(FIRST_TREE + 148 + 16, struct.pack("<f", math.nan)), "on no number"),
        (pickle.dumps({"handle": b"CONFIG-offset:"}), "an XGBoost regressor"),
        (pickle.dumps(print), "builtins.print"),
    ],
)
def test_bad_trees_are_refused(data, message):
    with pytest.raises(FormatError, match=message):
        read_pickled_forest(data, "x", 56)


# Ensembles


def written(folder, files: dict[str, bytes]):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_an_ensemble_asks_its_members(tmp_path):
    (ensemble,) = nasbench301_surrogates.read_ensembles(written(tmp_path, ensemble_files()))
    assert ensemble.name == "xgb"
    assert np.array_equal(
        ensemble.predict([cells(spec) for spec in SPECS]), [predictions for _, predictions in MEMBERS]
    )


GIN = {
    "model": "gnn_gin",
    "gnn_hidden_dimensions": 6,
    "num_gnn_layers": 3,
    "graph_pooling": "mean",
    "virtual_node": True,
    "graph_preprocessing:undirected_graph": False,
    "graph_preprocessing:self_loops": False,
    "graph_preprocessing:add_node_degree_one_hot": True,
}


def gin_state() -> dict[str, torch.Tensor]:
    """A state dict with the published names, none of its numbers trivial."""
    torch.manual_seed(0)
    model = nasbench301_surrogates.GinSurrogate(GIN["gnn_hidden_dimensions"], GIN["num_gnn_layers"])
    return {
        name: value if not value.is_floating_point() else value * 0.5 + 0.1 * torch.rand_like(value)
        for name, value in model.state_dict().items()
    }


def gin_files(state: dict[str, torch.Tensor], settings: dict, **how) -> dict[str, bytes]:
    stream = io.BytesIO()
    torch.save(state, stream, **how)
    folder = "nb_models/gnn_gin_v1.0/member_0"
    return {
        f"{folder}/surrogate_model.model": stream.getvalue(),
        f"{folder}/model_config.json": json.dumps(settings).encode(),
    }


def by_hand(state: dict[str, np.ndarray], spec: str) -> float:
    """Second implementation: one graph, one node after another, in float64."""

    def linear(name, x):
        return state[f"{name}.weight"] @ x + state[f"{name}.bias"]

    def norm(name, x):
        scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + 1e-5)
        return (x - state[f"{name}.running_mean"]) * scale + state[f"{name}.bias"]

    def relu(x):
        return np.maximum(x, 0)

    edges, operations = [], []
    for shift, side in zip((0, 7), cells(spec), strict=True):
        adjacency = np.zeros((7, 7), int)
        for place, (_, source) in enumerate(side):
            adjacency[source, 2 + place // 2] = 1
        numbered = sorted((sum(range(2, 2 + place // 2)) + source, name) for place, (name, source) in enumerate(side))
        edges += [(a + shift, b + shift) for a, b in np.argwhere(adjacency)] + [
            (n + shift, 6 + shift) for n in (2, 3, 4, 5)
        ]
        operations += [1 + nb301.OPERATIONS.index(name) for _, name in numbered] + [0] * 4
    edges += [(6, 6), (6, 7), (6, 8), (13, 0), (13, 1)]
    operations += [0] * 5
    neighbours = [{b for a, b in edges if a == n} | {a for a, b in edges if b == n} for n in range(14)]
    kinds = [0, 1, 2, 2, 2, 2, 3] * 2
    encoder = "gnn_node.node_encoder"
    h = [
        state[f"{encoder}.type_encoder.weight"][kinds[n]]
        + state[f"{encoder}.attribute_encoder.weight"][len(neighbours[n])]
        for n in range(14)
    ]
    virtual = state["gnn_node.virtualnode_embedding.weight"][0]
    for layer in range(3):
        h = [x + virtual for x in h]
        conv, mlp = f"gnn_node.convs.{layer}", f"gnn_node.mlp_virtualnode_list.{layer}"
        new = []
        for n in range(14):
            x = (1 + state[f"{conv}.eps"]) * h[n]
            for (a, b), operation in zip(edges, operations, strict=True):
                if b == n:
                    x = x + relu(h[a] + state[f"{conv}.edge_encoder.weight"][operation])
            x = linear(f"{conv}.mlp.3", relu(norm(f"{conv}.mlp.1", linear(f"{conv}.mlp.0", x))))
            new.append(norm(f"gnn_node.batch_norms.{layer}", x))
        if layer < 2:
            y = relu(norm(f"{mlp}.1", linear(f"{mlp}.0", sum(h) + virtual)))
            virtual = relu(norm(f"{mlp}.4", linear(f"{mlp}.3", y)))
            new = [relu(x) for x in new]
        h = new
    return float(100 / (1 + np.exp(-linear("graph_pred_linear", sum(h) / 14)))[0])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_graph_network_predicts_what_it_does_by_hand(tmp_path, zipped):
    """Torch 1.5, which wrote the published files, did not zip them."""
    state = gin_state()
    files = gin_files(state, GIN, _use_new_zipfile_serialization=zipped)
    (ensemble,) = nasbench301_surrogates.read_ensembles(written(tmp_path, files))
    assert ensemble.name == "gin"
    found = ensemble.predict([cells(spec) for spec in SPECS])
    plain = {name: value.double().numpy() for name, value in state.items()}
    assert np.allclose(found, [[by_hand(plain, spec) for spec in SPECS]], atol=1e-3)
    assert np.ptp(found) > 0.05


def test_all_ensembles_of_one_archive(tmp_path):
    written(tmp_path, {f"nb_models/{name}": content for name, content in ensemble_files().items()})
    written(tmp_path, gin_files(gin_state(), GIN))
    written(tmp_path, {f"nb_models/{name}": content for name, content in runtime_files().items()})
    found = nasbench301_surrogates.read_ensembles(tmp_path)
    assert [(ensemble.name, len(ensemble.members)) for ensemble in found] == [("xgb", 2), ("lgb", 2), ("gin", 1)]
    seconds = found[1].predict([cells(spec) for spec in SPECS])
    assert np.array_equal(seconds, [predictions for _, predictions in RUNTIMES])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gnn_hidden_dimensions", 10**9),
        ("gnn_hidden_dimensions", 7),
        ("num_gnn_layers", "3"),
        ("num_gnn_layers", 4),
        ("graph_pooling", "sum"),
        ("virtual_node", False),
        ("graph_preprocessing:self_loops", True),
    ],
)
def test_a_graph_network_with_other_settings_is_refused(tmp_path, setting, value):
    written(tmp_path, gin_files(gin_state(), GIN | {setting: value}))
    with pytest.raises(FormatError, match="a surrogate of NAS-Bench-301"):
        nasbench301_surrogates.read_ensembles(tmp_path)


class Hostile:
    def __reduce__(self):
        return print, ("owned",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/surrogate_model.model": b"x"}, "no model_config.json beside it"),
        ({"a/surrogate_model.model": b"x", "a/model_config.json": b"[]"}, "no model_config.json beside it"),
        ({"a/surrogate_model.model": b"x", "a/model_config.json": b"{"}, "a JSON file"),
        ({"a/surrogate_model.model": b"x", "a/model_config.json": b'{"model": "svr"}'}, "a model 'svr'"),
        ({"a/surrogate_model.model": b"x", "a/model_config.json": json.dumps(GIN).encode()}, "a surrogate of"),
        (gin_files({"graph_pred_linear.weight": torch.zeros(1, 6)}, GIN), "Missing key"),
        (gin_files({"x": Hostile()}, GIN), "a surrogate of"),
        ({"a/model_config.json": b"{}"}, "no surrogate_model.model"),
    ],
)
def test_a_bad_ensemble_is_refused(tmp_path, files, message, capsys):
    with pytest.raises(FormatError, match=message):
        nasbench301_surrogates.read_ensembles(written(tmp_path, files))
    assert "owned" not in capsys.readouterr().out
