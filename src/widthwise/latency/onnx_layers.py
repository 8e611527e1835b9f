"""A single layer as an ONNX file. Imported only where onnxruntime measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
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
    kind = helper.np_dtype_to_tensor_dtype(x.numpy().dtype)
    held = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    node = helper.make_node(
        {"conv": "Conv", "conv_transposed": "ConvTranspose", "linear": "Gemm"}[call.kind.value],
        ["x", *held],
        ["y"],
    )
    node.attribute.extend(helper.make_attribute(*each) for each in _attributes(call).items())
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", kind, list(x.shape))],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = min(model.ir_version, 10)
    return bytes(onnx.ModelProto.SerializeToString(model))


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
