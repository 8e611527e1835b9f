"""ClusterKernels: all kernels of a network are multiples of a few."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from widthwise import errors
from widthwise.rewrites.convolutions import Convolution, plain_convolutions
from widthwise.rewrites.modules import copied, names
from widthwise.rewrites.registry import register


@register
@dataclass(frozen=True)
class ClusterKernels:
    """Every kernel, of one output and one input, becomes a multiple of one of a few shared ones.

    Son, Nah, Lee, "Clustering Convolutional Kernels to Compress Deep Neural Networks" (ECCV 2018).
    k-means finds the shared kernels, over all layers with kernels of the same shape; before,
    kernels are brought to the same length and the sign of their middle. Each kernel then gets the
    multiple of its shared one that comes nearest to it. Shared kernels and multiples are trained
    on, which kernel is a multiple of which stays. Costs no fewer MACs, but far fewer parameters.

    Weights become parametrizations of PyTorch's, so
    ``torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")`` makes an ordinary
    convolution of a trained one.

    Args:
        layers: Paths or globs of convolutions.
        count: Kernels that are shared, of each shape.

    Raises:
        ConfigError: If the count is not positive.
    """

    name: ClassVar[str] = "cluster_kernels"
    layers: Sequence[str]
    count: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", names(self.layers))
        if self.count < 1:
            raise errors.ConfigError(f"At least 1 kernel is shared, got {self.count!r}.")

    def apply(self, model: nn.Module, inputs: Any) -> nn.Module:
        """Return the network with shared kernels; ``model`` is not changed.

        Args:
            model: The network, with or without weights.
            inputs: Not looked at.

        Returns:
            A network of the same class that shares no memory with ``model``.

        Raises:
            ConfigError: If a name matches no module, or a module cannot be written so.
        """
        new = copied(model)
        by_shape: dict[tuple[int, ...], list[Convolution]] = {}
        for layer in plain_convolutions(new, self.name, self.layers):
            by_shape.setdefault(tuple(layer.kernel_size), []).append(layer)
        for layers in by_shape.values():
            kernels = torch.cat(
                [layer.weight.detach().flatten(0, 1).flatten(1) for layer in layers]
            )
            shared, chosen = self._clusters(kernels)
            centroids = nn.Parameter(shared.reshape(-1, *layers[0].kernel_size))
            sizes = [layer.weight.shape[0] * layer.weight.shape[1] for layer in layers]
            for layer, index in zip(layers, chosen.split(sizes), strict=True):
                multiple = Multiples(centroids, index.reshape(layer.weight.shape[:2]))
                # It is another parameter of another shape, which is meant.
                parametrize.register_parametrization(layer, "weight", multiple, unsafe=True)
        return new

    def reference(self, model: nn.Module, inputs: Any) -> nn.Module | None:
        """Return None: what is shared is not what was there."""
        return None

    def to_spec(self) -> dict[str, Any]:
        """Return layers and count."""
        return {"layers": list(self.layers), "count": self.count}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> ClusterKernels:
        """Build it from what `to_spec` returned."""
        return cls(**spec)

    def _clusters(self, kernels: Tensor) -> tuple[Tensor, Tensor]:
        """Return shared kernels ``[count, taps]``, and for each of ``kernels`` which it takes."""
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        count = min(self.count, len(kernels))
        if kernels.is_meta:
            return (
                kernels.new_empty(count, kernels.shape[1]),
                kernels.new_empty(len(kernels), dtype=torch.long),
            )
        middle = kernels[:, kernels.shape[1] // 2]
        length = kernels.norm(dim=1) * torch.where(middle < 0, -1, 1)
        # A kernel of zeros has no direction and stays.
        straight = kernels / torch.where(length == 0, 1, length)[:, None]
        with warnings.catch_warnings():
            # Fewer different kernels than shared ones: some are shared by none.
            warnings.simplefilter("ignore", ConvergenceWarning)
            means = KMeans(count, n_init=1, random_state=0).fit(straight.double().cpu().numpy())
        return (
            torch.from_numpy(means.cluster_centers_).to(kernels),
            torch.from_numpy(means.labels_).to(kernels.device, torch.long),
        )


class Multiples(nn.Module):
    """A weight whose kernels are multiples of shared ones.

    Args:
        centroids: The shared kernels, of shape ``[count, *kernel_size]``.
        index: Which one each kernel is a multiple of, of shape ``[out, in]``.
    """

    index: Tensor

    def __init__(self, centroids: nn.Parameter, index: Tensor) -> None:
        super().__init__()
        self.centroids = centroids
        self.register_buffer("index", index)

    def forward(self, multiple: Tensor) -> Tensor:
        """Return the weight, of shape ``[out, in, *kernel_size]``."""
        shared = self.centroids[self.index]
        return shared * multiple.reshape(*multiple.shape, *[1] * (shared.dim() - 2))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the multiples that come nearest to a weight, of shape ``[out, in]``."""
        shared = self.centroids.detach()[self.index].flatten(2)
        squares = shared.square().sum(2)
        found = (shared * weight.flatten(2)).sum(2)
        return found / torch.where(squares == 0, 1, squares)
