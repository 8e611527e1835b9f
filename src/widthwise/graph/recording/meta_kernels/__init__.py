"""Shapes of common operators on the meta device, without PyTorch's kernels for it.

PyTorch computes many of these in Python, at 0.1 to 30 ms a call, which would be most of the time of
a trace; and the first such call of a process imports its compiler, which takes two seconds. What is
not covered here, or looks unusual, goes to PyTorch, and so does what PyTorch refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.graph.recording.blame import OwnError
from widthwise.graph.recording.meta_kernels import elementwise, joining, layers, reductions
from widthwise.graph.recording.meta_kernels.layouts import Shortcut

aten = torch.ops.aten

_PLAIN = (Tensor, nn.Parameter)
_SHORTCUTS: dict[Any, Shortcut] = {
    **elementwise.SHORTCUTS,
    **joining.SHORTCUTS,
    **layers.SHORTCUTS,
    **reductions.SHORTCUTS,
}
_WITH_KEYWORDS = frozenset(
    {
        aten.clone.default,
        aten.div.Tensor_mode,
        aten.gelu.default,
        aten.var_mean.correction,
    }
)
"""Operators whose keywords a shortcut knows; with any other, a keyword goes to PyTorch."""


def run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an operator.

    Args:
        func: The operator overload.
        args: Positional arguments as the dispatcher passes them.
        kwargs: Keyword arguments.

    Returns:
        What the operator returns.

    Raises:
        OwnError: If a shortcut fails. Of what PyTorch refuses, PyTorch says so itself.
    """
    shortcut = _SHORTCUTS.get(func)
    if shortcut is not None and (not kwargs or func in _WITH_KEYWORDS):
        first = args[0][0] if isinstance(args[0], list | tuple) else args[0]
        if type(first) in _PLAIN and first.is_meta:
            try:
                result = shortcut(*args, **kwargs)
            except Exception as error:
                raise OwnError from error
            if result is not None:
                return result
    return func(*args, **kwargs)
