"""Training found networks: crops and flips, what is learnt, what is tested, and going on after a kill."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F

from archgauge.errors import ConfigError, FormatError
from archgauge.evaluation import network_training
from archgauge.evaluation.network_training import Recipe, augmented, label_of, trained_accuracy
from archgauge.graphs.builder import GraphBuilder
from archgauge.graphs.graph import Graphs
from archgauge.graphs.operations import KindTable
from archgauge.proxies.images import TEST, cifar10_batch

RECIPE = Recipe(
    images=None,
    test_images=None,
    epochs=3,
    batch_size=10,
    learning_rate=0.1,
    final_learning_rate=0.01,
    momentum=0.9,
    weight_decay=1e-4,
    label_smoothing=0.1,
)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(pixels: int = 32, classes: int = 10) -> Graphs:
    build = GraphBuilder(KindTable())
    x = build.pool(build.input(pixels, pixels, 3), "avg_pool", 4, stride=4, padding=0)
    x = build.same("relu", build.batch_norm(build.conv(x, 16, 1)))
    build.output(build.linear(build.global_avg_pool(x), classes))
    return build.finish()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images of one colour, which tells the class, in files of 80 for training and 40 for testing."""
    rng = np.random.default_rng(0)
    for name, count in (("data_batch_1.bin", 80), ("test_batch.bin", 40)):
        labels = np.arange(count) % 10
        colour = np.stack([labels * 25, 250 - labels * 25, (labels % 3) * 80], axis=1)
        pixels = np.clip(colour[:, :, None] + rng.integers(-5, 6, (count, 3, 1024)), 0, 255)
        rows = np.concatenate([labels[:, None], pixels.reshape(count, -1)], axis=1).astype(np.uint8)
        rows.tofile(tmp_path / name)
    return tmp_path


def train(folder: Path, recipe: Recipe = RECIPE, graph: Graphs | None = None, **other) -> float:
    chosen = {"seed": 0, "device": "cpu", "resume": folder / "resume.pt", **other}
    return trained_accuracy(graph or network(), recipe, folder, **chosen)


def test_crops_and_flips_are_of_padded_images():
    images = torch.randn(40, 3, 32, 32)
    found = augmented(images, torch.Generator().manual_seed(0))
    places, mirrored = set(), 0
    for before, after in zip(images, found, strict=True):
        padded = F.pad(before, [4] * 4)
        crops = {(top, left): padded[:, top : top + 32, left : left + 32] for top in range(9) for left in range(9)}
        plain = [place for place, crop in crops.items() if torch.equal(crop, after)]
        flipped = [place for place, crop in crops.items() if torch.equal(crop.flip(2), after)]
        assert len(plain + flipped) == 1
        places |= set(plain + flipped)
        mirrored += len(flipped)
    assert 10 <= mirrored <= 30
    assert {axis for place in places for axis in place} == set(range(9))
    assert torch.equal(found, augmented(images, torch.Generator().manual_seed(0)))


def test_colours_are_learnt_and_tested_on_other_images(folder):
    assert train(folder, replace(RECIPE, epochs=25)) > 90
    (folder / "resume.pt").unlink()
    images = np.fromfile(folder / "test_batch.bin", np.uint8).reshape(-1, 3073)
    images[:, 0] = (images[:, 0] + 1) % 10
    images.tofile(folder / "test_batch.bin")
    assert train(folder, replace(RECIPE, epochs=25)) < 10


def test_one_step_is_one_of_torch(folder, monkeypatch):
    """All images in one batch: smoothed cross entropy, Nesterov's step at the first learning rate."""
    monkeypatch.setattr(network_training, "augmented", lambda images, generator: images)
    recipe = replace(RECIPE, epochs=1, batch_size=80)
    reported = []
    train(folder, recipe, report=lambda *metric: reported.append(metric))
    state = torch.load(folder / "resume.pt", weights_only=True)["network"]
    data = cifar10_batch(folder, None, 0)
    expected = network_training.initialised(network(), 0)
    logits = expected(data.images)
    onehot = F.one_hot(data.labels, 10) * 0.9 + 0.01
    loss = -(onehot * logits.log_softmax(1)).sum(1).mean()
    loss.backward()
    with torch.no_grad():
        for weight in expected.parameters():
            gradient = weight.grad + 1e-4 * weight
            weight -= 0.1 * (gradient + 0.9 * gradient)
    for name, weight in expected.named_parameters():
        torch.testing.assert_close(state[name], weight, atol=1e-5, rtol=1e-4)
    assert reported[0] == ("training/loss", pytest.approx(loss.item(), rel=1e-4), 1)
    assert reported[1] == ("training/learning_rate", 0.1, 1)
    assert reported[2][0] == "training/test_accuracy_pct"


def test_the_learning_rate_falls_along_a_cosine(folder):
    reported = []
    train(folder, replace(RECIPE, epochs=2), report=lambda *metric: reported.append(metric))
    rates = [value for name, value, _ in reported if name == "training/learning_rate"]
    assert rates == pytest.approx([0.01 + 0.09 * (1 + np.cos(np.pi * step / 16)) / 2 for step in (7, 15)])


def test_a_killed_training_goes_on_to_the_same_weights(folder):
    whole = train(folder)
    weights = torch.load(folder / "resume.pt", weights_only=True)["network"]

    class Killed(Exception):
        pass

    def kill(name: str, value: float, step: int) -> None:
        if step == 2:
            raise Killed

    (folder / "resume.pt").unlink()
    with pytest.raises(Killed):
        train(folder, report=kill)
    epochs = []
    assert train(folder, report=lambda name, value, step: epochs.append(step)) == whole
    assert min(epochs) == 3
    again = torch.load(folder / "resume.pt", weights_only=True)["network"]
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"fingerprint": "edited"}, {"recipe": replace(RECIPE, learning_rate=0.2)}]
)
def test_another_run_starts_from_the_beginning(folder, other):
    train(folder)
    with pytest.warns(UserWarning, match="belongs to a run with other .*; training starts from the beginning"):
        train(folder, **other)


def test_a_damaged_resume_file_is_replaced(folder):
    (folder / "resume.pt").write_bytes(b"torn")
    with pytest.warns(UserWarning, match="it cannot be read"):
        train(folder, replace(RECIPE, epochs=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(folder, replace(RECIPE, epochs=1))


def test_equal_seeds_train_alike_and_a_lone_last_image_is_left_out(folder):
    recipe = replace(RECIPE, images=41, epochs=1)
    first, again = train(folder, recipe), train(folder, recipe, resume=folder / "other.pt")
    assert first == again
    with pytest.raises(FormatError, match="at least 81 images"):
        train(folder, replace(RECIPE, images=81))


@pytest.mark.parametrize("sizes", [{"pixels": 64}, {"classes": 9}])
def test_a_network_for_other_images_is_refused(folder, sizes):
    with pytest.raises(ConfigError, match=r"to train on CIFAR-10 .*: expected one for images .*Set this family's"):
        train(folder, graph=network(**sizes))


def test_a_folder_without_test_images_is_named(folder):
    (folder / TEST).unlink()
    with pytest.raises(FormatError, match=r"expected files test_batch\.bin"):
        train(folder)


def test_the_label_says_the_scale():
    assert label_of(RECIPE, 2) == "cifar10/test@3/run2"
    assert label_of(replace(RECIPE, images=500), 0) == "cifar10/test@3/run0+500images"


def test_all_images_come_once(folder):
    batch = cifar10_batch(folder, None, 3)
    assert len(batch.labels) == 80
    assert sorted(batch.labels.tolist()) == sorted(list(range(10)) * 8)
    assert len(pa.array(batch.images.flatten(1).sum(1).tolist()).unique()) > 70
