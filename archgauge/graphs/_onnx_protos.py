"""Plain values of what ONNX's protocol buffers hold."""

from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto, TypeProto, helper

Dims = tuple[int, ...]

FLOATING = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})


def known_dims(types: dict[str, TypeProto]) -> dict[str, Dims]:
    """The axes of the tensors whose shapes are known."""
    return {
        key: tuple(axis.dim_value for axis in kind.tensor_type.shape.dim)
        for key, kind in types.items()
        if kind.tensor_type.HasField("shape") and all(axis.HasField("dim_value") for axis in kind.tensor_type.shape.dim)
    }


def attribute_value(attribute: AttributeProto) -> Any:
    """An attribute as a plain value: text decoded, a float as the shortest number that float32 rounds to it."""
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float):
        return float(str(np.float32(value)))
    if isinstance(value, TensorProto):
        return f"tensor {list(value.dims)}"
    return list(value) if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value
