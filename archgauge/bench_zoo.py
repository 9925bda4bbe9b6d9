"""Every image classifier of pytorchcv traced, and the zoo's computed twice: `python -m archgauge.bench_zoo`.

First all are traced on the meta device: how many can be, in how much CPU time on one core, and with how many parameters
against PyTorch's own count. Then each distinct architecture of the family zoo (a group of `zoo.groups`) is run with
random weights on random images, next to the network realised from its graph with the same weights. What fails is listed
with the reason. One process; memory holds one network at a time, twice.
"""

import argparse
import math
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from tqdm import tqdm

from archgauge.families import zoo
from archgauge.graphs import cost
from archgauge.graphs.calls import tensors
from archgauge.graphs.canonical import canonical_hash
from archgauge.graphs.normal_form import live
from archgauge.graphs.realise import load_weights, realise
from archgauge.graphs.trace import trace, trace_with_state

TOLERANCE = 1e-5  # of the largest element of an output
BAR_S = 1.0
SLOWEST = 5
SMALL_PIXELS = 64  # up to which two images are computed instead of one
QUICK_STEP = 40


class Traced(NamedTuple):
    """How a network was traced.

    Attributes:
        seconds: CPU time of the trace.
        live_hash: of the graph; "" where there is none.
        failure: why there is none, or "".
        counted, own: parameters of the graph and of the model; they are to be equal.
    """

    spec: str
    seconds: float = 0.0
    live_hash: str = ""
    failure: str = ""
    counted: int = 0
    own: int = 0


def traced(spec: str) -> Traced:
    """Build a network without weights, trace it and count its parameters."""
    try:
        with torch.device("meta"):
            model, size = zoo.network(spec)
        x = torch.empty(1, 3, *size, device="meta")
        start = time.process_time()
        graph = trace(model, x)
        seconds = time.process_time() - start
    except Exception as error:  # the package's constructors may raise anything
        return Traced(spec, failure=f"{type(error).__name__}: {error}")
    counted = int(cost.params(graph)[0] + graph.params_outside[0])
    own = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Traced(spec, seconds, str(canonical_hash(live(graph))[0]), "", counted, own)


def difference(spec: str, dtype: torch.dtype = torch.float32) -> float:
    """How far the outputs of the realised graph are from the network's, relative to their largest element.

    Random weights in a thousand residual blocks give more than float32 holds: then the result is NaN.

    Raises:
        ArchgaugeError: when the network cannot be traced or its graph not realised.
    """
    torch.manual_seed(0)
    model, size = zoo.network(spec)
    model = model.eval().to(dtype)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    x = torch.randn(2 if max(size) <= SMALL_PIXELS else 1, 3, *size, dtype=dtype)
    graph, state = trace_with_state(model, x)
    network = realise(graph).eval().to(dtype)
    load_weights(network, model, state)
    with torch.inference_mode():
        pairs = zip(tensors(network(x)), tensors(model(x)), strict=True)
        apart = [(got.reshape(own.shape) - own).abs().max() / own.abs().max() for got, own in pairs]
    return float(torch.stack(apart).max())  # NaN where one is


def distinct(results: Iterable[Traced]) -> list[str]:
    """The first spec of each architecture, whatever data set and weights it was trained for."""
    found = [result for result in results if not result.failure]
    names = zoo.groups([zoo.arch_id(result.spec) for result in found], [result.live_hash for result in found])
    first: dict[str, str] = {}
    for name, result in zip(names, found, strict=True):
        first.setdefault(name, result.spec)
    return list(first.values())


def tracing(results: list[Traced]) -> Iterator[str]:
    """The lines on tracing."""
    found = [result for result in results if not result.failure]
    slow = sorted(found, key=lambda result: -result.seconds)
    over = sum(result.seconds > BAR_S for result in found)
    wrong = [result for result in found if result.counted != result.own]
    yield f"traced: {share(len(found), len(results))}"
    yield f"took over {BAR_S:g} s of CPU: {over}; the slowest:"
    yield from (f"  {result.spec}: {result.seconds:.2f} s" for result in slow[:SLOWEST])
    yield f"parameters other than PyTorch's own: {len(wrong)}"
    yield from (f"  {result.spec}: {result.counted:,} in the graph, {result.own:,} in the model" for result in wrong)
    yield from (f"  not traced: {result.spec}: {result.failure}" for result in results if result.failure)


def computing(specs: list[str]) -> Iterator[str]:
    """The lines on realised graphs."""
    failures = []
    for spec in tqdm(specs, unit="network", desc="compute"):
        try:
            apart = difference(spec)
            if math.isnan(apart):
                apart = difference(spec, torch.float64)
        except Exception as error:  # a network may raise anything
            failures.append(f"  {spec}: {type(error).__name__}: {error}")
        else:
            if not apart <= TOLERANCE:
                failures.append(f"  {spec}: {apart:.1e}")
    equal = share(len(specs) - len(failures), len(specs))
    yield f"architectures whose realised graph computes the same within {TOLERANCE:g}: {equal}"
    yield from failures


def share(part: int, whole: int) -> str:
    """A count out of a whole, in percent."""
    return f"{part} of {whole} ({100 * part / max(whole, 1):.1f} %)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"take every {QUICK_STEP}th network alone")
    step = QUICK_STEP if parser.parse_args().quick else 1
    torch.set_num_threads(1)
    listed = [spec for spec in zoo.enumerate_specs()["spec"].to_pylist() if spec.startswith("pytorchcv:")][::step]
    further = [spec for spec in zoo.pytorchcv_specs() if spec not in set(listed)][::step]
    traced(listed[0])  # warms up
    print(f"{len(listed)} networks of the model store, {len(further)} further image classifiers", flush=True)
    results = [traced(spec) for spec in tqdm([*listed, *further], unit="network", desc="trace")]
    for line in tracing(results):
        print(line)
    print(flush=True)
    for line in computing(distinct(results[: len(listed)])):
        print(line)


if __name__ == "__main__":
    main()
