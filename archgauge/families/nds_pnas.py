"""The PNAS cells of NDS (Liu et al. 2018): five nodes, eight operations; all nodes concatenated.

`archgauge.families._nds` says what specs, labels and counts are.
"""

from functools import partial

from archgauge.families._genotypes import Space
from archgauge.families._nds import NdsFamily

FAMILY = "nds_pnas"
OPERATIONS = (
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "conv_7x1_1x7",
    "skip_connect",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_conv_3x3",
)
SPACE = Space(OPERATIONS, nodes=5, same_input=True, loose_ends=False)

_FAMILY = NdsFamily(FAMILY, "PNAS", SPACE, ("_fix-w-d", "_in"), "PNAS, Liu et al. 2018")

__getattr__ = partial(getattr, _FAMILY)
"""`sample`, `to_graph`, `LABEL_SOURCES` and what else a family has are the object's."""
