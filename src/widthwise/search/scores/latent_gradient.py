"""The gradient of a loss with respect to latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_map

from widthwise.errors import ConfigError, SearchError
from widthwise.graph import ChannelGraph
from widthwise.network.inputs import Inputs
from widthwise.search.handles.hyper_conv import HyperConv
from widthwise.search.seeding import seeded
from widthwise.search.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class LatentGradient:
    """Magnitude of the gradient of one batch's loss with respect to the latent of a unit.

    The criterion of Li et al., "The Heterogeneity Hypothesis: Finding Layer-Wise Differentiated
    Network Architectures" (CVPR 2021, arXiv:2006.16242): weights are generated from standard normal
    latents by a hypernetwork that is freshly initialised (see `HyperConv`), and nothing is trained.
    We differ from the released code, which reads the latents themselves, after two steps.

    The network is put into training mode for the one pass, and gets its weights, statistics, modes
    and gradients back. A normalisation whose scale starts at zero, as at the end of a residual
    branch, would hide all that is behind it; its scale counts as one. Only latents need gradients,
    so memory is that of the hypernetwork, ``(1 + 2 m) / k + m + 1`` times the weights, and of one
    pass. Units of axes that no generated weight touches get the largest score.

    Args:
        loss: Called as ``loss(network(inputs), target)``; returns a scalar.
        batch: ``(inputs, target)``; the inputs as the forward takes them: a tensor, a tuple or a
            dict. Brought to the network's device.
        embedding_dim: Length ``m`` of the embedding of a pair of units.
        seed: Of latents and hypernetwork, and of whatever is random in the forward. The global
            random state stays.
    """

    loss: Callable[[Any, Any], Tensor] = field(repr=False)
    batch: tuple[Any, Any] = field(repr=False)
    embedding_dim: int = 8
    seed: int = 1

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit.

        Args:
            graph: The network; as it was afterwards, also after an error.

        Returns:
            Float64, shape ``[units]``.

        Raises:
            SearchError: If no weight can be generated, or the gradient is not finite.
            ConfigError: If the loss of the batch cannot be computed, or has no gradient.
        """
        model = graph.model
        weights = HyperConv(
            graph, model, embedding_dim=self.embedding_dim, seed=self.seed, trained=False
        )
        latents = weights.latents
        snapshot = Snapshot(model)
        weights.attach()
        try:
            model.requires_grad_(False).train()
            latents.requires_grad_(True)
            with torch.no_grad():
                _open(model)
            with (
                torch.inference_mode(False),
                torch.enable_grad(),
                seeded(self.seed, latents.device),
            ):
                gradient = self._gradient(model, latents)
        finally:
            weights.detach()
            snapshot.restore()
        scores = gradient.abs().cpu().double().numpy()
        scores[~weights.driven] = scores.max(initial=0.0)
        return scores

    def _gradient(self, model: nn.Module, latents: Tensor) -> Tensor:
        inputs, target = self._on(latents.device)
        outputs = loss = None
        try:
            outputs = inputs.call(model)
            loss = self.loss(outputs, target)
        except Exception as error:
            where = "the forward pass" if outputs is None else "the loss function"
            raise ConfigError(
                f"The loss of this batch cannot be computed; in {where}: "
                f"{type(error).__name__}: {error}\n"
                f"Inputs: {inputs.describe()}. Target: {_described(target)}. "
                f"Outputs: {'none' if outputs is None else _described(outputs)}.\n"
                "Why: widths are decided by the gradient of `loss(network(inputs), target)`, in "
                "training mode, for one batch.\n"
                "Hint: pass the loss and one batch of the training loop, of at least two items "
                "where there are batch normalisations."
            ) from error
        if not isinstance(loss, Tensor) or loss.dim() or not loss.is_floating_point():
            raise ConfigError(
                f"The loss is {_described(loss)}; expected one floating-point number.\n"
                "Hint: average over the batch, as with `reduction='mean'`."
            )
        if not bool(torch.isfinite(loss)):
            raise SearchError(
                f"The loss of this batch is {loss.item()}.\n"
                "Why: a gradient of it says nothing about widths.\n"
                "Hint: check the batch for NaN, and that its values are normalised as in training."
            )
        gradient = None
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss, latents, allow_unused=True)
        if gradient is None:
            raise ConfigError(
                "The loss does not depend on the weights of the network.\n"
                "Why: widths are decided by its gradient.\n"
                "Hint: compute it from the outputs, without `detach()`, `no_grad` or `item()`."
            )
        if not bool(torch.isfinite(gradient).all()):
            raise SearchError(
                "The gradient of this batch's loss is not finite, though the loss is.\n"
                "Hint: use float32, or a loss whose derivative is bounded near zero."
            )
        return gradient

    def _on(self, device: torch.device) -> tuple[Inputs, Any]:
        def move(value: Any) -> Any:
            return value.to(device) if isinstance(value, Tensor) else value

        if not isinstance(self.batch, tuple | list) or len(self.batch) != 2:
            raise ConfigError(f"A batch is a pair (inputs, target), got {_described(self.batch)}.")
        inputs, target = self.batch
        return Inputs.of(inputs).map(move), tree_map(move, target)


def _open(model: nn.Module) -> None:
    """Give normalisations whose scale is zero throughout a scale of one."""
    for module in model.modules():
        if isinstance(module, (_NormBase, nn.GroupNorm, nn.LayerNorm)):
            scale = module.weight
            if isinstance(scale, Tensor) and not bool(scale.any()):
                scale.fill_(1.0)


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__}"
