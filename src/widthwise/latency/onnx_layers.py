"""Single layers as ONNX files. Imported only where onnxruntime measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

if TYPE_CHECKING:
    from widthwise.latency.calls import LayerCall

_OPSET = 17


def as_file(call: LayerCall, x: Tensor, weight: Tensor, bias: Tensor | None) -> bytes:
    """Write a layer as an ONNX graph of one node.

    Args:
        call: The layer.
        x: What it reads.
        weight: Its weight.
        bias: Its bias, or None.

    Returns:
        The file.
    """
    held = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    node = helper.make_node(
        {"conv": "Conv", "conv_transposed": "ConvTranspose", "linear": "Gemm"}[call.kind.value],
        ["x", *held],
        ["y"],
    )
    node.attribute.extend(helper.make_attribute(*each) for each in _attributes(call).items())
    return _file(node, x, held)


def next_to_nothing() -> bytes:
    """Write an ONNX graph that copies one number: what is left is the time of a call."""
    return _file(helper.make_node("Identity", ["x"], ["y"]), torch.zeros(1), {})


def _file(node: onnx.NodeProto, x: Tensor, held: dict[str, Tensor]) -> bytes:
    kind = helper.np_dtype_to_tensor_dtype(x.numpy().dtype)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", kind, list(x.shape))],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    # Older than the runtime may be than the package that writes files.
    model.ir_version = min(model.ir_version, 10)
    return bytes(model.SerializeToString())


def _attributes(call: LayerCall) -> dict[str, int | list[int]]:
    if not call.options:
        return {"transB": 1}
    kernel, stride, padding, dilation, more = map(list, call.options)
    found: dict[str, int | list[int]] = {
        "kernel_shape": kernel,
        "strides": stride,
        "pads": padding * 2,
        "dilations": dilation,
        "group": call.groups,
    }
    return found | ({"output_padding": more} if any(more) else {})
