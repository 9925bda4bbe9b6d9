"""Fixtures for all tests."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workflow import finished  # noqa: F401 - a fixture: one finished run of the workflow for all tests

ROOT = Path(__file__).parents[1]


def _tables_dir() -> Path | None:
    named = os.environ.get("ARCHGAUGE_TABLES_DIR")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if (folder / "nb201.parquet").is_file() else None


@pytest.fixture(scope="session")
def tables_dir() -> Path:
    """Folder of collected published tables; the test is skipped where there is none."""
    folder = _tables_dir()
    if folder is None:
        pytest.skip("needs the collected published tables: set ARCHGAUGE_TABLES_DIR to their folder")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one thread, its generator seeded: other orders of sums would be other numbers."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def export(tmp_path) -> Callable:
    """Export a model to ONNX, load the file, and return its graph and the model's trace over one kind table."""
    import torch

    from archgauge.graphs.onnx_import import load_onnx
    from archgauge.graphs.operations import KindTable
    from archgauge.graphs.trace import trace

    def run(model, *inputs, **settings):
        path = tmp_path / "model.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            torch.onnx.export(model.eval(), inputs, path, verbose=False, **settings)
            logging.disable(logging.NOTSET)
        kinds = KindTable()
        return load_onnx(path, kinds), trace(model, *inputs, kinds=kinds)

    return run
