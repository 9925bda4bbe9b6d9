"""Small files in the official formats of NAS-Bench-301."""

import base64
import json
import zlib
from typing import Any

from nb301_boosters import MEMBERS
from nb301_runtimes import RUNTIMES

from archgauge.families import nb301

_DARTS = "NetworkSelectorDatasetInfo:darts:"

RESULT: dict[str, Any] = json.loads(
    """{"final_metric_score": -97.68, "optimized_hyperparamater_config": {"ImageAugmentation:augment": "True",
"ImageAugmentation:autoaugment": "True", "ImageAugmentation:cutout": "True", "ImageAugmentation:cutout_holes": 1,
"ImageAugmentation:fastautoaugment": "False", "NetworkSelectorDatasetInfo:darts:drop_path_prob": 0.2,
"NetworkSelectorDatasetInfo:network": "darts", "CreateImageDataLoader:batch_size": 96,
"ImageAugmentation:cutout_length": 16, "LossModuleSelectorIndices:loss_module": "cross_entropy",
"NetworkSelectorDatasetInfo:darts:auxiliary": "True",
"NetworkSelectorDatasetInfo:darts:edge_normal_0": "skip_connect",
"NetworkSelectorDatasetInfo:darts:edge_normal_1": "sep_conv_3x3",
"NetworkSelectorDatasetInfo:darts:edge_reduce_0": "max_pool_3x3",
"NetworkSelectorDatasetInfo:darts:edge_reduce_1": "avg_pool_3x3",
"NetworkSelectorDatasetInfo:darts:init_channels": 50,
"NetworkSelectorDatasetInfo:darts:inputs_node_normal_3": "0_1",
"NetworkSelectorDatasetInfo:darts:inputs_node_normal_4": "0_2",
"NetworkSelectorDatasetInfo:darts:inputs_node_normal_5": "1_2",
"NetworkSelectorDatasetInfo:darts:inputs_node_reduce_3": "0_1",
"NetworkSelectorDatasetInfo:darts:inputs_node_reduce_4": "1_2",
"NetworkSelectorDatasetInfo:darts:inputs_node_reduce_5": "2_3", "NetworkSelectorDatasetInfo:darts:layers": 20,
"OptimizerSelector:optimizer": "sgd", "OptimizerSelector:sgd:learning_rate": 0.02920949203420479,
"OptimizerSelector:sgd:momentum": 0.9, "OptimizerSelector:sgd:weight_decay": 0.0003974557149504894,
"SimpleLearningrateSchedulerSelector:cosine_annealing:T_max": 1500,
"SimpleLearningrateSchedulerSelector:cosine_annealing:eta_min": 1e-08,
"SimpleLearningrateSchedulerSelector:lr_scheduler": "cosine_annealing",
"SimpleTrainNode:batch_loss_computation_technique": "mixup", "SimpleTrainNode:mixup:alpha": 0.2,
"NetworkSelectorDatasetInfo:darts:edge_normal_10": "sep_conv_3x3",
"NetworkSelectorDatasetInfo:darts:edge_normal_11": "skip_connect",
"NetworkSelectorDatasetInfo:darts:edge_normal_2": "sep_conv_3x3",
"NetworkSelectorDatasetInfo:darts:edge_normal_3": "skip_connect",
"NetworkSelectorDatasetInfo:darts:edge_normal_5": "dil_conv_3x3",
"NetworkSelectorDatasetInfo:darts:edge_normal_7": "dil_conv_5x5",
"NetworkSelectorDatasetInfo:darts:edge_reduce_11": "sep_conv_3x3",
"NetworkSelectorDatasetInfo:darts:edge_reduce_12": "dil_conv_3x3",
"NetworkSelectorDatasetInfo:darts:edge_reduce_2": "skip_connect",
"NetworkSelectorDatasetInfo:darts:edge_reduce_3": "dil_conv_5x5",
"NetworkSelectorDatasetInfo:darts:edge_reduce_6": "sep_conv_3x3",
"NetworkSelectorDatasetInfo:darts:edge_reduce_7": "sep_conv_5x5"}, "budget": 1500, "info": [{"train_loss": 0.65928,
"train_accuracy": 86.6379, "train_cross_entropy": 1.57748, "val_accuracy": 97.68, "val_cross_entropy": 0.11181,
"epochs": 1488, "model_parameters": 6369358, "learning_rate": 4.622333727829872e-06, "train_datapoints": 40000,
"val_datapoints": 10000, "dataset_path": "datasets/CIFAR10.csv", "dataset_id": 0}], "test_accuracy": 97.54,
"runtime": 365136}"""
)
"""The one result in the benchmark's repository: a training of 50 channels and 20 cells for 1,500 epochs."""


def result(spec: str) -> dict[str, Any]:
    """A result with the benchmark's own settings."""
    changed = {key: value for key, value in RESULT["optimized_hyperparamater_config"].items() if not _is_cell(key)}
    changed |= {f"{_DARTS}init_channels": 32, f"{_DARTS}layers": 8}
    changed |= {"OptimizerSelector:sgd:learning_rate": 0.025, "OptimizerSelector:sgd:weight_decay": 0.0003}
    changed |= nb301.to_configuration(spec)
    info = RESULT["info"][0] | {"val_accuracy": 94.1, "model_parameters": 1_500_000}
    return {
        "optimized_hyperparamater_config": changed,
        "budget": 100,
        "info": [info],
        "test_accuracy": 93.7,
        "runtime": 4321,
    }


def _is_cell(key: str) -> bool:
    return key.startswith((f"{_DARTS}edge_", f"{_DARTS}inputs_"))


def booster(member: int) -> bytes:
    """A pickled booster."""
    return zlib.decompress(base64.b85decode(MEMBERS[member][0]))


def ensemble_files() -> dict[str, bytes]:
    """An XGBoost ensemble of two members as the archive holds it, by name."""
    files: dict[str, bytes] = {}
    for member in range(len(MEMBERS)):
        folder = f"xgb_v1.0/ensemble_member_{member}"
        files[f"{folder}/surrogate_model.model"] = booster(member)
        files[f"{folder}/model_config.json"] = json.dumps({"model": "xgb", "param:bananas_enc": False}).encode()
        files[f"{folder}/data_config.json"] = b'{"seed": 1}'
    return files


def runtime_files() -> dict[str, bytes]:
    """An ensemble of training time as the archive holds it, by name."""
    files: dict[str, bytes] = {}
    for member, (content, _) in enumerate(RUNTIMES):
        folder = f"lgb_runtime_v1.0/ensemble_member_{member}"
        files[f"{folder}/surrogate_model.model"] = zlib.decompress(base64.b85decode(content))
        files[f"{folder}/model_config.json"] = b'{"model": "lgb_time"}'
    return files
