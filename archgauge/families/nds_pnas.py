"""The PNAS cells of NDS (Liu et al. 2018): five nodes, eight operations; all nodes concatenated.

`archgauge.families._nds` says what specs, labels and counts are.
"""

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
