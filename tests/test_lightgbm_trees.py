"""LightGBM's text models: trees whose predictions are worked out by hand, LightGBM's own, and broken ones."""

import base64
import collections
import os
import pickle
import sys
import types
import zlib

import numpy as np
import pytest
from nb301_boosters import SPECS
from nb301_runtimes import RUNTIMES

from archgauge.errors import FormatError
from archgauge.families import nb301
from archgauge.formats import nasbench301
from archgauge.formats.lightgbm_trees import read_pickled_lightgbm

TEXT = """tree
version=v3
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=regression
feature_names=Column_0 Column_1
tree_sizes=100 100 100

Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
threshold=1.5 -0.5
decision_type=2 8
left_child=1 -1
right_child=-3 -2
leaf_value=100 200 300
shrinkage=1

Tree=1
num_leaves=2
num_cat=0
split_feature=1
threshold=2
decision_type=0
left_child=-1
right_child=-2
leaf_value=-0.25 0.5
shrinkage=0.1

Tree=2
num_leaves=1
num_cat=0
leaf_value=7
shrinkage=0.1

end of trees

parameters:
[objective: regression]
end of parameters
"""
"""Left of feature 0 at 1.5 is a split of feature 1 at -0.5 into 100 and 200, right of it 300."""

ROWS = np.array([[1.5, -0.5], [1.5, 0.0], [1.6, 2.0], [9.0, 2.1]])
BY_HAND = {1: [100, 200, 300, 300], 2: [99.75, 199.75, 299.75, 300.5], 3: [106.75, 206.75, 306.75, 307.5]}


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def pickled(monkeypatch):
    """Pickle a text as a Booster, under its own name as long as that takes."""

    def write(handle, best_iteration=0, **other) -> bytes:
        module = types.ModuleType("lightgbm.basic")
        module.Booster = type("Booster", (), {"__module__": module.__name__})
        booster = module.Booster()
        scores = collections.defaultdict(collections.OrderedDict, {"valid_0": {"rmse": np.float64(3)}})
        vars(booster).update({"handle": handle, "best_iteration": best_iteration, "best_score": scores, **other})
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "lightgbm", types.ModuleType("lightgbm"))
            patch.setitem(sys.modules, module.__name__, module)
            return pickle.dumps(booster, 3)

    return write


@pytest.mark.parametrize(("best", "used"), [(0, 3), (-1, 3), (1, 1), (2, 2), (3, 3)])
def test_predictions_are_those_worked_out_by_hand(pickled, best, used):
    forest = read_pickled_lightgbm(pickled(TEXT, best), "x", 2)
    assert forest.predict(ROWS).tolist() == BY_HAND[used]
    assert forest.predict(ROWS[:0]).shape == (0,)
    assert forest.predict(np.tile(ROWS, (600, 1))).tolist() == BY_HAND[used] * 600


@pytest.mark.parametrize(("content", "official"), RUNTIMES)
def test_predictions_are_lightgbms_own(content, official):
    """Of a model that LightGBM 2.3.1 wrote, to the last bit."""
    forest = read_pickled_lightgbm(zlib.decompress(base64.b85decode(content)), "x", 56)
    genotypes = [nb301.parse(spec) for spec in SPECS]
    features = np.stack([nasbench301.features((one.normal.edges, one.reduce.edges)) for one in genotypes])
    assert tuple(forest.predict(features)) == official
    assert len(set(official)) > 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("decision_type=2 8", "decision_type=2 1", "decision_type='2 1'"),  # categorical
        ("decision_type=2 8", "decision_type=6 8", "decision_type='6 8'"),  # a zero is a gap
        ("decision_type=2 8", "decision_type=2", "in place of 2 numbers"),
        ("leaf_value=100 200 300", "leaf_value=100 200", "in place of 3 numbers"),
        ("leaf_value=100", "leaf_value=nan", "leaf_value='nan"),
        ("threshold=1.5", "threshold=x", "ValueError"),
        ("left_child=1", "left_child=0", "no tree"),
        ("right_child=-3", "right_child=-9", "no tree"),
        ("right_child=-3", "right_child=1", "no tree"),
        ("split_feature=0 1", "split_feature=0 2", "a feature that is not there"),
        ("split_feature=0 1", "split_feature=0 -1", "a feature that is not there"),
        ("num_leaves=3", "num_leaves=0", "ValueError"),
        ("num_leaves=3", "", "KeyError: 'num_leaves'"),
        ("num_leaves=3", "num_leaves=3\nis_linear=1", "linear leaves"),
        ("objective=regression\n", "objective=regression sqrt\n", "objective='regression sqrt'"),
        ("objective=regression\n", "", "KeyError: 'objective'"),
        ("num_class=1", "num_class=3", "num_class='3'"),
        ("version=v3", "version=v9", "version='v9'"),
        ("label_index=0", "label_index=0\naverage_output", "average_output"),
        ("max_feature_idx=1", "max_feature_idx=55", "max_feature_idx='55'"),
        ("\nTree=", "\nBush=", "not enough values"),
    ],
)
def test_another_model_is_refused(pickled, old, new, message):
    assert old in TEXT
    with pytest.raises(FormatError, match=rf"a LightGBM regressor at x: expected trees with numeric splits.*{message}"):
        read_pickled_lightgbm(pickled(TEXT.replace(old, new)), "x", 2)


@pytest.mark.parametrize("handle", [None, 3, b"tree"])
def test_a_booster_without_text_is_refused(pickled, handle):
    with pytest.raises(FormatError, match="a LightGBM regressor"):
        read_pickled_lightgbm(pickled(handle), "x", 2)


def test_a_hostile_model_runs_nothing(pickled, tmp_path):
    content = pickled(TEXT, params=Call(os.system, f"touch {tmp_path / 'victim'}"))
    with pytest.raises(FormatError, match=r"posix.system.* do not trust this one"):
        read_pickled_lightgbm(content, "x", 2)
    assert not list(tmp_path.iterdir())
