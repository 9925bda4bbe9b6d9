"""The AmoebaNet cells of NDS (Real et al. 2019): five nodes, eight operations; loose ends concatenated.

`archgauge.families._nds` says what specs, labels and counts are.
"""

from functools import partial

from archgauge.families._genotypes import Space
from archgauge.families._nds import NdsFamily

FAMILY = "nds_amoeba"
OPERATIONS = (
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "avg_pool_3x3",
    "max_pool_3x3",
    "dil_sep_conv_3x3",
    "conv_7x1_1x7",
)
SPACE = Space(OPERATIONS, nodes=5, same_input=True, loose_ends=True)

_FAMILY = NdsFamily(FAMILY, "Amoeba", SPACE, ("_in",), "AmoebaNet, Real et al. 2019")

__getattr__ = partial(getattr, _FAMILY)
"""`sample`, `to_graph`, `LABEL_SOURCES` and what else a family has are the object's."""
