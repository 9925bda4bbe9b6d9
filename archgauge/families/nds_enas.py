"""The ENAS cells of NDS (Pham et al. 2018): five nodes, five operations; loose ends concatenated.

`archgauge.families._nds` says what specs, labels and counts are.
"""

from functools import partial

from archgauge.families._genotypes import Space
from archgauge.families._nds import NdsFamily

FAMILY = "nds_enas"
OPERATIONS = (
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "avg_pool_3x3",
    "max_pool_3x3",
)
SPACE = Space(OPERATIONS, nodes=5, same_input=True, loose_ends=True)

_FAMILY = NdsFamily(FAMILY, "ENAS", SPACE, ("_fix-w-d", "_in"), "ENAS, Pham et al. 2018")

__getattr__ = partial(getattr, _FAMILY)
"""`sample`, `to_graph`, `LABEL_SOURCES` and what else a family has are the object's."""
