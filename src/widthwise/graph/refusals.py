"""Networks and inputs that no trace can follow, refused by name before anything runs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

from widthwise.errors import TraceError
from widthwise.network.copying import named_tensors
from widthwise.network.inputs import Inputs


def require_traceable(model: nn.Module, inputs: Inputs) -> None:
    """Refuse what cannot be traced.

    Args:
        model: Not run.
        inputs: What it would be run on.

    Raises:
        TraceError: If the network or a part of it is compiled to TorchScript, has layers without
            shapes yet or sparse tensors, or if the inputs are packed or a batch of none.
    """
    kind = type(model).__name__
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            what = f"`{path}` of `{kind}`" if path else f"`{kind}`"
            raise TraceError(
                f"{what} is compiled to TorchScript, which shows neither its code nor its layers.\n"
                "Hint: trace the Python module that it was made from, and compile what `shrink` "
                "returns."
            )
    for name, tensor in named_tensors(model):
        if is_lazy(tensor):
            raise TraceError(
                f"`{name}` of `{kind}` has no shape yet: it belongs to a lazy layer.\n"
                "Hint: call the network once on an example, then trace it."
            )
        if tensor.layout is not torch.strided:
            raise TraceError(
                f"`{name}` of `{kind}` is sparse ({tensor.layout}), and has no channels to slice.\n"
                "Hint: make it dense with `to_dense()`, or leave its module out of the trace."
            )
    leaves = tree_leaves((inputs.args, inputs.kwargs), is_leaf=_is_packed)
    if any(map(_is_packed, leaves)):
        raise TraceError(
            "The example inputs hold a `PackedSequence`, whose lengths cannot be without values.\n"
            "Hint: trace a wrapper that takes padded sequences and lengths, and packs them itself."
        )
    sizes = [tensor.shape[0] for tensor in inputs.tensors if tensor.dim()]
    if sizes and not any(sizes):
        raise TraceError(
            f"The example inputs are a batch of none: {inputs.describe()}.\n"
            "Hint: pass at least one example; its values do not matter."
        )


def _is_packed(value: object) -> bool:
    return isinstance(value, PackedSequence)
