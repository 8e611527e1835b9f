"""The handle of sparse structure selection: a gate per unit, and one per residual block.

Huang and Wang, "Data-Driven Sparse Structure Selection for Deep Neural Networks" (ECCV 2018,
arXiv:1707.01213).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from widthwise.cost import Budget, limit
from widthwise.errors import ConfigError, SearchError
from widthwise.graph import ChannelGraph
from widthwise.network.generated import GateVector
from widthwise.rewrites.drop import droppable
from widthwise.search.handles.base import Ground
from widthwise.search.handles.blocks import WithoutBlocks, inside
from widthwise.search.handles.checks import learning_rates, require_non_negative
from widthwise.search.handles.floors import Floors
from widthwise.search.handles.gated_weights import (
    GatedWeights,
    numbers_of,
    owners_of,
    read_only_by,
    readers_of,
)
from widthwise.search.limits import Limits
from widthwise.search.planning import smallest
from widthwise.search.prox import accelerated_step

_NOT_ZERO = torch.finfo(torch.float32).tiny


class Gates:
    """A factor per unit and per residual block, driven to zero by accelerated proximal gradient.

    The gate of a unit multiplies whatever reads its channels, which is where the proof of a cut
    masks them: a unit whose gate is zero is gone already. That of a residual block multiplies scale
    and shift of the normalisation that ends it; where it is zero, the block is dropped. All gates
    are one at first, so the network goes on from the weights it has.

    Args:
        graph: Trace of ``model``.
        model: The network. Changed by `attach` only.
        budgets: What the result costs at most: where narrowing alone is not enough, blocks with the
            smallest gates are dropped, too.
        limits: What no plan may go below; an axis that is down to its floor is not shrunk further.
        sparsity: Weight of the absolute values of all gates in the loss.
        momentum: Of the gates.
        units: Whether units have gates.
        blocks: Whether residual blocks have.

    Raises:
        ConfigError: If a number is out of range, or a limit names no axis.
        SearchError: If nothing can have a gate.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        budgets: Sequence[Budget],
        limits: Limits,
        sparsity: float,
        momentum: float = 0.9,
        units: bool = True,
        blocks: bool = True,
    ) -> None:
        require_non_negative(sparsity=sparsity, momentum=momentum)
        if momentum >= 1:
            raise ConfigError(f"`momentum` must be below 1, got {momentum!r}.")
        self.model = model
        self._graph, self._budgets = graph, tuple(budgets)
        self._sparsity, self._momentum = sparsity, momentum
        owners = owners_of(model)
        readers = readers_of(graph, owners) if units else {}
        self.driven = read_only_by(graph, readers)
        self._limits = limits.only(graph, self.driven)
        self._floors = Floors.of(graph, self._limits)
        searched = np.zeros(graph.unit_count, bool)
        for axis in self._limits.axes(graph):
            searched[axis.units] = True
        ends = droppable(model, graph.inputs) if blocks else {}
        self._blocks = [path for path, names in ends.items() if owners.keys() >= set(names)]
        numbers = numbers_of(graph, readers, searched)
        for number, path in enumerate(self._blocks, graph.unit_count):
            for name in ends[path]:
                numbers[name] = np.full(len(model.get_parameter(name)), number), 0
        if not numbers:
            raise SearchError(
                f"`{type(model).__name__}` has nothing that could have a gate.\n"
                "Why: units have one where trained weights read them, and residual blocks that a "
                "normalisation ends.\n"
                "Hint: print(ww.trace(model, example_inputs)) lists the axes and why they are "
                "frozen."
            )
        self._source = GateVector(
            graph.unit_count + len(self._blocks), model.get_parameter(next(iter(numbers))).device
        )
        self._free = torch.from_numpy(np.append(searched, np.ones(len(self._blocks), bool)))
        self._weights = GatedWeights(self._source, numbers, owners)
        self._without: WithoutBlocks | None = None

    @property
    def gates(self) -> nn.Parameter:
        """All gates: one per unit in the order of the graph, then one per block, ``[u + b]``."""
        return self._source.gates

    @property
    def blocks(self) -> tuple[str, ...]:
        """Paths of the residual blocks that have a gate."""
        return tuple(self._blocks)

    def attach(self) -> None:
        """See `Handle`."""
        self._weights.attach()

    def detach(self) -> None:
        """See `Handle`."""
        self._weights.detach()

    def write(self) -> None:
        """See `Handle`."""
        self._weights.write()

    def parameters(self) -> Iterable[nn.Parameter]:
        """The gates, in one vector."""
        return self._source.parameters()

    @torch.no_grad()
    def step(self, optimizer: Optimizer) -> None:
        """Move the gates by accelerated proximal gradient, instead of what the optimizer did.

        Those of axes that are down to their floor follow their gradients only. A gradient that is
        not finite, which mixed precision skips, moves nothing.

        Args:
            optimizer: It trains the network; its learning rate for the gates counts.

        Raises:
            SearchError: If the optimizer lacks the gates, they have no gradient, or training has
                diverged.
        """
        source, count = self._source, self._graph.unit_count
        rates = learning_rates(optimizer, self.parameters(), "gates")
        gradient = source.gates.grad
        if gradient is None:
            raise SearchError(
                "The gates of this search have no gradient.\n"
                "Why: they are moved by the gradients of the step that the optimizer has done.\n"
                "Hint: call `search.step(optimizer)` after `optimizer.step()` and before "
                "`optimizer.zero_grad()`."
            )
        if self._free.device != gradient.device:
            self._free = self._free.to(gradient.device)
        pressed = self._free.clone()
        pressed[:count] = self._floors.shrinking(source.held[:count], _NOT_ZERO)
        gates, velocity = accelerated_step(
            source.held,
            gradient,
            source.moment,
            rate=rates[source.gates],
            penalty=self._sparsity * pressed.to(gradient.dtype),
            momentum=self._momentum,
        )
        moves = self._free & torch.isfinite(gradient).all()
        source.held.copy_(torch.where(moves, gates, source.held))
        source.moment.copy_(torch.where(moves, velocity, source.moment))
        source.gates.copy_(source.held)

    def importance(self) -> np.ndarray:
        """Score every unit by the magnitude of its gate.

        Returns:
            Float64, shape ``[u]``.

        Raises:
            SearchError: If training has diverged.
        """
        return self._weights.sizes()[: self._graph.unit_count].cpu().double().numpy()

    def alive(self) -> np.ndarray:
        """Tell which units have a gate that is not zero, floors respected.

        Returns:
            Bool, shape ``[u]``.

        Raises:
            SearchError: If training has diverged.
        """
        return self._floors.kept(self._weights.sizes()[: self._graph.unit_count], _NOT_ZERO)

    def better_ground(self, ground: Ground, kept: np.ndarray | None) -> Ground | None:
        """Drop the blocks whose gates are zero, and as many more as the budgets ask for.

        Args:
            ground: The network with all its blocks, or without some.
            kept: What would be kept of it; None if the budgets cannot be met.

        Returns:
            The network without these blocks; None if it is that already.
        """
        if ground.graph is not self._graph:
            return None
        blocks = self._to_drop(at_any_cost=kept is None)
        if not blocks:
            return None
        if self._without is None or self._without.rewrite.blocks != blocks:
            self._without = WithoutBlocks(self._graph, self.model, blocks)
        return self._without.ground(ground)

    def _to_drop(self, *, at_any_cost: bool) -> tuple[str, ...]:
        """Return the blocks without a gate left; where that is too little, the next ones too."""
        sizes = self._weights.sizes()[self._graph.unit_count :].tolist()
        ordered = sorted(zip(sizes, range(len(sizes)), self._blocks, strict=True))
        count = sum(size == 0 for size in sizes)
        least = smallest(self._graph, self._limits)
        while at_any_cost and count < len(ordered):
            chosen = [path for _, _, path in ordered[:count]]
            if self._fits(least & ~inside(self._graph, chosen)):
                break
            count += 1
        gone = {path for _, _, path in ordered[:count]}
        return tuple(path for path in self._blocks if path in gone)

    def _fits(self, mask: np.ndarray) -> bool:
        return all(b.cost(self._graph, mask) <= limit(b, self._graph) for b in self._budgets)
