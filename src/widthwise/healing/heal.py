"""Repair a network after the cut, layer by layer, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from widthwise import errors
from widthwise.graph import ChannelGraph
from widthwise.healing.pairs import Route, Visit, pairs
from widthwise.healing.repairs import KINDS, Repair, Statistics, repair_of
from widthwise.healing.report import Healed, HealReport
from widthwise.network.inputs import Inputs
from widthwise.plans import Plan
from widthwise.shrinking.rewriting import inputs_of, rewritten

Progress = Callable[[int, int, str], object]
"""Called with the number of the layer, how many there are, and its path."""

_NAN = float("nan")
_SAME = "nothing: reads what it read before"


@torch.inference_mode(False)
def heal(
    small: nn.Module,
    model: nn.Module,
    plan: Plan,
    batches: Iterable[Any],
    *,
    progress: Progress | None = None,
) -> HealReport:
    """Repair a narrow network from a few hundred inputs, without labels and without training.

    A trained network that is cut is broken: what its layers read has lost channels, and so has lost
    scale and mean. Both networks run side by side. Layer by layer, in order of execution, weights
    and bias are fitted anew, so that from what the narrow layer reads it puts out what the layer of
    the full network puts out: ridge least squares around the weights as they are. So what was
    removed is made up for by what is left, and errors do not pile up. Running statistics of batch
    normalisations are corrected by how mean and variance of their inputs have changed; gains and
    biases of layer, group and instance normalisations are fitted channel by channel. Depth-wise and
    grouped convolutions are fitted within their groups. Left as they are: transposed and
    three-dimensional convolutions, recurrent layers, what attention computes of queries and keys,
    and weights that a parametrization computes.

    A quarter of the inputs is held out. How strongly a layer is drawn to what it was is chosen on
    these, and a layer whose weights, gain or bias would be worse on them stays as it is.

    Args:
        small: What `shrink` made of `model`, on the same device. Changed in place; its mode stays.
        model: The full network with its trained weights, as for `shrink`; not changed.
        plan: How it was cut.
        batches: Inputs as `forward` takes them (tensors, tuples or dicts, a batch each), like those
            that the network was trained on; no labels. A few hundred in all are enough.
        progress: Called before each layer.

    Returns:
        What was done, with the error of each layer before and after. It prints itself.

    Raises:
        ConfigError: If there are no batches, or a batch holds values that are not finite.
        PlanError: If the plan was made for another network, or `small` is not what it makes of it.
        TraceError: If a network does not run on the batches.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> plan = ww.plan(ww.trace(net, torch.randn(1, 6)), score=ww.scores.L1(),
        ...                budget=ww.Macs(0.8))
        >>> small = ww.shrink(net, plan)
        >>> report = ww.heal(small, net, plan, [torch.randn(256, 6)])
        >>> [layer.path for layer in report.layers if layer.after < layer.before]
        ['2']
    """
    given = _read(batches)
    network, graph, _ = rewritten(model, plan, inputs_of(plan), verify=False)
    kept = plan.mask(graph)
    _require_cut(small, graph, kept)
    rows = partial(_rows, graph, kept)
    with _evaluating(network, small):
        route = _route(small, given[0])
        healed: list[Healed] = []
        done: set[str] = set()
        for number, (path, calls) in enumerate(route.calls.items()):
            if progress is not None:
                progress(number, len(route.calls), path)
            if path in done:
                continue
            norm = route.norm_behind(path, small)
            repair = repair_of(small.get_submodule(path), norm)
            reason = repair.reason_not_to()
            outputs = rows(path)
            if reason is not None or outputs is None:
                reason = reason or "its outputs have no channels"
                healed.append(Healed(path, f"nothing: {reason}", _NAN, _NAN))
                continue
            found = pairs((network, small), path, calls, given)
            healed.append(_healed(path, repair, outputs, found))
            if norm is not None and healed[-1].what in (repair.what, _SAME):
                done.add(route.follower[path])
    return HealReport(tuple(healed), sum(each.batch or 1 for each in given))


def _read(batches: Iterable[Any]) -> list[Inputs]:
    given = [Inputs.of(batch) for batch in batches]
    if not given:
        raise errors.ConfigError(
            "There are no batches to heal on.\n"
            "Hint: pass a few hundred inputs, such as `[images[:256]]`; an iterator that has been "
            "read is empty."
        )
    for number, batch in enumerate(given):
        for tensor in batch.tensors:
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise errors.ConfigError(
                    f"Batch {number} holds values that are not finite: {batch.describe()}.\n"
                    "Why: layers are fitted to what the network makes of the batches."
                )
    return given


def _require_cut(small: nn.Module, graph: ChannelGraph, kept: np.ndarray) -> None:
    for name, parameter in small.named_parameters():
        expected = [
            size if units is None else int(kept[units].sum())
            for size, units in zip(parameter.shape, graph.slots.get(name, ()), strict=False)
        ]
        if expected and expected != list(parameter.shape):
            raise errors.PlanError(
                f"This network is not what the plan makes: `{name}` has shape "
                f"{list(parameter.shape)}, expected {expected}.\n"
                "Hint: pass what `shrink(model, plan)` returned, and the same model and plan."
            )


def _route(small: nn.Module, inputs: Inputs) -> Route:
    try:
        return Route.of(small, inputs, KINDS)
    except Exception as error:
        raise errors.forward_failed(type(small).__name__, "", inputs.describe(), error) from error


def _rows(graph: ChannelGraph, kept: np.ndarray, path: str) -> Tensor | None:
    """Return which outputs of a layer are kept; None for one that nothing is known of."""
    for name in ("weight", "running_mean"):
        slots = graph.slots.get(f"{path}.{name}" if path else name)
        if slots is not None and slots[0] is not None:
            return torch.from_numpy(np.flatnonzero(kept[slots[0]]))
    return None


def _healed(
    path: str, repair: Repair, kept: Tensor, found: Iterable[tuple[bool, Visit, Visit]]
) -> Healed:
    same = True
    for held_out, wide, narrow in found:
        if not _comparable(repair.layer, wide.made, narrow.made, len(kept)):
            return Healed(path, "nothing: what it is applied to are channels", _NAN, _NAN)
        rows = kept.to(wide.made.device)
        same = same and wide.given.shape == narrow.given.shape
        same = same and torch.equal(wide.given, narrow.given)
        target = wide.given if isinstance(repair, Statistics) else wide.made
        repair.add(held_out, target, narrow, rows)
    if same:
        return Healed(path, _SAME, _NAN, _NAN)
    if not repair.is_checked:
        return Healed(path, "nothing: too few inputs to hold some out", _NAN, _NAN)
    before, after = repair.apply()
    return Healed(path, repair.what, before, after)


def _comparable(layer: nn.Module, wide: Tensor, narrow: Tensor, kept: int) -> bool:
    """Tell whether outputs differ in the number of the layer's own outputs only."""
    own = wide.dim() - 1 if isinstance(layer, nn.Linear | nn.LayerNorm) else 1
    expected = [kept if dim == own else size for dim, size in enumerate(wide.shape)]
    return expected == list(narrow.shape)


@contextmanager
def _evaluating(*networks: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
