"""The NASNet cells of NDS (Zoph et al. 2018): five nodes, 13 operations; loose ends concatenated.

`archgauge.families._nds` says what specs, labels and counts are.
"""

from functools import partial

from archgauge.families._genotypes import Space
from archgauge.families._nds import NdsFamily

FAMILY = "nds_nasnet"
OPERATIONS = (
    "skip_connect",
    "conv_3x1_1x3",
    "conv_7x1_1x7",
    "dil_conv_3x3",
    "avg_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
    "conv_1x1",
    "conv_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
)
SPACE = Space(OPERATIONS, nodes=5, same_input=True, loose_ends=True)

_FAMILY = NdsFamily(FAMILY, "NASNet", SPACE, ("_in",), "NASNet, Zoph et al. 2018")

__getattr__ = partial(getattr, _FAMILY)
"""`sample`, `to_graph`, `LABEL_SOURCES` and what else a family has are the object's."""
