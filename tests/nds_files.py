"""Small sweeps in the official format of NDS."""

import json
from typing import Any

GENOTYPE = {
    "normal": [["sep_conv_3x3", 1], ["skip_connect", 0], ["max_pool_3x3", 2], ["sep_conv_5x5", 0]] * 2,
    "normal_concat": [2, 3, 4, 5],
    "reduce": [["avg_pool_3x3", 0], ["avg_pool_3x3", 0], ["sep_conv_3x3", 1], ["skip_connect", 2]] * 2,
    "reduce_concat": [2, 3, 4, 5],
}


def training(genotype: dict[str, Any] = GENOTYPE, **changed: Any) -> dict[str, Any]:
    """One training as the authors publish it; `changed` replaces or adds keys."""
    return {
        "job_id": "9f7a",
        "exp_mem": 1.5,
        "act_mem": 2,
        "params": 1_234_567,
        "flops": 98_765_432,
        "prec_time": 0.01,
        "iter_time": 0.02,
        "net": {"genotype": genotype, "width": 16, "depth": 8, "aux": True, "drop_prob": 0.2},
        "optim": {"lr": 0.1, "wd": 0.0005},
        "min_test_top1": 6.5,
        "train_ep_loss": [2.0, 1.0],
        "train_ep_top1": [60.0, 20.0],
        "test_ep_top1": [50.0, 25.5, 6.75],
        "train_it_loss": [2.5, 2.0, 1.5],
        "train_it_top1": [90.0, 80.0, 70.0],
    } | changed


def sweep(*trainings: dict[str, Any]) -> bytes:
    """A sweep on CIFAR-10."""
    return json.dumps(list(trainings)).encode()
