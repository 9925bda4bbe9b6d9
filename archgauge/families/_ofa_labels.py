"""Accuracies of Once-for-All's subnets, and GENNAPE's caches that hold such.

Labels are ImageNet top-1 on the 50,000 validation images in percent, with weights inherited from the supernet, as
"imagenet/validation@0/run0+inherited" (0 epochs of its own). Subnets that were measured several times have run1 and so
on. They lie a few hundredths of a point apart, presumably by the batch statistics that are estimated anew.

A cache's configuration, as the authors' code writes it, is (pixels of the image, network). A network of a mobile space
is for each stage the names of its blocks: "mbconv2_e6_k5" is of ProxylessNAS (width 1.3), "mbconv3_e6_k5" of
MobileNetV3 (width 1.2), and one cache holds both. A ResNet-50 is the supernet's own sample, {"w", "d", "e"}.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from archgauge.errors import FormatError, SpecError
from archgauge.families._common import labels
from archgauge.formats import gennape

MOBILE_CACHE, RESNET_CACHE = "gpi_ofa_comp_graph_cache.pkl", "gpi_ofa_resnet_comp_graph_cache.pkl"
PREFIXES = {"ofa_proxyless": "mbconv2", "ofa_mbv3": "mbconv3"}
"""What the names of a mobile space's blocks begin with."""

LABEL = "imagenet/validation@0/run{}+inherited"
_FORM = "(pixels, names of blocks by stage or a sample of the supernet)"


def inherited(measured: Iterable[tuple[str, float]], path: Path) -> pa.Table:
    """LABELS from (arch_id, percent) pairs, repeats numbered in their order.

    Raises:
        TableError: when a value is no percentage.
    """
    runs: Counter[str] = Counter()

    def rows() -> Iterator[tuple[str, str, float, str]]:
        for arch_id, accuracy_pct in measured:
            yield arch_id, LABEL.format(runs[arch_id]), accuracy_pct, "percent"
            runs[arch_id] += 1

    return labels(rows(), path)


def read_mobile_cache(path: Path, family: str, spec_of: Callable[[list[list[str]], int], str]) -> pa.Table:
    """LABELS of one mobile space; the subnets of the other one in the cache are passed over.

    Args:
        path: CG_data.zip or the pickle itself.
        family: a key of `PREFIXES`.
        spec_of: from the names of the blocks and the pixels; raises SpecError.

    Raises:
        FormatError: when the file is damaged, hostile, or a configuration is of neither space.
    """

    def own(stages: Any, pixels: int) -> str | None:
        prefixes = {name.split("_")[0] for stage in stages for name in stage}
        if len(prefixes) != 1 or not prefixes <= set(PREFIXES.values()):
            raise ValueError(f"blocks of {sorted(prefixes)}")
        return spec_of(stages, pixels) if prefixes == {PREFIXES[family]} else None

    return _read(path, MOBILE_CACHE, family, own)


def read_resnet_cache(path: Path, family: str, spec_of: Callable[[dict[str, Any], int], str]) -> pa.Table:
    """LABELS of the ResNet space; arguments and errors as above."""
    return _read(path, RESNET_CACHE, family, spec_of)


def _read(path: Path, name: str, family: str, spec_of: Callable[[Any, int], str | None]) -> pa.Table:
    def measured() -> Iterator[tuple[str, float]]:
        for number, network in enumerate(gennape.read_cache(path, name)):
            try:
                pixels, subnet = network.config
                spec = spec_of(subnet, pixels)
            except (SpecError, AttributeError, TypeError, ValueError) as error:
                raise FormatError(
                    "the original config of a cached subnet",
                    where=f"{path}, entry {number}",
                    expected=f"{_FORM}, of {family} or what shares its cache",
                    got=f"{str(network.config)[:300]} ({getattr(error, 'got', error)})",
                    remedy="The cache is of another family or form than the authors' code writes.",
                ) from error
            if spec is not None:
                yield f"{family}/{spec}", network.accuracy

    return inherited(measured(), path)
