"""Networks that are called in several ways: flags, other methods, modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import oracles
import widthwise as ww
from widthwise.errors import ProofError, TraceError
from widthwise.network.inputs import Inputs

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Autoencoder(nn.Module):
    """Classifies by default; a flag or a method makes it decode; training sees a third head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 12, 3, padding=1)
        self.head, self.decoder = nn.Linear(12, 4), nn.Conv2d(12, 3, 1)
        self.inner, self.aux = nn.Conv2d(12, 6, 1), nn.Conv2d(6, 2, 1)

    def encode(self, x: Tensor) -> Tensor:
        return self.body(self.stem(x).relu()).relu()

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decoder(self.encode(x))

    def forward(self, x: Tensor, mode: str = "classify", extra: bool = False) -> Any:
        if mode != "classify":
            return self.reconstruct(x)
        features = self.encode(x)
        scores = self.head(features.mean((2, 3)))
        if extra and self.training:
            return scores, self.aux(self.inner(features))
        return scores


def network() -> Autoencoder:
    """Build it, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Autoencoder().eval()


def half(graph: ww.ChannelGraph) -> ww.Plan:
    """A plan of half the MACs."""
    return ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))


FURTHER = {
    "flag": {"x": IMAGE, "mode": "decode"},
    "method": ww.Call(IMAGE, method="reconstruct"),
}


@pytest.mark.parametrize("kind", FURTHER)
def test_what_a_further_call_reads_is_narrowed_with_the_rest(kind: str, tmp_path: Path) -> None:
    """Without it the decoder keeps its shape and does not fit; with it, it follows."""
    model = network()
    alone = ww.trace(model, IMAGE)
    assert any("`decoder`" in note for note in alone.notes)
    with pytest.raises(RuntimeError):
        ww.shrink(model, half(alone)).reconstruct(IMAGE)
    graph = ww.trace(model, IMAGE, calls=[FURTHER[kind]])
    assert not any("`decoder`" in note for note in graph.notes)
    assert graph.macs() == alone.macs()
    half(graph).save(tmp_path / "plan.json")
    plan = ww.Plan.load(tmp_path / "plan.json")
    small = ww.shrink(model, plan)
    assert small.decoder.in_channels == small.body.out_channels < 12
    kept = plan.mask(graph)
    with torch.no_grad():
        model.decoder.weight[:, torch.from_numpy(~kept[graph.slots["body.weight"][0]])] = 0
        model.body.weight[:, torch.from_numpy(~kept[graph.slots["stem.weight"][0]])] = 0
        error = oracles.relative_error([small.reconstruct(IMAGE)], [model.reconstruct(IMAGE)])
    assert error < 1e-5


def test_every_call_is_proven() -> None:
    """A decoder that computes something else is found, and the proof says on what it ran."""
    model = network()
    plan = half(ww.trace(model, calls=[IMAGE, FURTHER["method"]]))
    small = ww.shrink(model, plan)
    proof = ww.prove(model, small, plan)
    assert "decoder" in proof.compared and "head" in proof.compared
    assert proof.inputs == "[2, 3, 8, 8] float32; `reconstruct` on [2, 3, 8, 8] float32"
    with torch.no_grad():
        small.decoder.weight.mul_(1.001)
    with pytest.raises(ProofError, match="decoder"):
        ww.prove(model, small, plan)


def test_a_call_of_training_is_followed() -> None:
    """What only a flag and training together reach is narrowed, too."""
    model = network()
    call = ww.Call({"x": IMAGE, "extra": True}, training=True)
    graph = ww.trace(model, IMAGE, calls=[call])
    assert graph.axes["inner"].frozen is None
    small = ww.shrink(model, half(graph)).train()
    scores, extra = small(IMAGE, extra=True)
    assert scores.shape == (2, 4) and extra.shape == (2, 2, 8, 8)


def test_calls_survive_a_file() -> None:
    """Methods, modes and further calls are part of what a plan remembers."""
    inputs = Inputs.of_calls(IMAGE, [*FURTHER.values(), ww.Call(IMAGE, training=True)])
    again = Inputs.from_spec(inputs.to_spec())
    assert [(each.method, each.training) for each in again.others] == [
        ("forward", False),
        ("reconstruct", False),
        ("forward", True),
    ]
    assert again.others[0].kwargs["mode"] == "decode"
    assert again.to_spec() == inputs.to_spec()


@pytest.mark.parametrize(
    ("inputs", "calls", "says"),
    [
        (None, [], "nothing to call the network on"),
        (None, [ww.Call(IMAGE, training=True)], "the first one is of training"),
        (IMAGE, [ww.Call(IMAGE, method="decode")], "no attribute 'decode'"),
        (IMAGE, [torch.zeros(1, 7, 8, 8)], "failed on the example inputs"),
    ],
)
def test_bad_calls_are_named(inputs: Any, calls: list[Any], says: str) -> None:
    """No call to count, a method that is not there, inputs that do not fit."""
    with pytest.raises(TraceError, match=says):
        ww.trace(network(), inputs, calls=calls)
