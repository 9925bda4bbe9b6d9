"""What cannot be traced or realised is named, with what to do about it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trace_cases import Applies, same_function

from archgauge.errors import GraphError
from archgauge.graphs import meta
from archgauge.graphs.calls import unknown_operations
from archgauge.graphs.operations import Kind, KindTable, as_extra
from archgauge.graphs.realise import load_weights, realise
from archgauge.graphs.trace import trace, trace_with_state

pytestmark = pytest.mark.usefixtures("one_thread")


def test_unknown_operations_are_listed_with_arguments_and_shapes():
    graph = trace(nn.Sequential(nn.Softplus(2.0), nn.Softplus(2.0), nn.Hardtanh(-2, 2)), torch.zeros(1, 4, 8, 8))
    most, other = unknown_operations(graph)
    assert (most.name, most.nodes, most.inputs, most.outputs) == (
        "aten.softplus.default",
        2,
        ((8, 8, 4),),
        ((8, 8, 4),),
    )
    assert most.arguments == '{"arguments": [{"tensor": 0}, 2.0, 20.0], "keywords": {}}'
    assert other.name == "aten.hardtanh.default"


class _Raises(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.run = forward

    def forward(self, x):
        return self.run(x)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x * 2 if x.sum() > 0 else x, r"_Raises, operation \d+ \(aten\..*depends on the values of a tensor"),
        (lambda x: x[x > 0], "depends on the values of a tensor"),
        (lambda x: x.nonzero(), "depends on the values of a tensor"),
        (lambda x: F.linear(x, torch.zeros(5, 5)), r"got \[6, 4\] X \[5, 5\]"),
        (lambda x: x.view(1, 7), r"operation 1 \(aten.view.default\).*shapes, batch axis first; the model must run"),
        (lambda x: [x.relu() for _ in range(len(x))], "operations, as of a loop over the samples"),
        (lambda x: x.unknown, "got AttributeError"),
        (lambda x: "nothing", "no tensor in a result of str"),
    ],
)
def test_a_model_that_cannot_be_traced_is_named_with_operation_and_remedy(forward, message):
    with pytest.raises(GraphError, match=message):
        trace(_Raises(forward), torch.zeros(2, 3, 4))


def _packed(x: Tensor) -> Tensor:
    return nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True).data


def _quantised(x: Tensor) -> Tensor:
    return torch.ops.quantized.mul_scalar(x, 2)


@pytest.mark.parametrize(
    ("forward", "remedy"), [(_packed, "without pack_padded_sequence"), (_quantised, "before it was quantised")]
)
def test_the_remedy_fits_what_failed(forward, remedy):
    with pytest.raises(GraphError, match=remedy):
        trace(_Raises(forward), torch.zeros(2, 3, 4))


@pytest.mark.parametrize(
    "call",
    [
        {"name": "aten.from_file.default", "arguments": [{"text": "/etc/passwd"}], "keywords": {}},
        {"name": "aten.save.default", "arguments": [], "keywords": {}},
        {"name": "os.system.default", "arguments": [{"text": "true"}], "keywords": {}},
        {"name": "aten.__class__.mro", "arguments": [], "keywords": {}},
        {"name": "aten.relu", "arguments": [], "keywords": {}},
        {"name": "aten.relu.default", "arguments": [{"unknown": "x"}], "keywords": {}},
    ],
)
def test_a_graph_can_only_call_operations_on_tensors(call):
    kinds = KindTable([Kind("other", (), ((1, 1, 1),), extra=as_extra(**call))])
    from archgauge.graphs.builder import GraphBuilder

    build = GraphBuilder(kinds)
    build.output(build.node(kinds[0], ()))
    with pytest.raises(GraphError, match="the operation of a node to realise at node 0: expected a call of an ATen"):
        realise(build.finish())


def test_weights_of_another_model_are_refused():
    model = nn.Linear(3, 4)
    graph, state = trace_with_state(model, torch.zeros(1, 3))
    with pytest.raises(GraphError, match=r"the weights to load at layers.1.weight from Linear: expected the model"):
        load_weights(realise(graph), nn.Linear(3, 5), state)
    with pytest.raises(GraphError, match="got none of that name"):
        load_weights(realise(graph), nn.ReLU(), state)


def test_results_that_are_remembered_lie_in_memory_as_their_inputs_do():
    x = torch.empty(2, 3, 4, 4, device="meta")
    for given in (x, x.transpose(2, 3), x[:, :2], x, x.transpose(2, 3), x[:, :2]):
        result = meta.run(torch.ops.aten.sigmoid.default, (given,), {})
        assert (result.shape, result.stride()) == (given.shape, torch.sigmoid(given).stride())


class _OwnTensor(nn.Module):
    def __init__(self):
        super().__init__()
        self.numbers = torch.ones(6, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.numbers


@pytest.mark.parametrize(
    ("model", "got"),
    [
        (_OwnTensor(), r"_OwnTensor: .*got float \[6\] on meta. Register it as a buffer"),
        (Applies(lambda x: x[list(range(len(x)))]), r"Applies: .*grow with the batch, got int64 \['B'\] on cpu"),
    ],
)
def test_a_tensor_without_values_or_as_large_as_the_batch_is_refused(model, got):
    with pytest.raises(GraphError, match=f"neither an input, a result, a parameter nor a buffer at {got}"):
        trace(model, torch.randn(2, 4, 6, 6))


OF_THE_BATCH = {
    "one more": lambda x: x * (x.shape[0] + 1),
    "one less": lambda x: x.sum(0, keepdim=True) / (len(x) - 1),
    "elements": lambda x: x + (x.numel() - 1),
    "as a fraction": lambda x: x * float(len(x) + 2),
    "half": lambda x: x.chunk(2)[0].relu(),
    "all but one": lambda x: (x[1:] - x[:-1]).relu(),
    "argument": lambda x: x.clamp(max=x.shape[0] + 1),
}


@pytest.mark.parametrize("name", OF_THE_BATCH)
def test_a_number_that_follows_from_the_batch_is_refused(name):
    with pytest.raises(GraphError, match=r"got ValueError: a number or size .* follows from that of the batch"):
        trace(Applies(OF_THE_BATCH[name]), torch.zeros(3, 4))
    same_function(
        Applies(lambda x: x * 1_000_000 / (x.shape[0] * x.shape[1]) + x.clamp(max=1_000_000)), torch.randn(3, 4)
    )


class _NoInit(nn.Module):
    def __init__(self):
        """Forgets to call that of `nn.Module`."""


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("resnet", torch.zeros(1, 3), "at the model: expected a torch.nn.Module, got str"),
        (_NoInit(), torch.zeros(1, 3), "got _NoInit. Give the module itself; its __init__ must call that of"),
        (nn.ReLU(), {"x": torch.zeros(1, 3)}, "at ReLU, input 0: expected a tensor, got dict. Wrap the model"),
        (nn.ReLU(), 5, "at ReLU, input 0: expected a tensor, got int"),
        (nn.Sequential(nn.LazyLinear(4)), torch.zeros(1, 3), "at Sequential.0: .*LazyLinear without. Run the model"),
        (nn.DataParallel(nn.ReLU()), torch.zeros(1, 3), "at DataParallel: .* Give the module that it wraps"),
        (nn.LazyBatchNorm2d(), torch.zeros(1, 3), "at LazyBatchNorm2d: expected parameters that have shapes"),
    ],
)
def test_what_is_no_module_or_no_tensor_is_refused(model, given, message):
    with pytest.raises(GraphError, match=f"a model to trace and its inputs.*{message}"):
        trace(model, given)


def test_a_compiled_script_is_refused_and_left_as_it_was():
    x = torch.randn(2, 3)
    model = nn.Sequential(nn.Linear(3, 4), torch.jit.script(nn.Linear(4, 5)))
    before = model(x)
    with pytest.raises(GraphError, match=r"at Sequential.1: expected modules that run in Python, .* before torch.jit"):
        trace(model, x)
    assert torch.equal(model(x), before)
    assert model.training
