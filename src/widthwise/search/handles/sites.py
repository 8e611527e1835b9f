"""Where a search computes a weight in the place of a parameter."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

from widthwise.network.generated import Generated, Source


class Site:
    """One module whose weight is computed, and how its parameter sat in it before.

    Args:
        module: Has a parameter ``weight``. Changed by `attach` only.
        index: Of its weight at the source.
    """

    def __init__(self, module: nn.Module, index: int) -> None:
        self.module = module
        self.index = index
        self.parameter: nn.Parameter = module.weight  # type: ignore[assignment]
        self._order = list(module._parameters)

    def attach(self, source: Source, *, owns: bool) -> None:
        """Let a source compute the weight; the parameter stays inside, without gradient.

        Args:
            source: A module.
            owns: Whether to register it here; in exactly one site of a network.
        """
        # Unsafe skips a check that would compute every weight once more.
        parametrize.register_parametrization(
            self.module, "weight", Generated(source, self.index, owns=owns), unsafe=True
        )
        self.parameter.requires_grad_(False)

    def detach(self) -> None:
        """Put the parameter back in its place."""
        parametrized = type(self.module)
        weight = vars(parametrized)["weight"]
        parametrize.remove_parametrizations(self.module, "weight", leave_parametrized=False)
        # Copies made since (an average of the weights) have the same class, and still need it.
        if type(self.module) is not parametrized:
            parametrized.weight = weight  # type: ignore[attr-defined]
        parameters = self.module._parameters
        parameters["weight"] = self.parameter
        for name in self._order:
            parameters[name] = parameters.pop(name)
        self.parameter.requires_grad_(True)
