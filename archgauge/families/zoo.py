"""Published real-world networks, from code that PyPI packages carry.

The spec is `package:network`: "pytorchcv:resnet50", "pytorchcv:densenet40_k12_svhn" (the name says the data set, and
with it classes and resolution), "torchvision:resnet50@224" (the resolution behind the @, 1,000 classes). The `arch_id`
is `zoo/<spec>`. There is no cell and no neighbourhood: each network is a design of its own, so the family has no
`mutate` and no `cell`.

pytorchcv 0.0.67's model store lists 524 classifiers: 323 on ImageNet-1k and 201 on CIFAR-10, CIFAR-100 and SVHN.
CUB-200 and what is no classifier are left out; `to_graph` takes any network of the package whose input is one image.

Labels (accuracies, percent):
- "pytorchcv": 100 minus the published error of the package's weights. `imagenet/top5+pytorchcv` is top-5 on the
  validation set of ImageNet-1k, `imagenet/top1+pytorchcv` top-1 there, and `cifar10/top1+pytorchcv`,
  `cifar100/top1+pytorchcv`, `svhn/top1+pytorchcv` top-1 on the test set. Each network was trained once, by its authors
  or the package's, with recipes and epochs that differ and are not recorded: these are no labels of one protocol.
- "torchvision": `imagenet/top1@<weights>+torchvision` and `top5`, from the metadata of each set of weights.

Costs: parameters equal PyTorch's own count on all 524, and what their graphs compute is what the networks compute
(`python -m archgauge.bench_zoo` goes through all of them). They equal the count that pytorchcv prints on 519; of the
five ESPNetv2 an earlier version's count is printed (the package's own code asserts ours). The "FLOPs/2" that it prints
are no MACs: half a FLOP is added for each ReLU and for each element that a pool reads, and where there are batch
normalisations and convolutions without bias these change it too. Without those the sum is exact (VGG, AlexNet).

Leakage: the networks come in families (ResNet-20 on three data sets, EfficientNet-B0 with three sets of weights), so
`groups` says which must not be separated by a split.
"""

import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from archgauge.download import Remote
from archgauge.errors import ConfigError
from archgauge.families._common import bad_spec, labels
from archgauge.families._zoo_packages import (
    StoredModel,
    classifiers,
    package,
    printed_models,
    pytorchcv_network,
    stored_models,
)
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable
from archgauge.schemas import architectures

if TYPE_CHECKING:
    from torch import nn

FAMILY = "zoo"
_SPEC = re.compile(r"(pytorchcv):(\w+)|(torchvision):(\w+)@(\d{1,4})", re.ASCII)
_DATA_SET = re.compile(r"_(cifar10|cifar100|svhn)$")
_OTHER_WEIGHTS = re.compile(r"^(efficientnet_b\d)[bc]$")
_SMALLEST_PIXELS = 32
_STEMS = (
    ("inception", "inception"),
    ("resne", "resnet"),
    ("wrn", "resnet"),
    *((stem, stem) for stem in ("vgg", "densenet", "senet", "mobilenet", "shufflenet", "nasnet", "regnet", "squeeze")),
    *((stem, stem) for stem in ("drn", "alexnet", "zfnet", "hrnet", "scnet", "airne")),
)
"""Part of a network's name -> its family of models; the first that fits counts."""

REMOTES: dict[str, Remote] = {}
"""None: the packages are installed, not fetched."""

DATASHEET = {
    "title": "Published networks (pytorchcv, torchvision)",
    "space": "Networks of the literature as two packages implement them; a list, not a search space.",
    "labels": "One training run each, with its authors' or the package's own recipe; recipes differ.",
    "licence": "MIT (pytorchcv); BSD-3-Clause (torchvision)",
    "citation": "O. Semery, imgclsmob: computer vision models, 2018-2021; TorchVision maintainers, TorchVision, 2016",
    "graph": "traced from the packages' code; auxiliary heads are counted apart, frozen layers as all others",
}


def arch_id(spec: str) -> str:
    """Return `zoo/<spec>`.

    Raises:
        SpecError: when `spec` does not have the form of one.
    """
    _parsed(spec)
    return f"{FAMILY}/{spec}"


def enumerate_specs() -> pa.Table:
    """All labelled networks of the installed packages (schema ARCHITECTURES).

    Raises:
        ConfigError: when pytorchcv is not installed. torchvision may be absent.
    """
    specs = _specs()
    return architectures(FAMILY, [f"{FAMILY}/{spec}" for spec in specs], specs)


def pytorchcv_specs() -> list[str]:
    """All image classifiers of pytorchcv's code, those without a published error too.

    Raises:
        ConfigError: when pytorchcv is not installed.
    """
    return [f"pytorchcv:{name}" for name in classifiers()]


def sample(n: int, rng: np.random.Generator) -> list[str]:
    """Draw `n` distinct networks, each set of `n` equally likely.

    Raises:
        ConfigError: when there are fewer than `n`.
    """
    specs = _specs()
    if not 0 <= n <= len(specs):
        raise ConfigError(
            "the size of a sample",
            where=f"families.{FAMILY}.sample",
            expected=f"0 to {len(specs)} networks",
            got=n,
            remedy="Ask for fewer networks.",
        )
    return [specs[index] for index in rng.choice(len(specs), size=n, replace=False)]


def groups(arch_ids: Sequence[str], live_hashes: Sequence[str]) -> list[str]:
    """Name the group of each network: what one group holds must not be separated by a split.

    Networks are in one group when their names differ in the data set alone or in EfficientNet's mark for other weights
    (efficientnet_b0, b0b, b0c), or when their live graphs are equal (column `live_hash` of GRAPHS); and so on through
    common members.
    """
    first: dict[str, int] = {}
    parent = list(range(len(arch_ids)))

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for node, (name, live) in enumerate(zip(arch_ids, live_hashes, strict=True)):
        for key in (f"name {_base(name)}", f"live {live}"):
            one, other = sorted((root(node), root(first.setdefault(key, node))))
            parent[other] = one
    return [_base(arch_ids[root(node)]) for node in range(len(arch_ids))]


def model_families(arch_ids: Sequence[str]) -> list[str]:
    """The family of models that each network belongs to, told by its name: "resnet", "mobilenet", "regnet".

    A name that holds one of `_STEMS` is of that family, whatever stands before and behind (preresnet18, seresnext50
    and wrn50_2 are residual networks); any other is of the family of its first letters.
    """
    names = [_base(arch_id).rpartition("/")[2] for arch_id in arch_ids]
    return [next((family for stem, family in _STEMS if stem in name), _letters(name)) for name in names]


def _letters(name: str) -> str:
    return re.split(r"[^a-z]", name)[0] or name


def _base(arch_id: str) -> str:
    """The name of an architecture without data set, resolution and weights: "zoo/resnet20"."""
    name = _DATA_SET.sub("", arch_id.partition(":")[2].partition("@")[0])
    return f"{FAMILY}/" + _OTHER_WEIGHTS.sub(r"\1", name)


def network(spec: str) -> "tuple[nn.Module, tuple[int, int]]":
    """The network of a spec, untrained, on the default device, and the height and width of its images.

    Raises:
        SpecError: when the package has no such network.
        ConfigError: when the package is not installed.
    """
    source, name, pixels = _parsed(spec)
    try:
        if source == "pytorchcv":
            model = pytorchcv_network(name)
            height, width = getattr(model, "in_size")  # noqa: B009 - no attribute that nn.Module knows
            return model, (height, width)
        sized = {"image_size": pixels} if name.startswith("vit_") else {}  # position embeddings fit one size alone
        return package("torchvision.models").get_model(name, weights=None, **sized), (pixels, pixels)
    except (KeyError, ValueError, AttributeError) as error:
        raise bad_spec(FAMILY, spec, f"the name of an image classifier of {source}") from error


def to_graph(spec: str, kinds: KindTable | None = None) -> Graphs:
    """The computation graph, traced from the package's code on the meta device.

    Args:
        kinds: the table to build over; a new one by default.

    Raises:
        SpecError: when the package has no such network.
        ConfigError: when the package is not installed.
        GraphError: when it cannot be traced.
    """
    # The workflow asks every family for its label sources on every call: it should not wait for torch.
    import torch

    from archgauge.graphs.meta import NumbersKept
    from archgauge.graphs.trace import trace

    with torch.device("meta"), NumbersKept():
        model, (height, width) = network(spec)
    return trace(model, torch.empty(1, 3, height, width, device="meta"), kinds=kinds)


def published_costs(path: Path | None = None) -> pa.Table:
    """Parameters and "FLOPs/2" (millions) that pytorchcv's description prints: arch_id, params, flops_m."""
    rows = printed_models()
    return pa.table(
        {
            "arch_id": [f"{FAMILY}/pytorchcv:{row.name}" for row in rows],
            "params": pa.array([row.params for row in rows], pa.int64()),
            "flops_m": [row.flops_m for row in rows],
        }
    )


def _parsed(spec: str) -> tuple[str, str, int]:
    """Package, name and pixels (0 where the name says them)."""
    match = _SPEC.fullmatch(spec)
    if match is None or int(match[5] or _SMALLEST_PIXELS) < _SMALLEST_PIXELS:
        raise bad_spec(FAMILY, spec, "pytorchcv:<network> or torchvision:<network>@<pixels>")
    return (match[1], match[2], 0) if match[1] else (match[3], match[4], int(match[5]))


@functools.cache
def _specs() -> tuple[str, ...]:
    try:
        others = sorted({spec for spec, _ in _torchvision_weights()})
    except ConfigError:
        others = []
    return (*(f"pytorchcv:{model.name}" for model in stored_models()), *others)


def _read_pytorchcv(path: Path | None = None) -> pa.Table:
    """Read the model store of the package in folder `path`; the installed one by default."""
    stored = stored_models(path)
    rows = [(_pytorchcv_id(model), _label(model), 100 - model.error_pct, "percent") for model in stored]
    if path is None:
        on_imagenet = {model.name for model in stored if model.data_set == "imagenet"}
        rows += [
            (f"{FAMILY}/pytorchcv:{model.name}", "imagenet/top1+pytorchcv", 100 - model.error_pct, "percent")
            for model in printed_models()
            if model.name in on_imagenet
        ]
    return labels(rows, path or Path("pytorchcv"))


def _label(model: StoredModel) -> str:
    return f"{model.data_set}/{'top5' if model.data_set == 'imagenet' else 'top1'}+pytorchcv"


def _pytorchcv_id(model: StoredModel) -> str:
    return f"{FAMILY}/pytorchcv:{model.name}"


def _read_torchvision(path: Path | None = None) -> pa.Table:
    """Read the metadata of the installed torchvision's weights."""
    rows = [
        (f"{FAMILY}/{spec}", f"imagenet/{name}@{weights.name}+torchvision", float(metrics[key]), "percent")
        for spec, weights in _torchvision_weights()
        for metrics in [weights.meta["_metrics"]["ImageNet-1K"]]
        for name, key in (("top1", "acc@1"), ("top5", "acc@5"))
    ]
    return labels(rows, Path("torchvision"))


def _torchvision_weights() -> Iterator[tuple[str, Any]]:
    """The spec of each ImageNet classifier of torchvision, once for each set of its weights."""
    models = package("torchvision.models")
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            metrics = weights.meta.get("_metrics", {}).get("ImageNet-1K", {})
            if math.isfinite(metrics.get("acc@1", math.nan)):  # NaN where the weights lack a classifier
                yield f"torchvision:{name}@{weights.transforms.keywords['crop_size']}", weights


LABEL_SOURCES: dict[str, Callable[[Path | None], pa.Table]] = {
    "pytorchcv": _read_pytorchcv,
    "torchvision": _read_torchvision,
}
"""Source -> reader, giving LABELS; both read the installed package when no path is given.

Readers raise ConfigError when the package is not installed, FormatError when its table cannot be read.
"""
