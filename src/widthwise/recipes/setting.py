"""What every arm of a run starts from: the user's own network, its graph, and the task."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

import widthwise as ww
from widthwise.cost import costs_of
from widthwise.data.batches import derived_seed
from widthwise.errors import ConfigError
from widthwise.models import resolve
from widthwise.models.weights import load_weights
from widthwise.network.initialisation import draw_fresh
from widthwise.network.inputs import Inputs
from widthwise.recipes.config import ModelConfig
from widthwise.rewrites import Rewrite
from widthwise.tasks.base import Task


class Setting:
    """The network and the task of a recipe, found to fit together.

    Args:
        model: Names the network.
        task: What it is for.
        seed: Decides the fresh weights.

    Raises:
        ConfigError: If there is no such network, its weights cannot be loaded, or it does not fit
            the task.
        DataError: If the data of the task are not there, or damaged.
    """

    def __init__(self, model: ModelConfig, task: Task, *, seed: int) -> None:
        self.model = model
        self.task = task
        self.seed = seed
        self._spec = resolve(model.name)
        self.trained = model.weights is not None or self._spec.has_weights
        """Whether the network is a trained one."""
        self.network = self.start()
        """The full network as arms start from it; kept, so that it is traced once."""
        task.check(self.network)

    def fingerprint(self) -> str:
        """Return a hash of the weights that arms start from."""
        hashed = hashlib.sha256()
        for name, tensor in self.network.state_dict().items():
            hashed.update(name.encode())
            hashed.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return hashed.hexdigest()

    def build(self) -> nn.Module:
        """Build the full network, with whatever weights the generator gives."""
        return self._spec.build(**self.model.options)

    def start(self) -> nn.Module:
        """Build the full network as arms start from it: with the user's weights, or fresh ones."""
        torch.manual_seed(derived_seed(self.seed))
        network = self.build()
        if self.model.weights is not None:
            load_weights(network, Path(self.model.weights), name=self.model.name)
        return network

    @cached_property
    def example(self) -> Any:
        """What networks are traced with and cuts are proven on."""
        return self.task.example()

    @cached_property
    def graph(self) -> ww.ChannelGraph:
        """The channel graph of `network`."""
        return ww.trace(self.network, self.example)

    @cached_property
    def full_cost(self) -> dict[str, float]:
        """What the user's own network costs, as plans count it."""
        return costs_of(self.graph)

    def graph_of(self, network: nn.Module) -> ww.ChannelGraph:
        """Return the graph of a full network, which is traced if it is another one than `network`.

        Args:
            network: With the weights that a score will read.

        Returns:
            Its graph.
        """
        return self.graph if network is self.network else ww.trace(network, self.example)

    def rewritten(self, before: Sequence[Rewrite]) -> tuple[nn.Module, ww.ChannelGraph]:
        """Rewrite the full network.

        Args:
            before: What to do to it, in order; may be empty.

        Returns:
            The result and its graph.
        """
        network = self.network
        for rewrite in before:
            network = rewrite.apply(network, Inputs.of(self.example))
        return network, self.graph_of(network)

    def narrowed(self, plan: ww.Plan) -> nn.Module:
        """Cut the full network by a plan that has been proven.

        Args:
            plan: Made for it.

        Returns:
            A new network, with slices of the weights that the full one starts with.
        """
        if not plan.before:
            # The network was traced once, whoever made the plan.
            plan = replace(plan, graph=self.graph)
        return ww.shrink(self.network, plan, verify=False)

    def drawn(self, plan: ww.Plan) -> nn.Module:
        """Build the network of a plan, with fresh weights.

        Args:
            plan: Made for the full network.

        Returns:
            A new network with the weights that its constructor draws at these widths.

        Raises:
            ConfigError: If it cannot be known what those are, as where the constructor comes with
                trained ones.
        """
        if self._spec.has_weights:
            raise ConfigError(
                f"`{self.model.name}` comes with its weights, and nobody knows how to draw fresh "
                "ones.\n"
                "Hint: leave out the arm `scratch`; or name the network's class as "
                "`package.module:factory` and the file as `model.weights`."
            )
        if not self.trained and not plan.before and plan.widths == self.widths:
            return self.start()
        network = self.narrowed(plan)
        torch.manual_seed(derived_seed(self.seed))
        draw_fresh(network, self.build)
        return network

    def in_own_units(self, plan: ww.Plan) -> dict[str, int]:
        """Tell the widths of a plan in units of the full network.

        Args:
            plan: Made for it. What rewrites make of it may have other units, such as groups.

        Returns:
            Width by axis; of axes that the full network does not have, in their own units.
        """
        own = {name: axis.unit_size for name, axis in self.graph.axes.items()}
        return {
            name: len(axis.kept) * axis.unit_size // own.get(name, axis.unit_size)
            for name, axis in plan.axes.items()
        }

    @property
    def widths(self) -> dict[str, int]:
        """Width of every axis of the full network."""
        return {name: axis.width for name, axis in self.graph.axes.items()}
