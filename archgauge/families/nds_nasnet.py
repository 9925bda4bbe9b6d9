"""The NASNet cells of NDS (Zoph et al. 2018): five nodes, 13 operations; loose ends concatenated.

`archgauge.families._nds` says what specs, labels and counts are.
"""

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
