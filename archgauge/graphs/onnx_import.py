"""From an ONNX file to its computation graph, in the same terms as `archgauge.graphs.trace`.

Initializers are weights, and nodes that read the same ones in the same way share them; one that is read in several
ways is a constant that the nodes read, counted once. The graph is that of the file exported with batch 1: a batch of
more is followed through all shapes. What a file cannot say, or says otherwise than the PyTorch model that it was
exported from:
- In evaluation mode `torch.onnx.export` folds a batch normalisation into the convolution before it, which then has a
  bias. With `dynamo=False, training=TrainingMode.TRAINING, do_constant_folding=False` and with
  `dynamo=True, optimize=False` it stays.
- `dynamo=True` drops a bias that is all zeros, and keeps one of several initializers of equal values. Normalisations
  share weights only where they share their running statistics, too; other layers initialised equal look shared.
- So a `MultiheadAttention` whose biases are still zero has fewer parameters when it comes from `dynamo=True`; and one
  more, as the factor of its products is an initializer with an axis there.
- An embedding tied to an output layer that an exporter has folded to a second, transposed initializer is found by its
  values; where these are in a file beside that is missing, both count.
- LSTM, GRU and RNN are one node "other" each, with all their parameters and no multiply-adds; a trace unrolls them.
- SiLU is exported as a product with a sigmoid. Such a product is read as silu, also where the model was written so.
- Exporters leave out what reaches no output, and sometimes what zeros alone reach.
- The older exporter computes equal operations on one value once: two ReLUs of one tensor are one.
- A linear layer over tokens is exported as MatMul and Add; they are read as one linear layer with a bias.
- A product with a bare weight is read as a linear layer that holds it; in a trace the layer reads it. An einsum is one
  node "other"; a trace shows the products that it is made of.
- `dynamo=True` puts what it can of a lopsided padding into the convolution. With `optimize=False` a clamp is a maximum
  and a minimum, and no relu6.
- Where the batch is folded into another axis, a file exported with batch 1 has the sizes without it.
- Attention is exported as products and a softmax, group normalisation as an instance normalisation between reshapes.
- A number is a float32 in the file: a factor of 1/3 comes back as 0.33333334.
- Every initializer of floating point counts as trainable; one without axes is a number. A normalisation without scale
  and shift counts as one with them when the exporter has folded its ones and zeros to initializers.
- The exporters fold what parameters and constants alone make, the older one also with `do_constant_folding=False`: the
  biases that are looked up in a table of relative positions, a weight with `weight_norm`. The result counts as
  parameters, and what it is made of does not.
- With `dynamo=True`, unless `optimize=False`, the zeros that a GRU or LSTM starts from are an initializer and count as
  parameters. Initial states, also those that are parameters of the model, are there once for each sample of the batch.
- Zeros that the exporter has folded are a constant and not a `zero`.
- An operation outside the vocabulary is a node "other" with ONNX's name and attributes, not ATen's.
"""

from pathlib import Path

from archgauge.graphs._onnx_calls import as_other
from archgauge.graphs._onnx_errors import reading
from archgauge.graphs._onnx_file import Network, read_network
from archgauge.graphs._onnx_layers import LAYERS
from archgauge.graphs._onnx_recorder import OnnxRecorder
from archgauge.graphs._onnx_views import VIEWS
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs
from archgauge.graphs.layouts import BATCH, shape_of
from archgauge.graphs.operations import Kind, KindTable, as_extra

_HANDLERS = LAYERS | VIEWS


def load_onnx(path: str | Path, kinds: KindTable | None = None) -> Graphs:
    """The computation graph of an ONNX file.

    Args:
        kinds: a table to build over; a new one by default.

    Returns:
        One graph in normal form, of one sample whatever the file's batch.

    Raises:
        FormatError: when the file is no whole ONNX model, keeps weights outside its folder, reads what is not there, or
            when the reader fails on it.
        GraphError: when a shape is not known, an axis other than the batch is dynamic, there is control flow, or it
            cannot be told where the samples of a file's batch are.
    """
    path = Path(path)
    with reading(path, "its inputs, initializers or outputs"):
        return _imported(read_network(path), path, KindTable() if kinds is None else kinds)


def _imported(network: Network, path: Path, kinds: KindTable) -> Graphs:
    apart: frozenset[str] = frozenset()
    while True:
        run = OnnxRecorder(network, GraphBuilder(kinds), apart)
        graph = _recorded(network, path, run)
        if run.conflicts <= apart:
            return graph
        apart |= run.conflicts


def _recorded(network: Network, path: Path, run: OnnxRecorder) -> Graphs:
    for operand in network.inputs:
        sizes = run.sizes(operand.dims)
        extra = as_extra(batched=None if sizes[:1] == (BATCH,) else False, dtype=operand.dtype)
        run.bind(operand.name, run.build.node(Kind("input", (), (shape_of(sizes),), extra=extra), ()), sizes)
    for call in network.calls:
        if not run.bound(call.outputs[0]):  # else an earlier call has taken it in
            with reading(path, call.where):
                _HANDLERS.get(call.operation, as_other)(run, call)
    for operand in network.outputs:
        value, _ = run.loose(operand)
        run.build.node(Kind("output", (shape_of(run.sizes(operand.dims)),), ()), (value,))
    return run.build.finish()
