"""Networks as files that other programs run, checked against PyTorch.

ONNX and its runtime are imported when `to_onnx` is called, not before.
"""

from widthwise.export.checking import Exported
from widthwise.export.onnx import to_onnx
from widthwise.export.torch_export import to_torch_export

__all__ = ["Exported", "to_onnx", "to_torch_export"]
