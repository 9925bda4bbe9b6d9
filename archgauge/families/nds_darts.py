"""The DARTS cells of NDS (Liu et al. 2019): four nodes, eight operations, `none` among them; all nodes concatenated.

`archgauge.families._nds` says what specs, labels and counts are.
"""

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
