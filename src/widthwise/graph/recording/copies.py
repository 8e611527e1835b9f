"""Copies that PyTorch makes or leaves out as shapes happen to be: two runs may differ in them."""

from __future__ import annotations

from typing import Any

import torch

UNSEEN = (torch.ops.aten.clone.default, torch.ops.aten.detach.default)
"""Operators that one run may call where another one need not, without a difference."""
_VIEW, _VIEW_OF_COPY = torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default


def by_one_name(func: Any) -> Any:
    """Return an operator, or the one it stands in for: after a copy, a view has another name."""
    return _VIEW if func is _VIEW_OF_COPY else func
