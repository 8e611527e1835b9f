"""One network through one tool, in a process of its own. See `reach.py`."""

from __future__ import annotations

import math
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

if TYPE_CHECKING:
    import widthwise as ww

GIB = 2**30


def build(name: str) -> tuple[nn.Module, Any]:
    """Build a network with random weights, in eval mode, and what it is called with.

    Args:
        name: ``timm/NAME``, ``torchvision/NAME``, ``handwritten/NAME`` or one of
            `elsewhere.py`, `restoration.py` or `hugging_face.py`.

    Returns:
        The network and its example inputs.
    """
    source, _, short = name.partition("/")
    torch.manual_seed(0)
    if source == "timm":
        import timm

        model = timm.create_model(short).eval()
        return model, _noise(1, *model.pretrained_cfg["input_size"])
    if source == "torchvision":
        return _torchvision(short)
    if source == "handwritten":
        import handwritten

        entry = handwritten.NETWORKS[short]
        return entry.build().eval(), entry.inputs()
    import elsewhere
    import hugging_face
    import restoration

    known = {**elsewhere.NETWORKS, **restoration.NETWORKS, **hugging_face.NETWORKS}
    model, inputs = known[name]()
    return model.eval(), inputs


def _torchvision(name: str) -> tuple[nn.Module, Any]:
    import torchvision

    options: dict[str, Any] = {"weights": None}
    module = torchvision.models.get_model_builder(name).__module__
    if "detection" in module or "segmentation" in module:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    model = torchvision.models.get_model(name, **options).eval()
    if "detection" in module:
        return model, ([_noise(3, 256, 256)],)
    if "video" in module:
        size = 112 if "resnet" in module else 224
        return model, _noise(1, 3, 16, size, size)
    if "optical_flow" in module:
        return model, (_noise(1, 3, 128, 128), _noise(1, 3, 128, 128))
    size = 299 if name == "inception_v3" else 224
    return model, _noise(1, 3, size, size)


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def with_trace(model: nn.Module, inputs: Any) -> Iterator[dict[str, Any]]:
    """Trace, and nothing else: to be run on a machine with nothing else to do.

    Args:
        model: The network.
        inputs: What it is called with.

    Yields:
        Seconds of the core and peak memory.
    """
    yield _traced(model, inputs)[1]


def _traced(model: nn.Module, inputs: Any) -> tuple[ww.ChannelGraph, dict[str, Any]]:
    import widthwise as ww

    # What the first trace of a process imports is not the network's.
    ww.trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)), torch.zeros(1, 3, 8, 8))
    before = _peak(forget=True)
    # Seconds of this core: those that others take from it are not the trace's.
    start = time.process_time()
    graph = ww.trace(model, inputs)
    seconds = time.process_time() - start
    return graph, {
        "trace_s": round(seconds, 3),
        "trace_mib": round((_peak() - before) / 2**20),
    }


def with_widthwise(model: nn.Module, inputs: Any) -> Iterator[dict[str, Any]]:
    """Trace, cut to half the MACs, and to half of every axis; prove both.

    Args:
        model: The network.
        inputs: What it is called with.

    Yields:
        The measurements of each cut.
    """
    import widthwise as ww
    from widthwise.plans import Plan
    from widthwise.shrinking import prove

    graph, row = _traced(model, inputs)
    free = sum(axis.width for axis in graph.axes.values() if axis.frozen is None)
    row |= {
        "axes": len(graph.axes),
        "frozen_share": round(1 - free / sum(axis.width for axis in graph.axes.values()), 4),
        "frozen": [
            {"axis": axis.name, "width": axis.width, "reason": axis.frozen}
            for axis in graph.axes.values()
            if axis.frozen not in (None, "network output")
        ],
        "smallest_macs": round(graph.macs(graph.smallest()) / graph.macs(), 4),
        "attention": any(map(_is_attention, model.modules())),
        "notes": list(graph.notes),
    }
    # Where half is below what ties leave, half of what they leave: `kept_macs` says so.
    budget = max(0.5, (1 + row["smallest_macs"]) / 2) if row["smallest_macs"] > 0.45 else 0.5
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(budget), round_to=1)
    small = ww.shrink(model, plan, verify=False)
    proof = prove(model, small, plan)
    row |= {
        "kept_macs": round(plan.macs() / plan.full_macs, 4),
        "proof_error": proof.error,
        "proof_dtype": str(proof.dtype).removeprefix("torch."),
    }
    yield row
    half = graph.everything.copy()
    for axis in graph.axes.values():
        if axis.frozen is None:
            half[axis.units.start + (axis.width + 1) // 2 : axis.units.stop] = False
    plan = Plan.of(graph, half)
    small = ww.shrink(model, plan, verify=False)
    yield {
        "half_params": round(graph.params(half) / graph.params(), 4),
        "half_at_best": round(_at_best(graph) / graph.params(), 4),
        "half_proof_error": prove(model, small, plan).error,
    }


def _at_best(graph: ww.ChannelGraph) -> int:
    """Count the parameters left if every dim but those of the ends could be halved on its own.

    What is more than 40 % here is no tie's fault: a small network with a large classifier.
    """
    ends = np.ones(graph.unit_count, bool)
    for axis in graph.axes.values():
        ends[axis.units] = axis.frozen == "network output"
    return sum(
        math.prod(
            size if units is None or ends[units].all() else (size + 1) // 2
            for size, units in zip(parameter.shape, graph.slots[name], strict=True)
        )
        for name, parameter in graph.model.named_parameters()
    )


def _is_attention(module: nn.Module) -> bool:
    """Tell whether a module is attention over positions; that over channels is a gate of CNNs."""
    name = type(module).__name__.lower()
    gates = ("splitattn", "selectivekernelattn", "channelattn", "spatialattn")
    return "attn" in name.replace("attention", "attn") and not name.endswith(gates)


def with_torch_pruning(model: nn.Module, inputs: Any) -> Iterator[dict[str, Any]]:
    """Cut half of the channels with Torch-Pruning's defaults, output layers ignored.

    Args:
        model: The network. Changed in place.
        inputs: What it is called with.

    Yields:
        The measurements.
    """
    import torch_pruning as tp

    def size() -> int:
        return sum(parameter.numel() for parameter in model.parameters())

    full = size()
    pruner = tp.pruner.BasePruner(
        model,
        inputs,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=_output_layers(model, inputs),
    )
    pruner.step()
    with torch.no_grad():
        model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    yield {"half_params": round(size() / full, 4)}


def _output_layers(model: nn.Module, inputs: Any) -> list[nn.Module]:
    """Return the layers whose result the network returns as it is; if none does, the last layer."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    made: dict[int, nn.Module] = {}
    held = []

    def note(layer: nn.Module, _: Any, output: Tensor) -> None:
        made[id(output)] = layer
        held.append(output)

    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        leaves, _ = tree_flatten(model(*inputs) if isinstance(inputs, tuple) else model(inputs))
    for hook in hooks:
        hook.remove()
    return [made[id(leaf)] for leaf in leaves if id(leaf) in made] or layers[-1:]


def with_fastnas(model: nn.Module, inputs: Any) -> Iterator[dict[str, Any]]:
    """Convert with ModelOpt's FastNAS, take the smallest network it offers, and run it.

    Args:
        model: The network. Changed in place.
        inputs: What it is called with.

    Yields:
        The measurements.
    """
    import modelopt.torch.nas as mtn

    full = sum(parameter.numel() for parameter in model.parameters())
    space = mtn.convert(model, mode="fastnas")
    mtn.sample(space, sample_func=min)
    small = mtn.export(space)
    with torch.no_grad():
        small(*inputs) if isinstance(inputs, tuple) else small(inputs)
    yield {"half_params": round(sum(p.numel() for p in small.parameters()) / full, 4)}


TOOLS: dict[str, Callable[[nn.Module, Any], Iterator[dict[str, Any]]]] = {
    "widthwise": with_widthwise,
    "trace": with_trace,
    "torch_pruning": with_torch_pruning,
    "fastnas": with_fastnas,
}
"""Name of a tool -> what takes a network through it."""


MODULES = {
    "widthwise": "widthwise",
    "trace": "widthwise",
    "torch_pruning": "torch_pruning",
    "fastnas": "modelopt.torch.nas",
}
"""Name of a tool -> what it is imported as."""


def _peak(*, forget: bool = False) -> int:
    """Return the largest resident size of this process, in bytes; forget what was before."""
    if forget:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def _limit_seconds(most: float) -> None:
    """Let the system end this process when it has used so many seconds of a core."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(most), resource.RLIM_INFINITY))


def report(tool: str, name: str, seconds: int, sender: Connection) -> None:
    """Run one tool on one network in this process, under its limits, and send what it found.

    Args:
        tool: A key of `TOOLS`.
        name: A network of the list.
        seconds: Of this process, for every part of what the tool does.
        sender: Where to.
    """
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (10 * GIB, 10 * GIB))
    _limit_seconds(seconds)
    row: dict[str, Any] = {}
    try:
        for part in TOOLS[tool](*build(name)):
            row |= part
            _limit_seconds(time.process_time() + seconds)
    except Exception as error:
        text = str(error).strip().splitlines()
        row = {"failure": f"{type(error).__name__}: {text[0] if text else ''}"[:300]}
    sender.send(row)
