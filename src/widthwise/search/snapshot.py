"""Remember everything training changes in a network, and put it back."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Snapshot:
    """Values, gradients, ``requires_grad`` and training flags of a network at one moment.

    Every parameter and buffer is cloned on its own device.

    Args:
        model: The network. Not changed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [(module, module.training) for module in model.modules()]
        self._parameters = [
            (module, name, parameter)
            for module, _ in self._modules
            for name, parameter in module._parameters.items()
            if parameter is not None
        ]
        self._buffers = [
            (module, name, _clone(buffer))
            for module, _ in self._modules
            for name, buffer in module._buffers.items()
        ]
        self._contents = {
            id(parameter): (
                parameter.detach().clone(),
                parameter.requires_grad,
                _clone(parameter.grad),
            )
            for _, _, parameter in self._parameters
        }

    @torch.no_grad()
    def restore(self) -> None:
        """Make the network what it was: the same parameter objects with the same values.

        A network that was moved since stays where it is now; submodules added since stay.
        """
        for module, training in self._modules:
            module.training = training
        for module, name, parameter in self._parameters:
            value, requires_grad, grad = self._contents[id(parameter)]
            module._parameters[name] = parameter
            parameter.copy_(value)
            parameter.requires_grad_(requires_grad)
            parameter.grad = None if grad is None else grad.to(parameter.device)
        for module, name, then in self._buffers:
            now = module._buffers.get(name)
            if then is not None and now is not None and now.shape == then.shape:
                now.copy_(then)
            else:
                module._buffers[name] = then


def _clone(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()
