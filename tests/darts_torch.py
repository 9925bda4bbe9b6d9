"""Second implementation of DARTS' network, in PyTorch and from its description, for tests of ours."""

import re

import torch
from torch import Tensor, nn

from archgauge.families._genotypes import Genotype, Wiring


class Reduction(nn.Module):
    """Half the resolution: every second pixel, and every second pixel one further."""

    def __init__(self, before: int, after: int, padded: bool):
        super().__init__()
        self.padded = padded
        self.first, self.second = (nn.Conv2d(before, after // 2, 1, 2, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        x = x.relu()
        y = nn.functional.pad(x, (0, 1, 0, 1)) if self.padded else x
        return self.norm(torch.cat([self.first(x), self.second(y[:, :, 1:, 1:])], 1))


class Zero(nn.Module):
    """Zeros, at every second pixel where it strides."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return torch.zeros_like(x)
        count, channels, height, width = x.shape
        return x.new_zeros(count, channels, -(-height // 2), -(-width // 2))


def operation(name: str, channels: int, stride: int, padded: bool) -> nn.Module:
    """An operation on an edge."""
    kernel = int(re.search(r"\d", name)[0]) if re.search(r"\d", name) else 0

    def separable(dilation: int, step: int) -> list[nn.Module]:
        around = dilation * (kernel - 1) // 2
        depthwise = nn.Conv2d(channels, channels, kernel, step, around, dilation, channels, bias=False)
        return [nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)]

    if name == "skip_connect":
        return nn.Identity() if stride == 1 else Reduction(channels, channels, padded)
    if name == "none":
        return Zero(stride)
    if name.startswith("max_pool"):
        return nn.MaxPool2d(kernel, stride, kernel // 2)
    if name.startswith("avg_pool"):
        return nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
    if name.startswith("sep_conv"):
        return nn.Sequential(*separable(1, stride), *separable(1, 1))
    if name.startswith("dil_sep_conv"):
        return nn.Sequential(*separable(2, stride), *separable(2, 1))
    if name.startswith("dil_conv"):
        return nn.Sequential(*separable(2, stride))
    if "_1x" in name and name != "conv_1x1":
        across = nn.Conv2d(channels, channels, (1, kernel), (1, stride), (0, kernel // 2), bias=False)
        down = nn.Conv2d(channels, channels, (kernel, 1), (stride, 1), (kernel // 2, 0), bias=False)
        return nn.Sequential(nn.ReLU(), across, down, nn.BatchNorm2d(channels))
    return conv_norm(channels, channels, kernel, stride)


def conv_norm(before: int, after: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution, normalisation."""
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(after))


class Cell(nn.Module):
    """A cell on the outputs of the two before it."""

    def __init__(self, wiring: Wiring, older: int, newer: int, channels: int, reduces: bool, after: bool, padded: bool):
        super().__init__()
        self.wiring = wiring
        self.before = nn.ModuleList(
            [Reduction(older, channels, padded) if after else conv_norm(older, channels), conv_norm(newer, channels)]
        )
        self.operations = nn.ModuleList(
            operation(name, channels, 2 if reduces and source < 2 else 1, padded) for name, source in wiring.edges
        )

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        values = [first(x) for first, x in zip(self.before, (older, newer), strict=True)]
        results = iter(self.operations)
        for node in self.wiring.nodes:
            first, second = (next(results)(values[source]) for _, source in node)
            values.append(first + second)
        chosen = [values[node] for node in self.wiring.concat]
        return torch.cat(chosen, 1) if len(chosen) > 1 else chosen[0]  # a graph has no concatenation of one


class Network(nn.Module):
    """The network of a genotype for CIFAR."""

    def __init__(self, genotype: Genotype, width: int, depth: int, padded: bool):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * width, 3, padding=1, bias=False), nn.BatchNorm2d(3 * width))
        self.cells = nn.ModuleList()
        older = newer = 3 * width
        after = False
        for position in range(depth):
            reduces = position in (depth // 3, 2 * depth // 3)
            width *= 2 if reduces else 1
            wiring = genotype.reduce if reduces else genotype.normal
            self.cells.append(Cell(wiring, older, newer, width, reduces, after, padded))
            older, newer, after = newer, len(wiring.concat) * width, reduces
        self.classifier = nn.Linear(newer, 10)

    def forward(self, x: Tensor) -> Tensor:
        older = newer = self.stem(x)
        for cell in self.cells:
            older, newer = newer, cell(older, newer)
        return self.classifier(newer.mean((2, 3)))
