"""Repair a network after the cut, layer by layer, in the order in which they run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from widthwise import errors
from widthwise.arguments import network_in, require
from widthwise.graph import ChannelGraph
from widthwise.healing.pairs import Pair, SideBySide
from widthwise.healing.product import CONVOLUTIONS, product_of
from widthwise.healing.progress import Progress
from widthwise.healing.refine import refine
from widthwise.healing.repairs import KINDS, NORMS, Repair, channel_dim, repair_of
from widthwise.healing.report import Healed, HealReport
from widthwise.healing.route import Fate, Norm, Route
from widthwise.healing.weights import Weights
from widthwise.network.batches import evaluating, read_batches
from widthwise.network.inputs import Inputs
from widthwise.network.outside import outside_kept
from widthwise.plans import Plan
from widthwise.shrinking.rewriting import inputs_of, rewritten

_NAN = float("nan")
_STEP_MACS = 4_000_000_000
_STEP_INPUTS = 8, 64
"""Inputs of a gradient step: as many as the multiply-accumulates above pay for, within these."""
_SAME = "nothing: reads what it read before"


@torch.inference_mode(False)
def heal(
    small: nn.Module,
    model: nn.Module,
    plan: Plan,
    batches: Iterable[Any],
    *,
    layers: Collection[str] | None = None,
    steps: int = 0,
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

    With `steps`, all parameters are then refined together, by gradient steps on the same inputs:
    what layers read and the network puts out, channel by channel, comes closer to what it is in the
    full network. There are no labels in that either, and no loss of the task; but it is
    gradient descent, and takes minutes in the place of seconds. A few hundred steps are enough.

    A quarter of the inputs is held out. How strongly a layer is drawn to what it was is chosen on
    these, and a layer whose weights, gain or bias would be worse on them stays as it is; so does
    the network if it would not be better when it is refined.

    Args:
        small: What `shrink` made of `model`, on the same device. Changed in place; its mode stays.
        model: The full network with its trained weights, as for `shrink`; not changed.
        plan: How it was cut.
        batches: Inputs as `forward` takes them (tensors, tuples or dicts, a batch each), like those
            that the network was trained on; no labels. A few hundred in all are enough.
        layers: Paths of the layers to repair, with the batch normalisations behind them; all by
            default.
        steps: Gradient steps to refine it with afterwards; none by default.
        progress: Called before each layer and step.

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
    line = "ww.heal(small, model, plan, batches)"
    small, model = network_in(small, line), network_in(model, line)
    require(plan, Plan, "a plan", line)
    first = next(small.parameters(), None)
    device = None if first is None else first.device
    given = list(read_batches(batches, device, to="heal on", why="layers are fitted to"))
    unknown = sorted(set(layers or ()) - {path for path, _ in small.named_modules()})
    if isinstance(layers, str) or unknown:
        raise errors.ConfigError(
            f"`layers` names {layers if isinstance(layers, str) else unknown}, expected a list of "
            f"paths of `{type(small).__name__}`.\nHint: `report.layers` has those of all layers."
        )
    network, graph, _ = rewritten(model, plan, inputs_of(plan), verify=False)
    kept = plan.mask(graph)
    _require_cut(small, graph, kept)
    count = sum(each.batch or 1 for each in given)
    with evaluating(network, small), outside_kept(network):
        routes = [_route(each, given[0], count) for each in (network, small)]
        healed: list[Healed] = []
        tied = _tied(small)
        done: set[str] = set()
        with SideBySide((network, small), routes, given) as both:
            paths = [path for path in routes[1].calls if layers is None or path in layers]
            for number, path in enumerate(paths):
                if progress is not None:
                    progress(number, len(paths), path)
                if path in done:
                    continue
                fate = routes[1].fates.get(path, Fate())
                norm = _statistics(small, fate)
                repair = repair_of(small.get_submodule(path), norm, fate, count)
                if id(repair.layer) in tied:
                    why = "nothing: its weights are those of another module too"
                    healed.append(Healed(path, why, _NAN, _NAN))
                    continue
                healed.append(_healed(path, repair, _rows(graph, kept, path), both))
                if fate.norm is not None and norm is not None:
                    if healed[-1].what in (repair.what, _SAME):
                        done.add(fate.norm)
        refined = None
        if steps:
            refined = refine(
                small,
                network,
                _columns(small, graph, kept),
                given,
                steps=steps,
                batch=_inputs_of_a_step(graph.macs()),
                progress=progress,
            )
    return HealReport(tuple(healed), count, refined)


def _inputs_of_a_step(macs: int) -> int:
    least, most = _STEP_INPUTS
    return max(least, min(most, _STEP_MACS // max(macs, 1)))


def _tied(network: nn.Module) -> set[int]:
    """Return the modules that have a parameter with others in common, by `id`."""
    owners: dict[int, set[int]] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(id(module))
    return {owner for own in owners.values() if len(own) > 1 for owner in own}


def _columns(small: nn.Module, graph: ChannelGraph, kept: np.ndarray) -> dict[str, Tensor]:
    """Return which channels of the full network layers read, by path."""
    found = {}
    for path, module in small.named_modules():
        slots = graph.slots.get(f"{path}.weight")
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)) and slots is not None and path:
            if slots[1] is not None and getattr(module, "groups", 1) == 1:
                found[path] = torch.from_numpy(np.flatnonzero(kept[slots[1]]))
    return found


def _statistics(network: nn.Module, fate: Fate) -> Norm | None:
    norm = None if fate.norm is None else network.get_submodule(fate.norm)
    return norm if isinstance(norm, Norm) and norm.track_running_stats else None


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


def _route(network: nn.Module, inputs: Inputs, count: int) -> Route:
    # Two tell the way as well as many; one does not: where a dim is one, copies may be left out.
    # But a network may take no other number than it is given.
    if count > 1:
        with suppress(Exception):
            return Route.of(network, inputs.with_batch(2), KINDS)
    try:
        return Route.of(network, inputs, KINDS)
    except Exception as error:
        raise errors.forward_failed(type(network).__name__, "", inputs.describe(), error) from error


def _rows(graph: ChannelGraph, kept: np.ndarray, path: str) -> Tensor | None:
    """Return which outputs of a layer are kept; None for one that nothing is known of."""
    for name in ("weight", "running_mean"):
        slots = graph.slots.get(f"{path}.{name}" if path else name)
        if slots is not None and slots[0] is not None:
            return torch.from_numpy(np.flatnonzero(kept[slots[0]]))
    return None


def _healed(path: str, repair: Repair, kept: Tensor | None, both: SideBySide) -> Healed:
    reason = repair.reason_not_to()
    if kept is None:
        reason = reason or "its outputs have no channels"
    if reason is not None or kept is None:
        return Healed(path, f"nothing: {reason}", _NAN, _NAN)
    pairs = both.at(path)
    first = next(iter(pairs), None)
    if first is None:
        return Healed(path, "nothing: the full network does not call it", _NAN, _NAN)
    if not isinstance(first.wide.made, Tensor):
        return Healed(path, "nothing: puts out more than a tensor", _NAN, _NAN)
    if not _comparable(repair.layer, first):
        return Healed(path, "nothing: what it is applied to are channels", _NAN, _NAN)
    if _same(first.wide.given, first.narrow.given) and _same(first.wide.added, first.narrow.added):
        return Healed(path, _SAME, _NAN, _NAN)
    if isinstance(repair, Weights) and not _is_plain(repair.layer, first.narrow.given):
        return Healed(path, "nothing: does more than multiply its weights", _NAN, _NAN)
    found = repair.apply(pairs, kept.to(first.narrow.given.device))
    if found is None:
        return Healed(path, "nothing: too few inputs to hold some out", _NAN, _NAN)
    return Healed(path, repair.what, *found)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return True
    return one.shape == other.shape and torch.equal(one, other)


def _is_plain(layer: nn.Module, given: Tensor) -> bool:
    """Tell whether a layer does nothing but multiply the weights that it holds."""
    if not isinstance(given, Tensor):
        return False
    product = product_of(layer, given[:1])
    weight = layer.get_parameter("weight")
    return product is not None and product.weight.data_ptr() == weight.data_ptr()


def _comparable(layer: nn.Module, pair: Pair) -> bool:
    """Tell whether what a layer reads differs in the number of its channels only."""
    wide, narrow = list(pair.wide.given.shape), list(pair.narrow.given.shape)
    if len(wide) != len(narrow):
        return False
    if isinstance(layer, nn.Linear):
        own = len(narrow) - 1
    elif isinstance(layer, NORMS):
        dim = channel_dim(layer, pair.narrow.given)
        if dim is None:
            return False
        own = dim % len(narrow)
    else:
        own = len(narrow) - layer.weight.dim() + 1 if isinstance(layer, CONVOLUTIONS) else 1
    return wide[:own] + wide[own + 1 :] == narrow[:own] + narrow[own + 1 :]
