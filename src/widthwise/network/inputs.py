"""Example inputs: how the forward is called, and what a plan remembers of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from widthwise import errors
from widthwise.network.outside import outside_kept
from widthwise.network.spec import from_spec, to_spec


@dataclass(frozen=True)
class Call:
    """One way to call a network, for `trace`.

    Args:
        inputs: A tensor, a tuple of inputs, or a dict of keyword inputs, flags included.
        method: Name of the method that is called.
        training: Whether the network is in training mode meanwhile.

    Example:
        >>> import torch
        >>> Call({"x": torch.zeros(1, 3), "mode": "features"}).method
        'forward'
    """

    inputs: Any
    method: str = "forward"
    training: bool = False


@dataclass(frozen=True)
class Inputs:
    """Positional and keyword inputs of one call, and other ways in which a network is called."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    method: str = "forward"
    """Name of the method that is called."""
    training: bool = False
    """Whether the network is in training mode meanwhile."""
    others: tuple[Inputs, ...] = ()
    """Further calls, to be followed and compared, but not counted."""

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

    @classmethod
    def of_calls(cls, example_inputs: Any, calls: Sequence[Any]) -> Inputs:
        """Read the ways in which a network is called; the first is the one that is counted.

        Args:
            example_inputs: Inputs of the first call; None if it is among the calls.
            calls: A `Call` each, or its inputs.

        Returns:
            The inputs of the first call, with the others.

        Raises:
            TraceError: If there is no call, or the first is one of training.
        """
        every = [Inputs.of(example_inputs)] if example_inputs is not None else []
        for call in calls:
            call = call if isinstance(call, Call) else Call(call)
            given = Inputs.of(call.inputs)
            every.append(replace(given, method=call.method, training=call.training))
        if not every or every[0].training:
            raise errors.TraceError(
                "There is no call to count the cost of: "
                + ("the first one is of training." if every else "nothing to call the network on.")
                + "\nHint: pass example inputs, or calls of which the first is one of evaluation."
            )
        first, *others = every
        return replace(first, others=(*first.others, *others))

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor among the inputs, however nested."""
        leaves, _ = tree_flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    @property
    def of_evaluation(self) -> list[Inputs]:
        """This call and the others, without those of training."""
        return [each for each in (self, *self.others) if not each.training]

    @property
    def batch(self) -> int | None:
        """Size of dim 0 if all tensors share it, else None."""
        found = {int(tensor.shape[0]) if tensor.dim() else 0 for tensor in self.tensors}
        return found.pop() if len(found) == 1 and 0 not in found else None

    def map(self, change: Any) -> Inputs:
        """Return the inputs with every tensor changed."""

        def leaf(value: Any) -> Any:
            return change(value) if isinstance(value, Tensor) else value

        return replace(
            self,
            args=tree_map(leaf, self.args),
            kwargs=tree_map(leaf, self.kwargs),
            others=tuple(other.map(change) for other in self.others),
        )

    def part(self, rows: slice | Tensor) -> Inputs:
        """Return some of the inputs of a batch.

        Args:
            rows: Which, as dim 0 of a tensor is indexed.

        Returns:
            The inputs of those rows.
        """
        return self.map(
            lambda tensor: tensor[rows.to(tensor.device) if isinstance(rows, Tensor) else rows]
        )

    def with_batch(self, size: int) -> Inputs:
        """Return the inputs cut or repeated to a batch of ``size``."""
        others = tuple(other.with_batch(size) for other in self.others)
        if self.batch in (None, size):
            return replace(self, others=others) if others else self
        alone = replace(self, others=()).map(
            lambda tensor: tensor[:1].expand(size, *tensor.shape[1:]) if size > 1 else tensor[:1]
        )
        return replace(alone, others=others)

    def to_meta(self) -> Inputs:
        """Return the inputs without values."""
        return self.map(lambda tensor: torch.empty_like(tensor, device="meta"))

    def describe(self) -> str:
        """Return the shapes and dtypes in one line, after the method if it is not the forward."""
        return ("" if self.method == "forward" else f"`{self.method}` on ") + ", ".join(
            f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
            for tensor in self.tensors
        )

    def call(self, model: nn.Module) -> Any:
        """Run the model on copies: code may write into what it is given, and into caches."""
        # The copies are no call of the network.
        with _disable_current_modes():
            given = replace(self, others=()).map(lambda tensor: tensor.clone())
        run = model if self.method == "forward" else getattr(model, self.method)
        with outside_kept(model):
            return run(*given.args, **given.kwargs)

    def to_spec(self) -> dict[str, Any]:
        """Return a JSON description: a shape and a dtype per tensor, other values as they are."""
        return {
            "args": [to_spec(arg) for arg in self.args],
            "kwargs": {name: to_spec(value) for name, value in self.kwargs.items()},
            **({"method": self.method} if self.method != "forward" else {}),
            **({"training": True} if self.training else {}),
            **({"others": [other.to_spec() for other in self.others]} if self.others else {}),
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
                str(spec.get("method", "forward")),
                bool(spec.get("training", False)),
                tuple(map(cls.from_spec, spec.get("others", ()))),
            )
        except errors.PlanError:
            raise
        # Any shape, name of a type and kind of value may stand there.
        except Exception as error:
            raise errors.malformed_inputs(error) from error
