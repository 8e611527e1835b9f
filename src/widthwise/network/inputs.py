"""Example inputs: how the forward is called, and what a plan remembers of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from widthwise import errors
from widthwise.network.outside import outside_kept
from widthwise.network.spec import from_spec, to_spec


@dataclass(frozen=True)
class Inputs:
    """Positional and keyword inputs of one forward call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, example_inputs: Any) -> Inputs:
        """Read what a user passes: one tensor, a tuple of inputs, or a dict of keyword inputs."""
        if isinstance(example_inputs, Inputs):
            return example_inputs
        if isinstance(example_inputs, Mapping):
            return cls((), dict(example_inputs))
        if isinstance(example_inputs, tuple | list):
            return cls(tuple(example_inputs), {})
        return cls((example_inputs,), {})

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor among the inputs, however nested."""
        leaves, _ = tree_flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    @property
    def batch(self) -> int | None:
        """Size of dim 0 if all tensors share it, else None."""
        found = {int(tensor.shape[0]) if tensor.dim() else 0 for tensor in self.tensors}
        return found.pop() if len(found) == 1 and 0 not in found else None

    def map(self, change: Any) -> Inputs:
        """Return the inputs with every tensor changed."""

        def leaf(value: Any) -> Any:
            return change(value) if isinstance(value, Tensor) else value

        return Inputs(tree_map(leaf, self.args), tree_map(leaf, self.kwargs))

    def with_batch(self, size: int) -> Inputs:
        """Return the inputs cut or repeated to a batch of ``size``."""
        if self.batch in (None, size):
            return self
        return self.map(
            lambda tensor: tensor[:1].expand(size, *tensor.shape[1:]) if size > 1 else tensor[:1]
        )

    def to_meta(self) -> Inputs:
        """Return the inputs without values."""
        return self.map(lambda tensor: torch.empty_like(tensor, device="meta"))

    def describe(self) -> str:
        """Return the shapes and dtypes in one line."""
        return ", ".join(
            f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
            for tensor in self.tensors
        )

    def call(self, model: nn.Module) -> Any:
        """Run the model on copies: code may write into what it is given, and into caches."""
        # The copies are no call of the network.
        with _disable_current_modes():
            given = self.map(lambda tensor: tensor.clone())
        with outside_kept(model):
            return model(*given.args, **given.kwargs)

    def to_spec(self) -> dict[str, Any]:
        """Return a JSON description: a shape and a dtype per tensor, other values as they are."""
        return {
            "args": [to_spec(arg) for arg in self.args],
            "kwargs": {name: to_spec(value) for name, value in self.kwargs.items()},
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Inputs:
        """Build inputs from `to_spec`: seeded noise for floats, zeros for integers.

        Args:
            spec: What `to_spec` returned, or what JSON made of it.

        Returns:
            The inputs, on the CPU.

        Raises:
            PlanError: If a value is of a class that a file cannot hold, or the description is
                damaged.
        """
        generator = torch.Generator(device="cpu").manual_seed(0)
        try:
            return cls(
                tuple(from_spec(arg, generator) for arg in spec["args"]),
                {name: from_spec(value, generator) for name, value in spec["kwargs"].items()},
            )
        except errors.PlanError:
            raise
        # Any shape, name of a type and kind of value may stand there.
        except Exception as error:
            raise errors.malformed_inputs(error) from error
