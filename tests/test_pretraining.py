"""The pretraining loop: it learns, it is repeatable, and a kill changes nothing."""

import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
import torch
from memory_store import MemoryStore, family_store

from archgauge.encoders.graph_encoder import GraphEncoder, GraphEncoderConfig
from archgauge.errors import ConfigError, PredictorError
from archgauge.pretraining import trainer
from archgauge.pretraining.trainer import METRICS, PretrainingConfig, Source, pretrain

SMALL = GraphEncoderConfig(node_width=8, half_width=16, feedforward=24, gnn_layers=2)
CONFIG = PretrainingConfig(epochs=3, batch_size=8, projection_hidden=(16,), projection_width=8)
FAMILY = replace(CONFIG, positives="family", temperature=0.1, eigenvalues=11, neighbours=3)
"""The transferable predictor's form."""


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return [_source(family_store("nb201", 16)), _source(family_store("nb101", 12))]


def _source(store: MemoryStore) -> Source:
    return Source(store, np.arange(len(store)), store.eigenvalues())


def _encoder() -> GraphEncoder:
    return GraphEncoder(SMALL, torch.Generator().manual_seed(1))


def _trained(sources, resume: Path, config=CONFIG, seed=0, **options) -> tuple[dict, list]:
    encoder = _encoder()
    history = pretrain(encoder, sources, config, seed=seed, resume=resume, **options)
    return encoder.state_dict(), history


def _assert_same(one: dict, other: dict) -> None:
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_losses_fall(sources, tmp_path):
    _, history = _trained(sources, tmp_path / "r.pt", replace(CONFIG, epochs=40, learning_rate=3e-3))
    assert history[-1]["contrastive"] < history[0]["contrastive"] - 0.05
    assert history[-1]["macs_mse"] < 0.7 * history[0]["macs_mse"]


def test_same_seed_same_weights_and_another_seed_others(sources, tmp_path):
    first, history = _trained(sources, tmp_path / "first.pt")
    second, same_history = _trained(sources, tmp_path / "second.pt")
    other, _ = _trained(sources, tmp_path / "other.pt", seed=1)
    _assert_same(first, second)
    assert history == same_history
    assert not torch.equal(first["widen.weight"], other["widen.weight"])


def test_global_random_state_is_neither_read_nor_needed(sources, tmp_path):
    torch.manual_seed(1)
    first, _ = _trained(sources, tmp_path / "first.pt")
    torch.manual_seed(2)
    second, _ = _trained(sources, tmp_path / "second.pt")
    _assert_same(first, second)


def test_numbers_of_the_twins_are_what_they_were_before_there_was_another_form(sources, tmp_path):
    _, history = _trained(sources, tmp_path / "r.pt")
    before = [(3.310868, 2.439973, 0.870895), (3.128991, 2.279598, 0.849393), (3.228565, 2.254745, 0.973820)]
    np.testing.assert_allclose([[epoch[name] for name in METRICS] for epoch in history], before, rtol=0, atol=2e-5)


def test_family_form_learns(sources, tmp_path):
    _, history = _trained(sources, tmp_path / "r.pt", replace(FAMILY, epochs=40, learning_rate=3e-3, macs_weight=0))
    assert history[-1]["contrastive"] < history[0]["contrastive"] - 0.2
    assert all(epoch["loss"] == pytest.approx(epoch["contrastive"]) for epoch in history)


def test_family_form_draws_no_dropout(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(GraphEncoder, "twins", lambda *_: pytest.fail("a dropout twin"))
    _trained(sources, tmp_path / "r.pt", FAMILY)


def test_family_form_has_a_near_graph_of_the_family_beside_each(sources):
    data = trainer._Data(_encoder(), sources, FAMILY)
    loop = trainer._Loop(_encoder(), data, FAMILY, 0)
    spectra, family = data.eigenvalues.double(), np.repeat([0, 1], [16, 12])
    drawn = set()
    for _ in range(60):
        chosen = torch.tensor([1, 5, 20])
        samples = loop._with_similar(chosen)
        assert len(samples) == len(samples.unique()) <= 6
        assert set(chosen.tolist()) <= set(samples.tolist())
        drawn |= set(samples.tolist())
    for anchor in (1, 5, 20):
        others = np.flatnonzero((family == family[anchor]) & (np.arange(28) != anchor))
        distance = (spectra[others] - spectra[anchor]).norm(dim=1).numpy()
        third = np.sort(distance)[2]
        near = set(others[distance <= third + 1e-6])
        assert len(drawn & near) >= min(3, len(near))
    assert len(drawn) <= 3 + 3 * 3


def test_family_form_takes_families_smaller_than_the_neighbourhood(sources, tmp_path):
    small = replace(sources[1], rows=np.array([0, 1]), eigenvalues=sources[1].eigenvalues[:2])
    state, _ = _trained([sources[0], small], tmp_path / "r.pt", replace(FAMILY, neighbours=10))
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_family_of_one_graph_is_refused(sources, tmp_path):
    alone = replace(sources[1], rows=np.array([3]), eigenvalues=sources[1].eigenvalues[:1])
    with pytest.raises(PredictorError, match=r"the graphs of a family.*expected at least 2.*got 1"):
        _trained([sources[0], alone], tmp_path / "r.pt", FAMILY)


@pytest.mark.parametrize(
    ("key", "value", "got"),
    [("positives", "near", "one of all, family, got 'near'"), ("neighbours", 0, "at least 1, got 0")],
)
def test_settings_that_mean_nothing_are_refused(key, value, got):
    with pytest.raises(ConfigError, match=rf"{key}: expected {got}"):
        replace(CONFIG, **{key: value})


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("die_at", "config"), [(1, CONFIG), (3, CONFIG), (4, CONFIG), (7, CONFIG), (3, FAMILY), (4, FAMILY)]
)
def test_resumed_run_ends_in_the_same_weights(die_at, config, sources, tmp_path, monkeypatch):
    """Three steps an epoch: within the first epoch, at an epoch's end and start, and within the last epoch."""
    expected, history = _trained(sources, tmp_path / "whole.pt", config)
    advance, steps = trainer._Loop.advance, []

    def dying(loop):
        if loop.step == die_at and not steps:
            steps.append(loop.step)
            raise Killed
        return advance(loop)

    monkeypatch.setattr(trainer._Loop, "advance", dying)
    with pytest.raises(Killed):
        _trained(sources, tmp_path / "cut.pt", config, save_seconds=0)
    assert (tmp_path / "cut.pt").exists()
    restarts = []
    monkeypatch.setattr(trainer._Loop, "advance", lambda loop: restarts.append(loop.step) or advance(loop))
    reported = []
    resumed, same_history = _trained(
        sources, tmp_path / "cut.pt", config, save_seconds=0, report=lambda *metric: reported.append(metric)
    )
    assert restarts[0] == die_at
    _assert_same(expected, resumed)
    assert history == same_history
    assert reported == [(f"pretraining/{name}", epoch[name], epoch["step"]) for epoch in history for name in METRICS]


def test_a_finished_run_is_not_run_again_while_its_file_is_there(sources, tmp_path, monkeypatch):
    """What came out may not have been written yet when the process was killed."""
    expected, history = _trained(sources, tmp_path / "r.pt")
    monkeypatch.setattr(trainer._Loop, "advance", lambda loop: pytest.fail("a step was taken"))
    again, same_history = _trained(sources, tmp_path / "r.pt")
    _assert_same(expected, again)
    assert history == same_history


def test_kill_minus_nine_costs_nothing(tmp_path):
    """The same in a process of its own that the kernel kills after the second epoch."""
    resume = tmp_path / "resume.pt"
    command = [sys.executable, __file__, str(resume)]
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    killed = subprocess.run(command, capture_output=True, env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert resume.exists()
    with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("error")  # a resume file that is ignored
        source = [_source(family_store("nb201", 16))]
        resumed, _ = _trained(source, resume)
        whole, _ = _trained(source, tmp_path / "whole.pt")
    _assert_same(resumed, whole)


@pytest.mark.parametrize("change", ["seed", "config", "fingerprint", "damage"])
def test_resume_file_of_another_run_is_ignored_with_a_warning(change, sources, tmp_path):
    path = tmp_path / "resume.pt"
    loop = trainer._Loop(_encoder(), trainer._Data(_encoder(), sources, CONFIG), CONFIG, 0)
    loop.advance()
    loop.save(path, trainer._identity(trainer._Loop(_encoder(), loop.data, CONFIG, 0), 0, ""))
    if change == "damage":
        path.write_bytes(path.read_bytes()[:-200])
    options = {
        "seed": {"seed": 5},
        "config": {"config": replace(CONFIG, temperature=0.1)},
        "fingerprint": {"fingerprint": "edited"},
        "damage": {},
    }[change]
    with pytest.warns(UserWarning, match=r"resume file .*resume.pt is ignored: it .*starts from the beginning"):
        ignored, _ = _trained(sources, path, **options)
    options.pop("fingerprint", None)
    fresh, _ = _trained(sources, tmp_path / "fresh.pt", **options)
    _assert_same(ignored, fresh)


def test_batches_mix_stores_without_mixing_kinds(sources):
    encoder = _encoder()
    data = trainer._Data(encoder, sources, CONFIG)
    index = np.array([2, 15, 16, 20])
    found = encoder(data.batch(index), data.kinds)
    expected = [encoder.embed(sources[0].store, index[:2]), encoder.embed(sources[1].store, index[2:] - 16)]
    np.testing.assert_allclose(found.detach().numpy(), np.concatenate(expected), rtol=0, atol=1e-6)


def test_every_graph_is_seen_once_an_epoch(sources, monkeypatch):
    data = trainer._Data(_encoder(), sources, CONFIG)
    loop = trainer._Loop(_encoder(), data, replace(CONFIG, batch_size=7), 0)
    seen: list[int] = []
    monkeypatch.setattr(loop, "_learn", lambda chosen: seen.extend(chosen.tolist()) or [0.0] * 3)
    while not loop.advance():
        pass
    assert sorted(seen) == list(range(28))


def test_equal_macs_do_not_divide_by_zero(sources, tmp_path):
    one = replace(sources[0], rows=np.zeros(8, np.int64), eigenvalues=np.repeat(sources[0].eigenvalues[:1], 8, 0))
    state, _ = _trained([one], tmp_path / "r.pt")
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_one_graph_is_refused(sources, tmp_path):
    one = replace(sources[0], rows=np.array([3]), eigenvalues=sources[0].eigenvalues[:1])
    with pytest.raises(PredictorError, match=r"the graphs of a batch.*expected at least 2.*got 1"):
        _trained([one], tmp_path / "r.pt")


@pytest.mark.parametrize(
    ("spectra", "got"),
    [
        (lambda whole: whole[:-1], r"expected \(16, 21 or more\) numbers, got \(15, 21\)"),
        (lambda whole: whole[:, :20], r"got \(16, 20\)"),
        (lambda whole: whole * np.nan, "expected finite numbers, got NaN"),
    ],
)
def test_spectra_that_do_not_fit_are_refused(spectra, got, sources, tmp_path):
    wrong = replace(sources[0], eigenvalues=spectra(sources[0].eigenvalues))
    with pytest.raises(PredictorError, match=got):
        _trained([wrong], tmp_path / "r.pt")


if __name__ == "__main__":
    epochs = []

    def die(name: str, value: float, step: int) -> None:
        epochs.append(step)
        if len(epochs) == len(METRICS) + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    _trained([_source(family_store("nb201", 16))], Path(sys.argv[1]), report=die)
