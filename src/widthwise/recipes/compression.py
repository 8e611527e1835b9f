"""The job of ``widthwise compress``: a network cut, healed and judged, in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.compression import Compression, compressed
from widthwise.compression.compress import STEPS
from widthwise.cost import Budget
from widthwise.data.samples import Samples
from widthwise.errors import ConfigError
from widthwise.healing.progress import Progress
from widthwise.latency import Setting, interleaved
from widthwise.latency.engines import ready
from widthwise.latency.steady import steady
from widthwise.network.inputs import Inputs
from widthwise.report.compression import write_page
from widthwise.runs import write_json, write_model
from widthwise.search.distance import agreement
from widthwise.search.limits import Limits

_BATCH = 64
_JUDGED = 512
"""Images that nothing is decided on, at most: the result is judged by them."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for.

    Attributes:
        model: MODEL of the command line.
        budgets: What the result may cost; empty with a promise.
        stop_at: The promise, or None.
        limits: Floors, alignment and choice of axes.
        steps: Gradient steps to refine the result with.
    """

    model: str
    budgets: Sequence[Budget]
    stop_at: str | None
    limits: Limits
    steps: int = STEPS


def compress_into(
    folder: Path, order: Order, network: nn.Module, samples: Samples, progress: Progress | None
) -> dict[str, Any]:
    """Compress a network, judge it on images that it has not seen, and write all of it down.

    Args:
        folder: Made if it does not exist: plan.json, model.safetensors, config.yaml, results.json
            and report.html are written.
        order: What is asked for.
        network: The trained network; not changed.
        samples: Images.
        progress: As for `compress`.

    Returns:
        The contents of results.json.

    Raises:
        WidthwiseError: As `compress` does; and if there are too few images or the folder cannot be
            written.
    """
    judged = judged_of(len(samples))
    if not judged:
        raise ConfigError(
            f"There are {len(samples)} images; expected at least 3, and better 500.\n"
            "Why: widths are decided on some, and the result is judged by others."
        )
    used = len(samples) - judged
    network.eval()
    found = compressed(
        network,
        list(samples.inputs(slice(0, used)).split(_BATCH)),
        budget=list(order.budgets) or None,
        stop_at=order.stop_at,
        limits=order.limits,
        steps=order.steps,
        progress=progress,
    )
    unseen = samples.inputs(slice(used, None))
    cut = ww.shrink(network, found.plan, verify=False)
    networks = {"full": network, "cut": cut, "narrow": found.network}
    answers = {name: _answers(each, unseen) for name, each in networks.items()}
    results = _results(order, found, network, unseen, answers, samples)
    ww.save(found.network, found.plan, folder)
    write_model(folder, order.model)
    write_json(folder / "results.json", results)
    changed = [] if results["agreement"] is None else _changed(answers, samples, used)
    write_page(folder, results, changed)
    return results


def judged_of(images: int) -> int:
    """Decide how many of some images nothing is decided on: the result is judged by them."""
    return min(_JUDGED, images // 3)


def _answers(network: nn.Module, inputs: Tensor) -> Tensor | None:
    """Return scores of classes, or None if the network gives something else."""
    with torch.no_grad():
        found = [network(batch) for batch in inputs.split(_BATCH)]
    if not isinstance(found[0], Tensor) or found[0].dim() != 2 or found[0].shape[1] < 2:
        return None
    return torch.cat(found)


def _results(
    order: Order,
    found: Compression,
    network: nn.Module,
    unseen: Tensor,
    answers: Mapping[str, Tensor | None],
    samples: Samples,
) -> dict[str, Any]:
    plan, full = found.plan, answers["full"]
    agreements, accuracy = None, None
    scores = {name: each for name, each in answers.items() if each is not None}
    if full is not None and len(scores) == len(answers):
        agreements = {name: agreement(full, scores[name]) for name in ("cut", "narrow")}
        if samples.labels is not None and full.shape[1] == len(samples.classes):
            labels = samples.labels[-len(unseen) :]
            accuracy = {
                name: float((each.argmax(1) == labels).double().mean())
                for name, each in scores.items()
            }
    refined = found.healed.refined
    return {
        "model": order.model,
        "budget": dict(plan.budget),
        "stop_at": order.stop_at,
        "method": plan.method,
        "macs": {"full": plan.full_macs, "narrow": plan.macs()},
        "params": {"full": plan.full_params, "narrow": plan.params()},
        "images": {
            "used": found.inputs,
            "healed": found.healed.inputs,
            "compared": found.compared,
            "judged": len(unseen),
        },
        "agreement": agreements,
        "accuracy": accuracy,
        "latency": dict(plan.latency),
        "milliseconds": milliseconds([network, found.network], unseen[:1]),
        "seconds": dict(found.seconds),
        "trials": [
            {
                "name": trial.name,
                "damage": trial.damage,
                "agreement": trial.agreement,
                "macs": trial.plan.macs(),
            }
            for trial in found.trials
        ],
        "curves": {name: asdict(curve) for name, curve in found.curves.items()},
        "layers": [
            {
                "path": layer.path,
                "what": layer.what,
                "before": None if layer.before != layer.before else layer.before,
                "after": None if layer.after != layer.after else layer.after,
            }
            for layer in found.healed.layers
        ],
        "refined": None
        if refined is None or refined.why_not is not None
        else {"steps": refined.steps, "before": refined.before, "after": refined.after},
        "widths": {
            name: [axis.width, len(axis.kept)]
            for name, axis in plan.axes.items()
            if name in found.curves
        },
    }


def milliseconds(networks: Sequence[nn.Module], inputs: Tensor) -> dict[str, float]:
    """Measure what one input takes in each network, in turns.

    Args:
        networks: The full and the narrow one, in evaluation mode.
        inputs: What to run on.

    Returns:
        Medians, and with how many threads.
    """
    example = Inputs.of(inputs)
    setting = Setting(threads=torch.get_num_threads())
    with steady(setting.threads):
        full, narrow = interleaved([ready(each, example, setting) for each in networks])
    return {"full": full.median, "narrow": narrow.median, "threads": setting.threads}


def _changed(
    answers: Mapping[str, Tensor | None], samples: Samples, first: int
) -> list[tuple[Tensor, str, str]]:
    """Return images whose answer has changed, with what it was and what it is."""
    full, narrow = answers["full"], answers["narrow"]
    assert full is not None and narrow is not None
    before, after = full.argmax(1), narrow.argmax(1)

    def name(number: int) -> str:
        known = len(samples.classes) == full.shape[1]
        return samples.classes[number] if known else f"class {number}"

    return [
        (samples.images[first + place], name(int(before[place])), name(int(after[place])))
        for place in torch.nonzero(before != after).flatten().tolist()[:12]
    ]
