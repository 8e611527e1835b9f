"""A machine whose times are computed, for tests of what is made of times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

import widthwise as ww
from widthwise.latency.calls import LayerCall, calls_in
from widthwise.network.inputs import Inputs


@dataclass
class Computed:
    """A machine whose times are linear in each width of a layer, and in the bytes written."""

    slow: float = 1.0
    """What networks of fewer parameters than `full_params` take, of what they should."""
    full_params: int = 0
    asked: list[LayerCall] = field(default_factory=list)

    def layers(self, calls: Sequence[LayerCall]) -> list[float]:
        self.asked += calls
        return [self._layer(call) for call in calls]

    def networks(self, networks: Sequence[nn.Module], inputs: Inputs) -> list[float]:
        return [self.network(each, inputs) for each in networks]

    def network(self, network: nn.Module, inputs: Inputs) -> float:
        layers = sum(self._layer(call) for _, call in calls_in(network.eval(), inputs))
        graph = ww.trace(network, inputs)
        slow = self.slow if graph.params() < self.full_params else 1.0
        return (layers + 1e-6 * graph.activation_bytes() + 0.05) * slow

    def _layer(self, call: LayerCall) -> float:
        kernel = math.prod(call.options[0]) if call.options else 1
        macs = call.outer * call.inner * math.prod(call.size) * kernel
        return 1e-5 * macs + 1e-3 * call.outer + 2e-3 * call.inner + 5e-4 * call.groups + 0.01


@dataclass
class InStairs(Computed):
    """A machine that computes whole blocks of 16 channels, but for a part of the first one."""

    share: float = 1.0
    """How far it does; the rest goes by the channels there are."""

    def _layer(self, call: LayerCall) -> float:
        sides = (w if w < 16 else -(-w // 16) * 16 for w in (call.outer, call.inner))
        whole = call.at(*sides, call.groups)
        line, stair = super()._layer(call), super()._layer(whole)
        return (1 - self.share) * line + self.share * stair
