"""The vocabulary of operations, and kinds: an operation with its attributes and its shapes.

Shapes are (H, W, C) without the batch axis; a tensor of N tokens has H = N, W = 1; a vector has H = W = 1.
`archgauge.graphs.layouts` says how the axes of any tensor are read.

In `extra`, a size that grows with the batch is text: "B" is the batch, "8B" eight times as much.
A layer that runs over several images of one sample (video frames, crops, tiles folded into the batch) has a setting
"copies": how many. Its channels are those of all images.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

Shape = tuple[int, int, int]
Pair = tuple[int, int]

COMMUTATIVE = frozenset({"add", "mul"})
"""Operations whose inputs may stand in any order."""

VARIADIC = frozenset({"add", "mul", "concat"})
"""Operations with any number of inputs; their kind lists the shape of the result as its one input."""

NORM_EPS = 1e-5
BATCH_NORM_EPS = NORM_EPS
LEAKY_RELU_SLOPE = 0.01

ACTIVATIONS = ("relu", "relu6", "sigmoid", "tanh", "silu", "gelu", "hardswish", "hardsigmoid", "leaky_relu")
WEIGHTED = frozenset({"conv", "conv_transpose", "linear"})

VOCABULARY = (
    "input",
    "output",
    "constant",  # a bare parameter or buffer that takes part in the computation (class token, layer scale); `extra`
    # holds whether it is trainable, its sizes where they are not (1, C, H, W), (1, N, C) or (1, C), its dtype where
    # that is no float, and the values of a small tensor that the forward pass makes up
    "zero",  # zeros of its output's shape, whatever comes in
    "conv",  # of these three, a weight (and a bias) that is computed is a second (and third) input
    "conv_transpose",  # `extra` holds its output_padding where there is one
    "linear",
    "embedding",  # `extra` holds the rows of its table
    "batch_norm",  # `extra` holds its eps where that is not 1e-5
    "layer_norm",  # over the channels; of these three, `extra` holds an eps that is not 1e-5
    "group_norm",
    "instance_norm",
    *ACTIVATIONS,  # `extra` holds a leaky_relu's slope where that is not 0.01
    "prelu",  # `extra` says whether all channels share one slope
    "softmax",  # `extra` holds its axis
    "max_pool",  # of pools, `extra` says whether the last window may hang over (ceil)
    "avg_pool",  # and whether an average counts the padding (counts_padding)
    "global_avg_pool",
    "upsample",  # each pixel repeated; `extra` holds the scale
    "interpolate",  # bilinear, to the size of the output; `extra` says whether the corners are aligned
    "pad",  # zeros around an image; `extra` holds [left, right, top, bottom], then, if any, those before and behind C
    "add",
    "mul",
    "sub",
    "div",
    "scale",  # times a number; `extra` holds it
    "shift",  # plus a number; `extra` holds it
    "matmul",  # of two activations; with a weight, `extra` holds the macs
    "attention",  # scaled dot product of queries, keys, values (and a mask); `extra` holds causal, a scale of its own
    "concat",  # over channels, unless `extra` names another axis (height, width)
    "slice",  # a range along one axis; `extra` holds the axis (height, width, channels), first and last + 1
    "reshape",  # the same numbers in the same order; `extra` holds the sizes of all axes
    "permute",  # `extra` holds the order of all axes
    "other",  # an operation outside the vocabulary; `extra` holds the call, as `archgauge.graphs.calls` writes it, and
    # the macs of a convolution along one or three axes, or of another product with a weight
)


@dataclass(frozen=True)
class Kind:
    """An operation with its attributes and the shapes that go in and come out.

    Kinds repeat massively over a family, so graphs hold indices into a table of distinct kinds.

    Attributes:
        operation: a name of `VOCABULARY`.
        inputs: shape of each input; one shape, the result's, for `VARIADIC` operations.
        outputs: shape of each output.
        kernel, stride, padding, dilation: (height, width) of convolutions and pools; zeros where they mean nothing.
        groups: of a convolution or a group normalisation, 0 where it means nothing.
        bias: whether a convolution, a linear layer or a layer normalisation has one.
        affine: whether a normalisation has scale and shift.
        extra: canonical JSON object of the settings that have no column of their own, or "".
    """

    operation: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    kernel: Pair = (0, 0)
    stride: Pair = (0, 0)
    padding: Pair = (0, 0)
    dilation: Pair = (0, 0)
    groups: int = 0
    bias: bool = False
    affine: bool = False
    extra: str = ""

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of one forward pass of one sample: convolutions and products with a weight, bias not counted.

        A product of two activations (attention) counts 0, as in the benchmarks' own counts.
        """
        if self.operation == "conv":
            (height, width, channels), fan_in = self.outputs[0], self.inputs[0][2] // self.copies // self.groups
            return height * width * channels * fan_in * self.kernel[0] * self.kernel[1]
        if self.operation == "conv_transpose":
            (height, width, channels), fan_out = self.inputs[0], self.outputs[0][2] // self.copies // self.groups
            return height * width * channels * fan_out * self.kernel[0] * self.kernel[1]
        if self.operation == "linear":
            (height, width, channels), fan_in = self.outputs[0], self.inputs[0][2]
            return height * width * channels * fan_in
        if self.operation in ("matmul", "other"):
            return self.settings.get("macs", 0)
        return 0

    @cached_property
    def params(self) -> int:
        """Parameters that the node holds; a computed weight is none. A constant's count where it is trainable."""
        channels = self.outputs[0][2] // self.copies if self.outputs else 0
        match self.operation:
            case "conv" | "conv_transpose" | "linear" if len(self.inputs) > 1:
                return 0
            case "conv" | "conv_transpose":
                fan_in = self.inputs[0][2] // self.copies // self.groups
                weight = channels * fan_in * self.kernel[0] * self.kernel[1]
                return weight + channels * self.bias
            case "linear":
                return channels * self.inputs[0][2] + channels * self.bias
            case "batch_norm" | "group_norm" | "instance_norm":
                return 2 * channels * self.affine
            case "layer_norm":
                return channels * self.affine + channels * self.bias
            case "prelu":
                return 1 if self.settings.get("shared") else channels
            case "embedding":
                return channels * self.settings.get("rows", 0)
            case "constant":
                height, width, _ = self.outputs[0]
                return height * width * channels * self.settings["trainable"]
        return 0

    @property
    def depthwise(self) -> bool:
        """Whether each channel of a convolution has a filter of its own."""
        return self.operation == "conv" and self.groups == self.inputs[0][2] // self.copies > 1

    @property
    def copies(self) -> int:
        """How often a layer runs side by side in one sample: its channels are split into so many equal parts."""
        return self.settings.get("copies", 1) if self.extra else 1

    @property
    def layer(self) -> tuple:
        """What nodes that share a layer have in common: all but their shapes and how often the layer runs."""
        extra = self.extra if self.copies == 1 else as_extra(**{**self.settings, "copies": None})
        return self.operation, self.kernel, self.stride, self.padding, self.dilation, self.groups, extra

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings in `extra`."""
        return json.loads(self.extra or "{}")

    @cached_property
    def digest(self) -> int:
        """64 bits that depend on the content alone, the same in every process and table."""
        content = json.dumps(list(asdict(self).values()), separators=(",", ":"))
        return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "little")


class KindTable:
    """Distinct kinds in the order of their first use; a kind's index never changes."""

    def __init__(self, kinds: Iterable[Kind] = ()):
        self._kinds: list[Kind] = []
        self._index: dict[Kind, int] = {}
        self.known: dict[tuple, tuple[int, tuple[Shape, ...]]] = {}
        """Index and output shapes by what a builder was asked for: the fast way past making a `Kind`."""
        for kind in kinds:
            self.index(kind)

    def index(self, kind: Kind) -> int:
        """The kind's row, added at the end when it is new."""
        found = self._index.get(kind)
        if found is None:
            found = self._index[kind] = len(self._kinds)
            self._kinds.append(kind)
        return found

    def __getitem__(self, index: int) -> Kind:
        return self._kinds[index]

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self):
        return iter(self._kinds)


def as_extra(**settings: Any) -> str:
    """The `extra` of a kind: canonical JSON of the settings that are not None, or ""."""
    given = {name: value for name, value in settings.items() if value is not None}
    return json.dumps(given, sort_keys=True, separators=(",", ":")) if given else ""
