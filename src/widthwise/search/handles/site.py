"""A module some of whose tensors a search computes, and how these sat in it before."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.nn.utils import parametrize


class Site:
    """Parametrizes tensors of one module, and makes it what it was again.

    Args:
        module: The module. Changed by `attach` only.
        computed: What computes each of its tensors, by their names.
    """

    def __init__(self, module: nn.Module, computed: Mapping[str, nn.Module]) -> None:
        self.module = module
        """The module."""
        self._computed = dict(computed)
        self.parameters = {name: module.get_parameter(name) for name in computed}
        """The module's own parameters in these places."""
        self._order = list(module._parameters)

    def attach(self) -> None:
        """Put the parametrizations in; the module's own parameters stay inside."""
        for name, each in self._computed.items():
            # Unsafe skips a check that would compute every weight once more.
            parametrize.register_parametrization(self.module, name, each, unsafe=True)

    def detach(self) -> None:
        """Take them out: the same parameters in the same order, and the class of before."""
        parametrized = type(self.module)
        properties = {name: vars(parametrized)[name] for name in self._computed}
        for name in self._computed:
            parametrize.remove_parametrizations(self.module, name, leave_parametrized=False)
        # Copies made since (an average of the weights) have the same class, and still need them.
        if type(self.module) is not parametrized:
            for name, made in properties.items():
                setattr(parametrized, name, made)
        own = self.module._parameters
        own.update(self.parameters)
        for name in self._order:
            own[name] = own.pop(name)
