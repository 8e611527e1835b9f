"""Wrong input gives an error that says what is wrong and what to do, and harms nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import widthwise as ww
from cases import BY_NAME


def network(width: int = 8) -> nn.Sequential:
    """Two convolutions; the first one's width is free."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 4, 3))


IMAGE = torch.zeros(1, 3, 8, 8)


def half(model: nn.Module) -> ww.Plan:
    """A plan for half the MACs."""
    return ww.plan(ww.trace(model, IMAGE), score=ww.scores.L1(), budget=ww.Macs(0.5))


# ------------------------------------------------------------------ trace


@pytest.mark.parametrize("inputs", [torch.zeros(1, 4, 8, 8), torch.zeros(3, 8), IMAGE.long()])
def test_input_the_network_cannot_take(inputs: torch.Tensor) -> None:
    """A wrong example input is a TraceError with the module, the shape and torch's own words."""
    with pytest.raises(ww.errors.TraceError) as caught:
        ww.trace(network(), inputs)
    text = str(caught.value)
    assert "in `0`" in text
    assert str(list(inputs.shape)) in text
    assert "Hint:" in text
    assert isinstance(caught.value, RuntimeError)


def test_values_are_needed_and_there_are_none() -> None:
    """A forward that reads values cannot be traced without weights, and the error says how."""
    with torch.device("meta"):
        model = BY_NAME["reads_values"].factory()
    with pytest.raises(ww.errors.TraceError, match="build the model on the CPU"):
        ww.trace(model, torch.zeros(1, 3, 16, 16))


def test_a_failed_trace_leaves_the_network_alone() -> None:
    """After a TraceError the network has no hooks, and its mode and its weights."""
    model = network().train()
    with pytest.raises(ww.errors.TraceError):
        ww.trace(model, torch.zeros(1, 5, 8, 8))
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 4, 4)


# ------------------------------------------------------------------ budgets and limits


@pytest.mark.parametrize("amount", [0, -1, "half", "150%", float("nan"), float("inf"), ""])
@pytest.mark.parametrize("kind", [ww.Macs, ww.Params, ww.Memory])
def test_budget_that_is_none(kind: Callable[[object], object], amount: object) -> None:
    """A budget that is no amount is refused when it is made, with the forms that are accepted."""
    with pytest.raises(ww.errors.BudgetError, match="Expected"):
        kind(amount)


@pytest.mark.parametrize("same", [0.5, "0.5", "50%", "50 %", 6192])
def test_forms_of_one_budget(same: object) -> None:
    """A fraction, a percentage and an absolute number of MACs mean the same."""
    graph = ww.trace(network(), IMAGE)
    assert graph.macs() == 12384
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(same))
    assert plan.macs() == 6192


def test_budget_out_of_reach() -> None:
    """The error has what was asked, the smallest cost there is, and what holds it there."""
    model = network()
    graph = ww.trace(model, IMAGE)
    with pytest.raises(ww.errors.BudgetError) as caught:
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.1), min_width=2)
    text = str(caught.value)
    smallest = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.25), min_width=2).macs()
    assert "10.0%" in text
    assert f"{smallest:,}" in text or f"{smallest}" in text
    assert "min_width" in text
    assert isinstance(caught.value, ValueError)


def test_one_of_two_budgets_out_of_reach() -> None:
    """With several budgets, one that cannot be met is enough for the error."""
    model = network()
    graph = ww.trace(model, IMAGE)
    with pytest.raises(ww.errors.BudgetError, match="params"):
        ww.plan(graph, score=ww.scores.L1(), budget=[ww.Macs(0.9), ww.Params(5)])


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"min_width": 0}, "min_width"),
        ({"min_keep": 1.5}, "min_keep"),
        ({"round_to": 0}, "round_to"),
        ({"include": ["conv1"]}, "conv1"),
        ({"exclude": ["layer*"]}, "layer"),
    ],
)
def test_limits_that_make_no_sense(limits: dict[str, object], words: str) -> None:
    """A limit out of range, or a name that matches no axis, is an error that quotes it."""
    model = network()
    graph = ww.trace(model, IMAGE)
    with pytest.raises(ww.errors.ConfigError, match=words):
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5), **limits)


def test_score_without_weights() -> None:
    """A score that reads weights says that a network on the meta device has none."""
    with torch.device("meta"):
        model = network()
    graph = ww.trace(model, IMAGE)
    with pytest.raises(ww.errors.ConfigError, match="meta device"):
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    assert ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5)).widths["0"] == 4


# ------------------------------------------------------------------ plans


def test_mask_that_removes_what_is_frozen() -> None:
    """A plan that touches a frozen axis, or empties one, is refused with every problem at once."""
    graph = ww.trace(network(), IMAGE)
    with pytest.raises(ww.errors.PlanError) as caught:
        ww.Plan.of(graph, np.zeros(graph.unit_count, dtype=bool))
    assert "`0` would keep no unit" in str(caught.value)
    assert "`2` is frozen: network output" in str(caught.value)


def test_plan_for_another_network() -> None:
    """A plan for other widths is refused, with the axis and both widths."""
    with pytest.raises(ww.errors.PlanError, match=r"(?s)`0`.*8.*6"):
        ww.shrink(network(6), half(network(8)))


def damaged(text: str) -> dict[str, str]:
    """Ways in which a plan file goes wrong."""
    data = json.loads(text)
    data["axes"]["0"]["kept"] = "0-99"
    backwards = json.loads(text)
    backwards["axes"]["0"]["kept"] = "3,1"
    newer = json.loads(text)
    newer["format"] = 99
    headless = {key: value for key, value in json.loads(text).items() if key != "axes"}
    return {
        "empty": "",
        "cut short": text[: len(text) // 2],
        "not JSON": "width: 4",
        "a list": "[1, 2]",
        "no axes": json.dumps(headless),
        "units out of range": json.dumps(data),
        "units out of order": json.dumps(backwards),
        "of a newer format": json.dumps(newer),
    }


@pytest.mark.parametrize("how", list(damaged('{"axes": {"0": {}}}')))
def test_damaged_plan_file(how: str, tmp_path: Path) -> None:
    """A plan file that is damaged in any way is a PlanError that names the file."""
    path = tmp_path / "plan.json"
    half(network()).save(path)
    path.write_text(damaged(path.read_text())[how])
    with pytest.raises(ww.errors.PlanError) as caught:
        ww.Plan.load(path)
    assert str(path) in str(caught.value)


def test_missing_plan_file(tmp_path: Path) -> None:
    """A plan file that is not there is a PlanError too."""
    with pytest.raises(ww.errors.PlanError, match=r"nowhere\.json"):
        ww.Plan.load(tmp_path / "nowhere.json")


# ------------------------------------------------------------------ saved networks and the proof


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_truncated_weights(keep: float, tmp_path: Path) -> None:
    """Weights that were cut short are an error that names the file, not a network."""
    model = network()
    plan = half(model)
    ww.save(ww.shrink(model, plan), plan, tmp_path)
    path = tmp_path / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(ww.errors.RunError, match=r"model\.safetensors"):
        ww.load(tmp_path, network)


def test_weights_of_another_plan(tmp_path: Path) -> None:
    """Weights that do not fit the plan beside them are refused."""
    model = network()
    plan, other = half(model), ww.plan(
        ww.trace(model, IMAGE), score=ww.scores.L1(), budget=ww.Macs(0.8)
    )  # fmt: skip
    ww.save(ww.shrink(model, other), plan, tmp_path)
    with pytest.raises(ww.errors.RunError, match="do not fit"):
        ww.load(tmp_path, network)


def test_wrong_factory(tmp_path: Path) -> None:
    """A factory that builds another network is refused before any weight is loaded."""
    model = network()
    plan = half(model)
    ww.save(ww.shrink(model, plan), plan, tmp_path)
    with pytest.raises(ww.errors.PlanError, match="another network"):
        ww.load(tmp_path, lambda: network(6))


class Fickle(nn.Module):
    """Does something else as soon as it is narrower."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = (
            nn.Conv2d(3, 8, 3),
            nn.Conv2d(8, 6, 1),
            nn.Conv2d(6, 4, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.last(self.middle(x.relu() if x.shape[1] == 8 else x.sigmoid()))


def test_a_network_that_changes_its_mind_is_frozen_there() -> None:
    """Where the code goes another way when narrow, the axis is frozen with the call as reason."""
    graph = ww.trace(Fickle(), IMAGE)
    assert "aten" in (graph.axes["first"].frozen or "free")
    assert graph.axes["middle"].frozen is None


def test_proof_names_the_first_module_that_differs() -> None:
    """When slicing goes wrong, the error names the module where the outputs part."""
    from widthwise.shrinking.proof import prove

    model = network()
    plan = half(model)
    small = ww.shrink(model, plan, verify=False)
    with torch.no_grad():
        small[2].weight[0, 0, 0, 0] += 1
    with pytest.raises(ww.errors.ProofError, match="first in `2`"):
        prove(model, small, plan)
