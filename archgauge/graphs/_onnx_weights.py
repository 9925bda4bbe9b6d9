"""What an ONNX file keeps of its weights: where, and which are written twice."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper
from onnx.checker import ValidationError

from archgauge.errors import FormatError


def check_external(model: ModelProto, path: Path) -> None:
    """Weights may lie in another file of the folder; a name that leaves the folder makes the file suspect.

    Raises:
        FormatError: when a name does.
    """
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            parts = (*PurePosixPath(entry.value).parts, *PureWindowsPath(entry.value).parts)
            absolute = PurePosixPath(entry.value).is_absolute() or PureWindowsPath(entry.value).anchor
            if entry.key == "location" and (absolute or ".." in parts):
                raise FormatError(
                    "where an ONNX file keeps its weights",
                    where=f"{path}, {tensor.name}",
                    expected="a file in the model's own folder",
                    got=repr(entry.value),
                    remedy="Do not trust this file; export the model again.",
                )


def tied_to_tables(graph: GraphProto, folder: Path) -> dict[str, str]:
    """Initializer -> the embedding table that it is the transpose of: exporters fold a tied output layer to a copy."""
    matrices = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2}
    tables = {node.input[0] for node in graph.node if node.op_type == "Gather" and node.input} & matrices.keys()
    return {
        name: table
        for table in sorted(tables)
        for name, tensor in matrices.items()
        if name not in tables and _is_transpose(matrices[table], tensor, folder)
    }


def same_for_all(tensor: TensorProto, samples: int, axis: int, folder: Path) -> bool:
    """Whether an initializer is there and says the same for each sample of a batch along an axis."""
    values = _values(tensor, folder)
    if values is None:
        return False
    rows = np.stack(np.split(values, samples, axis))
    return bool((rows == rows[0]).all())


def _is_transpose(table: TensorProto, tensor: TensorProto, folder: Path) -> bool:
    if tensor.data_type != table.data_type or list(tensor.dims) != list(table.dims)[::-1]:
        return False
    first, second = _values(table, folder), _values(tensor, folder)
    return first is not None and second is not None and np.array_equal(first.T, second)


def _values(tensor: TensorProto, folder: Path) -> np.ndarray | None:
    """An initializer's elements; None where they are not there."""
    copy = TensorProto()
    copy.CopyFrom(tensor)  # reading a file beside would write into it
    try:
        return numpy_helper.to_array(copy, str(folder))
    except (ValidationError, OSError, ValueError, TypeError):
        return None
