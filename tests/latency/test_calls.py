"""Calls of layers: found in a forward pass, and run alone at other widths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from widthwise.latency.calls import Kind, LayerCall, calls_in
from widthwise.latency.engines import Engine, Setting, session_runner
from widthwise.latency.meter import Machine
from widthwise.network.inputs import Inputs

LAYERS = {
    "conv": (nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False), (2, 6, 7, 9)),
    "dilated": (nn.Conv1d(4, 6, 3, dilation=2), (2, 4, 12)),
    "groups": (nn.Conv2d(6, 8, (3, 1), groups=2), (2, 6, 7, 9)),
    "depthwise": (nn.Conv2d(6, 6, 3, groups=6), (2, 6, 7, 9)),
    "transposed": (nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1), (2, 6, 5, 5)),
    "transposed groups": (nn.ConvTranspose2d(6, 4, 3, groups=2), (2, 6, 5, 5)),
    "linear": (nn.Linear(6, 5), (2, 6)),
    "linear over rows": (nn.Linear(6, 5, bias=False), (2, 3, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_call_computes_what_its_layer_does(name: str) -> None:
    """On the layer's own weight and input, in PyTorch."""
    layer, shape = LAYERS[name]
    x = torch.randn(shape)
    ((weight, call),) = calls_in(layer.eval(), Inputs.of(x))
    assert weight == "weight" and call.weight_shape == tuple(layer.weight.shape)
    given = x.reshape(call.input_shape)
    found = call.compute(given, layer.weight, layer.bias)
    torch.testing.assert_close(found, layer(x).reshape(found.shape))


@pytest.mark.parametrize("name", LAYERS)
def test_onnxruntime_is_given_the_same_layer(name: str) -> None:
    """Its output is that of PyTorch."""
    pytest.importorskip("onnxruntime")
    from widthwise.latency.onnx_layers import as_file

    layer, shape = LAYERS[name]
    ((_, call),) = calls_in(layer.eval(), Inputs.of(torch.randn(shape)))
    given = call.tensors("cpu")
    (found,) = session_runner(as_file(call, *given), given[:1], 1)()  # type: ignore[misc]
    expected = call.ready(Setting())()
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_a_call_runs_at_other_widths(name: str) -> None:
    """Narrower within groups, and with fewer groups."""
    layer, shape = LAYERS[name]
    ((_, call),) = calls_in(layer.eval(), Inputs.of(torch.randn(shape)))
    narrow = [call.at(call.outer // 2 if call.groups < 6 else 6, call.inner, call.groups)]
    if call.groups == 6:
        narrow = [call.at(3, 1, 3)]
    for each in narrow:
        found = each.ready(Setting())()
        assert isinstance(found, torch.Tensor)
        assert found.shape[-1 if call.kind is Kind.linear else 1] == each.outputs


def test_calls_come_in_order_and_as_often_as_they_are_made() -> None:
    """A layer that is used twice is listed twice; norms and activations are not."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm, self.again = (
                nn.Conv2d(3, 4, 1),
                nn.BatchNorm2d(4),
                nn.Conv2d(4, 4, 1),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.again(self.again(self.norm(self.stem(x)).relu()))

    found = calls_in(Twice().eval(), Inputs.of(torch.zeros(1, 3, 5, 5)))
    assert [name for name, _ in found] == ["stem.weight", "again.weight", "again.weight"]


def test_keys_tell_calls_apart() -> None:
    """What may take another time has another key."""
    keys = set()
    calls: list[LayerCall] = []
    for layer, shape in LAYERS.values():
        calls += [call for _, call in calls_in(layer.eval(), Inputs.of(torch.randn(shape)))]
    keys = {call.key for call in calls} | {call.at(2, 2, 1).key for call in calls}
    assert len(keys) == 2 * len(calls)


@pytest.mark.parametrize("engine", [Engine.eager, Engine.onnxruntime])
def test_this_machine_tells_a_time_for_every_call(engine: Engine) -> None:
    """In order, more of them than are measured at once; each is positive."""
    if engine is Engine.onnxruntime:
        pytest.importorskip("onnxruntime")
    layer, shape = LAYERS["conv"]
    ((_, call),) = calls_in(layer.eval(), Inputs.of(torch.randn(shape)))
    calls = [call.at(outer, call.inner, 1) for outer in range(1, 11)]
    times = Machine(Setting(engine=engine)).layers(calls)
    assert len(times) == 10 and min(times) > 0
