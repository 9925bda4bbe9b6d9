"""Models to trace, and the checks that a trace has to pass."""

import torch
from torch import Tensor, nn

from archgauge.graphs import cost
from archgauge.graphs.calls import tensors
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.graph import Graphs
from archgauge.graphs.realise import load_weights, realise
from archgauge.graphs.trace import trace, trace_with_state


def listed(graph: Graphs) -> list[str]:
    return [graph.kinds[kind].operation for kind in graph.kind]


def same_function(model: nn.Module, *inputs: Tensor) -> Graphs:
    """Check that the graph's network with the model's weights computes the same; and the three other promises."""
    for parameter in model.parameters():  # also what is initialised to zeros or ones must arrive
        parameter.data += 0.1 * torch.randn_like(parameter)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    model.eval()
    graph, state = trace_with_state(model, *inputs)
    network = realise(graph).eval()
    load_weights(network, model, state)
    with torch.no_grad():
        expected, got = list(tensors(model(*inputs))), list(tensors(network(*inputs)))
        assert len(got) == len(expected)
        for mine, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(mine.reshape(theirs.shape), theirs, rtol=1e-5, atol=1e-5)
    counted = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert (cost.params(graph) + graph.params_outside).tolist() == [counted]
    with torch.device("meta"):
        again = trace(realise(graph), *inputs)
    assert canonical_hash(again).tolist() == canonical_hash(graph).tolist()
    return graph


class Masked(nn.Module):
    """Attention to the tokens that a mask of truth values leaves."""

    def __init__(self, layer: nn.Module, **settings):
        super().__init__()
        self.layer, self.settings = layer, settings

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if isinstance(self.layer, nn.MultiheadAttention):
            return self.layer(x, x, x, key_padding_mask=mask, **self.settings)[0]
        return self.layer(x, src_key_padding_mask=mask)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.conv_strided = nn.Conv2d(4, 4, 3, 2, 1)
        self.conv_strided.weight = self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_strided(self.conv(self.conv(x)))


class Applies(nn.Module):
    """A function of the input, and of modules where there are some."""

    def __init__(self, function, *parts: nn.Module):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: Tensor):
        return self.function(x, *self.parts)
