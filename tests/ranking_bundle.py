"""A bundle on a few published networks, made as the rule makes it, for the tests that rank with it."""

from pathlib import Path

import pyarrow.compute as pc

from archgauge.families import zoo
from archgauge.graphs.tables import convert

KNOWN = [
    *("resnet10", "resnet14", "resnet26", "resnet34", "resnet101", "resnet18_wd2", "vgg11", "vgg16", "bn_vgg11"),
    *("bn_vgg16", "mobilenet_w1", "mobilenet_wd2", "mobilenet_wd4", "mobilenetv2_w1", "mobilenetv2_wd2"),
    *("shufflenetv2_w1", "shufflenetv2_wd2", "squeezenet_v1_0", "squeezenet_v1_1", "alexnet", "zfnet", "regnetx002"),
    *("regnetx008", "darknet_ref", "darknet53", "efficientnet_b0b", "efficientnet_b0c", "vovnet39", "resnet20_cifar10"),
]
"""On ImageNet-1k but for the last."""

UNSEEN = {"resnet18": 73.1, "resnet50": 77.7, "resnet152": 79.4}
"""Networks that the bundle does not know, and their published top-1 accuracies in percent."""

SETTINGS = {"label": "imagenet/top1+pytorchcv", "level": 0.9, "flagged": 0.95, "folds": 4, "seed": 0}


def tables(folder: Path, names: list[str]) -> tuple[Path, Path]:
    """GRAPHS and KINDS of networks of pytorchcv."""
    from archgauge.schemas import ARCHITECTURES, architectures, write_table

    specs = [f"pytorchcv:{name}" for name in names]
    write_table(folder / "architectures", architectures("zoo", [zoo.arch_id(s) for s in specs], specs), ARCHITECTURES)
    convert(folder / "architectures", zoo.to_graph, folder / "graphs", folder / "kinds", 1)
    return folder / "graphs", folder / "kinds"


def labels():
    table = zoo.LABEL_SOURCES["pytorchcv"](None)
    return table.filter(pc.is_in(table["arch_id"], pc.binary_join_element_wise("zoo/pytorchcv", KNOWN, ":")))
