"""The ENAS cells of NDS (Pham et al. 2018): five nodes, five operations; loose ends concatenated.

`archgauge.families._nds` says what specs, labels and counts are.
"""

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

parse = _FAMILY.parse
spec_of = _FAMILY.spec_of
arch_id = _FAMILY.arch_id
sample = _FAMILY.sample
mutate = _FAMILY.mutate
crossover = _FAMILY.crossover
cell = _FAMILY.cell
to_graph = _FAMILY.to_graph
published_costs = _FAMILY.published_costs
LABEL_SOURCES = _FAMILY.label_sources
REMOTES = _FAMILY.remotes
DATASHEET = _FAMILY.datasheet
