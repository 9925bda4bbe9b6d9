"""The DARTS cells of NDS (Liu et al. 2019): four nodes, eight operations, `none` among them; all nodes concatenated.

`archgauge.families._nds` says what specs, labels and counts are.
"""

from functools import partial

from archgauge.families._genotypes import Space
from archgauge.families._nds import NdsFamily

FAMILY = "nds_darts"
OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
SPACE = Space(OPERATIONS, nodes=4, same_input=True, loose_ends=False)

_FAMILY = NdsFamily(FAMILY, "DARTS", SPACE, ("_fix-w-d", "_lr-wd", "_in", "_lr-wd_in"), "DARTS, Liu et al. 2019")

__getattr__ = partial(getattr, _FAMILY)
"""`sample`, `to_graph`, `LABEL_SOURCES` and what else a family has are the object's."""
