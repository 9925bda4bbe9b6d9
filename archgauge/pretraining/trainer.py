"""The pretraining loop: a contrastive loss and GENNAPE's MACs regulariser, resumed exactly after a kill."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from archgauge.encoders.graph_encoder import GraphEncoder, KindTensors
from archgauge.errors import ConfigError, PredictorError
from archgauge.graphs.batch import GraphBatch
from archgauge.graphs.store import GraphStore
from archgauge.nn.heads import mlp
from archgauge.pretraining.contrastive import contrastive_loss, family_weights, nearest_graphs, target_weights
from archgauge.resume import read_resume, write_resume
from archgauge.schemas import LOSSES

Report = Callable[[str, float, int], None]
METRICS = ("loss", "contrastive", "macs_mse")
POSITIVES = ("all", "family")


@dataclass(frozen=True)
class Source:
    """Graphs of one store, a family, to pretrain on.

    Attributes:
        store: the graphs.
        rows: (n,) int64, their rows in the store.
        eigenvalues: (n, at least q) float, ascending, of the graphs in `rows`; padded with zeros.
    """

    store: GraphStore
    rows: np.ndarray
    eigenvalues: np.ndarray


@dataclass(frozen=True)
class PretrainingConfig:
    """Settings of the loop. What the papers print is cited; the rest they leave open.

    The defaults are GENNAPE's. The transferable predictor (Han et al. 2023) is positives "family", temperature 0.1,
    eigenvalues 11 and macs_weight 0.

    Attributes:
        epochs: passes over the graphs. Open.
        batch_size: graphs a step, 128 (supplement). The last, incomplete batch of an epoch is left out.
        learning_rate: of Adam, falling to zero along half a cosine. Open.
        temperature: tau of Eq. 1, 0.05 (supplement).
        alpha_temperature: of the spectral weights, 0.05 (the companion paper).
        eigenvalues: q, 21 (supplement).
        macs_weight: of the mean squared error of standardised log10(MACs), the second projection head. Open.
        projection_hidden: hidden layers of both projection heads, four (the companion paper); widths open.
        projection_width: p, 64 (the companion paper).
        gradient_clip: largest norm of the gradient, 5 (GENNAPE's public code).
        positives: "all", two dropout twins of each graph, and every other sample is a positive (GENNAPE). "family",
            no dropout: beside each graph of the batch stands a similar one, drawn at random from its `neighbours`,
            and the samples of the anchor's family are its positives (the transferable predictor). A graph that comes
            twice stands in the batch once.
        neighbours: with "family", how many of the nearest graphs of the family a similar one is drawn from. The paper
            says "very similar" and no more. Open.
    """

    epochs: int
    learning_rate: float = 1e-3
    batch_size: int = 128
    temperature: float = 0.05
    alpha_temperature: float = 0.05
    eigenvalues: int = 21
    macs_weight: float = 1.0
    projection_hidden: tuple[int, ...] = (128, 128, 128, 128)
    projection_width: int = 64
    gradient_clip: float = 5.0
    positives: Literal["all", "family"] = "all"
    neighbours: int = 10

    def __post_init__(self):
        if self.positives not in POSITIVES:
            raise ConfigError(
                "the settings of a pretraining",
                where="positives",
                expected=f"one of {', '.join(POSITIVES)}",
                got=repr(self.positives),
                remedy="Correct the encoder's training block in the configuration.",
            )
        if self.neighbours < 1:
            raise ConfigError(
                "the settings of a pretraining",
                where="neighbours",
                expected="at least 1",
                got=self.neighbours,
                remedy="Correct the encoder's training block in the configuration.",
            )


def pretrain(
    encoder: GraphEncoder,
    sources: Sequence[Source],
    config: PretrainingConfig,
    *,
    seed: int,
    resume: Path,
    fingerprint: str = "",
    save_seconds: float = 10.0,
    report: Report | None = None,
) -> list[dict[str, float]]:
    """Train `encoder` in place, on its device.

    The state is written to `resume` at the end of every epoch and every `save_seconds`. The caller removes the file
    when it has written what came out. A run that finds the file of the same settings, data and fingerprint goes on
    from there, to the same weights as if it had never stopped (bit for bit on a CPU with the same number of threads).
    A file of another run, or a damaged one, is warned about and replaced.

    Args:
        encoder: with its initial weights.
        sources: graphs of one or more stores; batches mix them.
        config: settings.
        seed: of the data order, the dropout masks and the projection heads.
        resume: path of the resume file; not a declared output of a job.
        fingerprint: of the code that runs, so that an edit does not go on from another version's state.
        save_seconds: longest time that a kill may cost.
        report: called as report("pretraining/<metric>", mean over the epoch, step) for each of `METRICS`, for every
            epoch, those before a kill included.

    Returns:
        one record per epoch: "step" and the metrics.

    Raises:
        PredictorError: with fewer than two graphs, or of one family where it has the positives, or spectra that do not
            fit.
    """
    loop = _Loop(encoder, _Data(encoder, sources, config), config, seed)
    identity = _identity(loop, seed, fingerprint)
    loop.restore(resume, identity)
    report = report or (lambda name, value, step: None)
    for record in loop.history:
        _report_epoch(report, record)
    saved = time.monotonic()
    with tqdm(total=config.epochs, initial=len(loop.history), desc="pretraining", unit="epoch", mininterval=1) as bar:
        while len(loop.history) < config.epochs:
            ended = loop.advance()
            if ended:
                _report_epoch(report, loop.history[-1])
                bar.set_postfix(loss=f"{loop.history[-1]['loss']:.4f}", refresh=False)
                bar.update()
            if ended or time.monotonic() - saved >= save_seconds:
                loop.save(resume, identity)
                saved = time.monotonic()
    return loop.history


def losses_table(name: str, history: Sequence[dict[str, float]]) -> pa.Table:
    """LOSSES of one encoder; no row where it was not pretrained."""
    rows = [(name, int(record["step"]), metric, record[metric]) for record in history for metric in METRICS]
    columns = zip(*rows, strict=True) if rows else [[]] * len(LOSSES)
    return pa.table({field.name: list(column) for field, column in zip(LOSSES, columns, strict=True)}).cast(LOSSES)


class _Data:
    """The graphs of all sources under one numbering 0..N-1, with what the losses need of each."""

    def __init__(self, encoder: GraphEncoder, sources: Sequence[Source], config: PretrainingConfig):
        self._sources, device = sources, encoder.device
        _check(sources, config)
        self._first = np.cumsum([0, *(len(source.rows) for source in sources)])
        self._first_kind = np.cumsum([0, *(len(source.store.kinds) for source in sources)])
        tensors = [encoder.kind_tensors(source.store.kinds) for source in sources]
        self.kinds = KindTensors(torch.cat([t.categories for t in tensors]), torch.cat([t.numbers for t in tensors]))
        spectra = np.concatenate([source.eigenvalues[:, : config.eigenvalues] for source in sources])
        self.eigenvalues = torch.from_numpy(spectra.astype(np.float32)).to(device)
        self.family = torch.arange(len(sources)).repeat_interleave(torch.from_numpy(np.diff(self._first))).to(device)
        macs = np.concatenate([source.store.macs[source.rows] for source in sources])
        log_macs = np.log10(np.maximum(macs, 1))
        spread = log_macs.std() or 1.0
        self.macs = torch.from_numpy(((log_macs - log_macs.mean()) / spread).astype(np.float32)).to(device)

    def __len__(self) -> int:
        return int(self._first[-1])

    def batch(self, index: np.ndarray) -> GraphBatch:
        """The graphs `index`, those of one source together, sources in order; `index` has to be sorted."""
        cut = np.searchsorted(index, self._first)
        parts = []
        for number, source in enumerate(self._sources):
            here = index[cut[number] : cut[number + 1]] - self._first[number]
            if len(here):
                part = source.store.batch(source.rows[here])
                parts.append((part, int(self._first_kind[number])))
        return _joined(parts)

    def neighbours(self, count: int) -> tuple[Tensor, Tensor]:
        """The nearest graphs of the same source: (N, count) int64, and how many of them there are, (N,) int64."""
        spectra = self.eigenvalues.cpu().numpy()
        parts = [first + nearest_graphs(spectra[first:end], count) for first, end in pairwise(self._first)]
        padded = [np.pad(part, ((0, 0), (0, count - part.shape[1]))) for part in parts]
        available = np.concatenate([np.full(len(part), part.shape[1]) for part in parts])
        return torch.from_numpy(np.concatenate(padded)), torch.from_numpy(available)

    def digest(self) -> str:
        """Changes when the graphs, their order, their spectra or their MACs do."""
        content = hashlib.sha256()
        for source in self._sources:
            content.update("\n".join(source.store.arch_id[source.rows]).encode())
        for tensor in (self.eigenvalues, self.macs, self.kinds.categories, self.kinds.numbers):
            content.update(tensor.cpu().numpy().tobytes())
        return content.hexdigest()


class _Loop:
    """Everything that a step changes."""

    def __init__(self, encoder: GraphEncoder, data: _Data, config: PretrainingConfig, seed: int):
        self.encoder, self.data, self.config = encoder, data, config
        self.batch_size = min(config.batch_size, len(data))
        self.steps_per_epoch = len(data) // self.batch_size
        self.order_generator = torch.Generator().manual_seed(seed)
        self.dropout_generator = torch.Generator(encoder.device).manual_seed(seed)
        hidden = config.projection_hidden
        self.projection = mlp(encoder.width, config.projection_width, self.order_generator, hidden).to(encoder.device)
        self.macs_head = mlp(encoder.width, 1, self.order_generator, hidden).to(encoder.device)
        self.modules = nn.ModuleList([encoder, self.projection, self.macs_head])
        self.optimiser = torch.optim.Adam(self.modules.parameters(), config.learning_rate, fused=True)
        if config.positives == "family":
            self.nearest = data.neighbours(config.neighbours)
        self.step = 0
        self.order = torch.empty(0, dtype=torch.int64)
        self.totals = [0.0] * len(METRICS)
        self.history: list[dict[str, float]] = []

    def advance(self) -> bool:
        """Take one step; whether it ended an epoch."""
        place = self.step % self.steps_per_epoch
        if place == 0:
            self.order = torch.randperm(len(self.data), generator=self.order_generator)
            self.totals = [0.0] * len(METRICS)
        chosen = self.order[place * self.batch_size : (place + 1) * self.batch_size]
        losses = self._learn(chosen.sort().values)
        self.totals = [total + loss for total, loss in zip(self.totals, losses, strict=True)]
        self.step += 1
        if place + 1 < self.steps_per_epoch:
            return False
        means = {name: total / self.steps_per_epoch for name, total in zip(METRICS, self.totals, strict=True)}
        self.history.append({"step": self.step, **means})
        return True

    def _learn(self, chosen: Tensor) -> list[float]:
        """One update of the weights on the graphs `chosen`; the values of `METRICS`."""
        config = self.config
        graph, embedding, weights = self._samples(chosen)
        contrastive = contrastive_loss(self.projection(embedding), weights, config.temperature)
        macs_mse = functional.mse_loss(self.macs_head(embedding).squeeze(1), self.data.macs[graph])
        loss = contrastive + config.macs_weight * macs_mse
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.modules.parameters(), config.gradient_clip)
        progress = self.step / (config.epochs * self.steps_per_epoch)
        self.optimiser.param_groups[0]["lr"] = config.learning_rate * (1 + math.cos(math.pi * progress)) / 2
        self.optimiser.step()
        return torch.stack([loss, contrastive, macs_mse]).tolist()

    def _samples(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is contrasted: graphs (M,) int64 and embeddings (M, D) of the samples, and the weights alpha (M, M)."""
        data, config, device = self.data, self.config, self.encoder.device
        if config.positives == "family":
            chosen = self._with_similar(chosen)
        batch, chosen = data.batch(chosen.numpy()).to(device), chosen.to(device)
        spectra = data.eigenvalues[chosen]
        if config.positives == "family":
            weights = family_weights(spectra, data.family[chosen], config.alpha_temperature)
            return chosen, self.encoder(batch, data.kinds), weights
        twins = self.encoder.twins(batch, data.kinds, self.dropout_generator).flatten(0, 1)
        return chosen.repeat(2), twins, target_weights(spectra, config.alpha_temperature)

    def _with_similar(self, chosen: Tensor) -> Tensor:
        """The graphs `chosen` (B,) and a similar one of each, sorted, every graph once."""
        nearest, available = self.nearest
        place = (torch.rand(len(chosen), generator=self.order_generator) * available[chosen]).long()
        return torch.cat([chosen, nearest[chosen, place]]).unique()

    def save(self, path: Path, identity: str) -> None:
        """Write all of it, atomically."""
        content = {
            "identity": identity,
            "modules": self.modules.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "order_generator": self.order_generator.get_state(),
            "dropout_generator": self.dropout_generator.get_state(),
            "order": self.order,
            "step": self.step,
            "totals": self.totals,
            "history": self.history,
        }
        write_resume(path, content)

    def restore(self, path: Path, identity: str) -> None:
        """Go on from a file that `save` wrote in a run of the same identity; otherwise change nothing."""
        content = read_resume(path, identity, "pretraining")
        if content is None:
            return
        self.modules.load_state_dict(content["modules"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.order_generator.set_state(content["order_generator"])
        self.dropout_generator.set_state(content["dropout_generator"])
        self.order, self.step = content["order"], content["step"]
        self.totals, self.history = content["totals"], content["history"]


def _identity(loop: _Loop, seed: int, fingerprint: str) -> str:
    encoder = loop.encoder
    settings = [
        asdict(loop.config),
        asdict(encoder.config),
        encoder.backend.name,
        seed,
        fingerprint,
        loop.data.digest(),
    ]
    content = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in encoder.state_dict().values():
        content.update(tensor.cpu().numpy().tobytes())
    return content.hexdigest()


def _joined(parts: Sequence[tuple[GraphBatch, int]]) -> GraphBatch:
    """Lay batches one after another; each comes with the first row of its kinds in the joined kind table."""
    kind, source, target, offset = [], [], [], [torch.zeros(1, dtype=torch.int64)]
    nodes = 0
    for part, first_kind in parts:
        kind.append(part.kind + first_kind)
        source.append(part.edge_source + nodes)
        target.append(part.edge_target + nodes)
        offset.append(part.node_offset[1:] + nodes)
        nodes += len(part.kind)
    return GraphBatch(*map(torch.cat, (kind, source, target, offset)))


def _check(sources: Sequence[Source], config: PretrainingConfig) -> None:
    for checked, expected, got in _faults(sources, config):
        raise PredictorError(
            checked,
            where="the sources of a pretraining",
            expected=expected,
            got=got,
            remedy="Take more graphs, or make the spectra of exactly these graphs with enough eigenvalues.",
        )


def _faults(sources: Sequence[Source], config: PretrainingConfig) -> Iterator[tuple[str, str, str]]:
    total = sum(len(source.rows) for source in sources)
    if min(total, config.batch_size) < 2:
        yield "the graphs of a batch", "at least 2, or nothing is contrasted", str(min(total, config.batch_size))
    smallest = min((len(source.rows) for source in sources), default=0)
    if config.positives == "family" and smallest < 2:
        yield "the graphs of a family", "at least 2, or one has no positive", str(smallest)
    for source in sources:
        name, shape = source.store.path.name, source.eigenvalues.shape
        if len(shape) != 2 or shape[0] != len(source.rows) or shape[1] < config.eigenvalues:
            yield (
                f"the spectra of {name}",
                f"({len(source.rows)}, {config.eigenvalues} or more) numbers",
                str(shape),
            )
        elif not np.isfinite(source.eigenvalues).all():
            yield f"the spectra of {name}", "finite numbers", "NaN or infinity"


def _report_epoch(report: Report, record: dict[str, float]) -> None:
    for name in METRICS:
        report(f"pretraining/{name}", record[name], int(record["step"]))
