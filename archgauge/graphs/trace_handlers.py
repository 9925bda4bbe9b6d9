"""Which handler turns which ATen operation into nodes, by overload packet."""

from typing import Any

import torch

from archgauge.graphs import handle_elements as elements
from archgauge.graphs import handle_layers as layers
from archgauge.graphs import handle_sizes as sizes
from archgauge.graphs import handle_views as views
from archgauge.graphs.handlers_common import Handler

aten = torch.ops.aten

_ACTIVATIONS = ("relu", "relu6", "sigmoid", "tanh", "silu", "gelu", "hardswish", "hardsigmoid")
HANDLERS: dict[Any, Handler] = {
    aten.conv2d: layers.conv2d,
    aten.conv_transpose2d: layers.conv_transpose2d,
    aten.convolution: layers.convolution,
    aten.linear: layers.linear,
    **dict.fromkeys((aten.addmm, aten.baddbmm), layers.addmm),
    aten.embedding: layers.embedding,
    aten._embedding_bag_forward_only: layers.embedding_bag,
    aten.batch_norm: layers.batch_norm,
    aten.native_batch_norm: layers.batch_norm,
    aten._native_batch_norm_legit_no_training: layers.batch_norm,
    aten.layer_norm: layers.layer_norm,
    aten.group_norm: layers.group_norm,
    aten.instance_norm: layers.instance_norm,
    aten.prelu: layers.prelu,
    aten._prelu_kernel: layers.prelu,
    aten.scaled_dot_product_attention: elements.attention,
    aten.max_pool2d: sizes.max_pool,
    aten.max_pool2d_with_indices: sizes.max_pool,
    aten.avg_pool2d: sizes.avg_pool,
    **dict.fromkeys(
        (aten.adaptive_avg_pool2d, aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d), sizes.adaptive_pool
    ),
    aten.mean: sizes.mean,
    aten.amax: sizes.maximum,
    aten.cat: views.cat,
    aten.slice: views.part_of,
    aten.select: views.select,
    **dict.fromkeys((aten.chunk, aten.split, aten.split_with_sizes, aten.unbind), views.split),
    **dict.fromkeys((aten.zeros_like, aten.new_zeros, aten.zeros), views.zeros),
    aten.pad: sizes.pad,
    aten.constant_pad_nd: sizes.pad,
    aten.upsample_nearest2d: sizes.nearest,
    aten.upsample_bilinear2d: sizes.bilinear,
    **dict.fromkeys((aten.leaky_relu, aten.leaky_relu_), elements.leaky_relu),
    **dict.fromkeys((aten.hardtanh, aten.hardtanh_, aten.clamp, aten.clamp_), elements.hardtanh),
    **dict.fromkeys((aten.softmax, aten._softmax), elements.softmax),
    **dict.fromkeys((aten.matmul, aten.mm, aten.bmm), layers.matmul),
    **dict.fromkeys(elements.BINARY, elements.binary),
    **{
        getattr(aten, name): elements.activation(operation)
        for operation in _ACTIVATIONS
        for name in (operation, f"{operation}_")
        if hasattr(aten, name)
    },
    **dict.fromkeys((aten.permute, aten.transpose, aten.t, aten.numpy_T, aten.mT), views.permute),
    **dict.fromkeys((aten.dropout, aten.dropout_, aten.feature_dropout, aten.alpha_dropout), views.dropout),
    **dict.fromkeys((aten.detach, aten.alias, aten.clone, aten.lift_fresh, aten.contiguous, aten.detach_), views.alias),
    **dict.fromkeys((aten._to_copy, aten.to), views.alias),
    **dict.fromkeys((aten.view, aten._unsafe_view, aten.reshape, aten.flatten, aten.unflatten), views.view),
    **dict.fromkeys((aten.unsqueeze, aten.squeeze, aten._reshape_alias), views.view),
    **dict.fromkeys((aten.expand, aten.expand_as, aten.broadcast_to), views.expand),
    aten.set_: views.nothing,
}
