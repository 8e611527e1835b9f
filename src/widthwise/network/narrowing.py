"""Slice tensors and modules by index lists, and bring remembered sizes in line.

An index may be left out, which narrows, or be taken several times, which widens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from widthwise.network.batches import evaluating
from widthwise.network.copying import copy_module, walk
from widthwise.rules import UnitNumbers


def narrow_tensor(tensor: Tensor, kept: tuple[np.ndarray | None, ...]) -> Tensor:
    """Select indices along each dim of a tensor.

    Args:
        tensor: Any tensor, also on the meta device; not changed.
        kept: Per dim the indices to take, in order and perhaps several times, or None for all.

    Returns:
        A new tensor that shares nothing with the old one, or the old one if all is as it was.
    """
    new = tensor.detach()
    shape = tuple(
        size if indices is None else len(indices)
        for size, indices in zip(tensor.shape, kept, strict=True)
    )
    if new.is_meta:
        same = shape == tensor.shape
        return new if same else torch.empty(shape, dtype=new.dtype, device="meta")
    for dim, indices in enumerate(kept):
        if indices is not None and not np.array_equal(indices, np.arange(tensor.shape[dim])):
            new = new.index_select(dim, torch.as_tensor(indices, device=new.device))
    return new


def narrow_module(
    model: nn.Module,
    slots: Mapping[str, tuple[UnitNumbers | None, ...]],
    resized: Mapping[tuple[str, str], tuple[UnitNumbers | int, ...]],
    kept: np.ndarray,
) -> nn.Module:
    """Copy a module at kept units, with the integer attributes of known layers brought in line.

    Args:
        model: The full module; not changed.
        slots: Per tensor and dim, the unit of every index; see `ChannelGraph.slots`.
        resized: Sizes that attributes repeat, per module path and attribute, in units or constant.
            The attribute may be inside of another: ``feature_info.3.num_chs``.
        kept: Which units stay: bool, shape ``[units]``. Or how often each is taken: integers.

    Returns:
        A copy of the user's own class, narrower or wider. It shares no memory with `model`.
    """

    def change(name: str, tensor: Tensor) -> Tensor:
        indices = tuple(
            None if units is None else taken(units, kept)
            for units in slots.get(name, (None,) * tensor.dim())
        )
        new = narrow_tensor(tensor, indices)
        return new.clone() if new.data_ptr() == tensor.data_ptr() and not new.is_meta else new

    new = copy_module(model, change)
    olds, news = dict(walk(model)), dict(walk(new))
    for (path, attribute), sizes in resized.items():
        _resize(news[path], attribute, sizes, kept)
    for name, module in news.items():
        update_attributes(module, olds[name])
    return new


def taken(units: UnitNumbers, kept: np.ndarray) -> np.ndarray:
    """Return the indices to take along a dim.

    Args:
        units: The unit of every index of the dim.
        kept: Which units stay: bool, shape ``[units]``. Or how often each is taken: integers.

    Returns:
        The indices. Neighbours of one unit (the taps of a pixel shuffle, a map that was flattened)
        are repeated as a whole, so that every part of the dim stays where it was.
    """
    if kept.dtype == bool:
        return kept[units].nonzero()[0]
    runs = np.split(np.arange(len(units)), np.flatnonzero(np.diff(units)) + 1)
    parts = [np.tile(run, kept[units[run[0]]]) for run in runs if len(run)]
    return np.concatenate(parts) if parts else np.arange(0)


def repeats(module: nn.Module, attribute: str, sizes: tuple[UnitNumbers | int, ...]) -> bool:
    """Tell whether an attribute of a module holds the full counts of sizes.

    Args:
        module: Not changed.
        attribute: Its name; names and keys with dots between them for one inside of another.
        sizes: Units or constants; one for an integer, several for a tuple or a list.

    Returns:
        Whether it does; no, if there is no such attribute.
    """
    return _repeats(_held(*_holder(module, attribute)), sizes)


def _repeats(value: Any, sizes: tuple[UnitNumbers | int, ...]) -> bool:
    full = tuple(size if isinstance(size, int) else len(size) for size in sizes)
    return value == full[0] if isinstance(value, int) else _is_row(value) and tuple(value) == full


def _is_row(value: Any) -> bool:
    return isinstance(value, tuple | list)


def _resize(
    module: nn.Module, attribute: str, sizes: tuple[UnitNumbers | int, ...], kept: np.ndarray
) -> None:
    """Set an attribute to the counts taken, if it holds the full ones. Changes `module`."""
    holder, name = _holder(module, attribute)
    value = _held(holder, name)
    if not _repeats(value, sizes):
        return
    now = tuple(size if isinstance(size, int) else int(kept[size].sum()) for size in sizes)
    new = type(value)(now) if _is_row(value) else now[0]
    if isinstance(holder, dict):
        holder[name] = new
    else:
        setattr(holder, name, new)


def _holder(module: nn.Module, attribute: str) -> tuple[Any, str]:
    *outer, name = attribute.split(".")
    holder: Any = module
    for one in outer:
        holder = _held(holder, one)
    return holder, name


def _held(holder: Any, name: str) -> Any:
    """Return an attribute, an item of a list by its number, or a value of a dict; else None."""
    if isinstance(holder, list | tuple):
        return holder[int(name)]
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


_KNOWN = (
    nn.modules.conv._ConvNd,
    nn.Linear,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.Embedding,
    nn.PReLU,
    nn.RNNBase,
    nn.MultiheadAttention,
)


def is_known_layer(module: nn.Module) -> bool:
    """Tell whether a module is a layer of PyTorch's, or derived from one whose sizes are known."""
    return isinstance(module, _KNOWN) or type(module).__module__.startswith("torch.nn.")


def update_attributes(new: nn.Module, old: nn.Module) -> None:
    """Make the integer attributes of a known layer match its narrowed tensors. Changes `new`."""
    if isinstance(new, nn.RNNBase) and isinstance(old, nn.RNNBase):
        inputs, full = new.get_parameter("weight_ih_l0"), old.get_parameter("weight_ih_l0")
        gates = full.shape[0] // old.hidden_size
        new.input_size, new.hidden_size = inputs.shape[1], inputs.shape[0] // gates
        if new.proj_size:
            new.proj_size = new.get_parameter("weight_hh_l0").shape[1]
        return
    if isinstance(new, nn.MultiheadAttention) and isinstance(old, nn.MultiheadAttention):
        # Its width and heads are among the sizes that a trace has seen; these repeat them. Where a
        # dry run leaves no head, the forward says so.
        new.head_dim = new.embed_dim // max(new.num_heads, 1)
        if old.kdim == old.embed_dim:
            new.kdim = new.embed_dim
        if old.vdim == old.embed_dim:
            new.vdim = new.embed_dim
        return
    weight, old_weight = _weight(new), _weight(old)
    if not isinstance(weight, Tensor) or not isinstance(old_weight, Tensor):
        return
    shape = tuple(weight.shape)
    if isinstance(new, nn.modules.conv._ConvNd):
        sides = (shape[0], shape[1] * new.groups)
        new.in_channels, new.out_channels = sides if new.transposed else sides[::-1]
    elif isinstance(new, nn.Linear):
        new.out_features, new.in_features = shape
    elif isinstance(new, nn.modules.batchnorm._NormBase):
        new.num_features = shape[0]
    elif isinstance(new, nn.LayerNorm | nn.RMSNorm):
        new.normalized_shape = shape
    elif isinstance(new, nn.Embedding):
        new.num_embeddings, new.embedding_dim = shape
    elif isinstance(new, nn.PReLU):
        new.num_parameters = shape[0]


def _weight(module: nn.Module) -> Any:
    """Return the weight of a layer, if it has one; asking for it changes nothing."""
    made_by = module._modules.get("parametrizations")
    if made_by is None:
        return getattr(module, "weight", None)
    # Spectral normalisation learns each time that it is asked while it trains.
    with evaluating(made_by):
        return getattr(module, "weight", None)
