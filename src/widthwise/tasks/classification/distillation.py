"""Learn from the scores of a teacher, besides from labels.

Hinton et al., "Distilling the Knowledge in a Neural Network" (2015, arXiv:1503.02531); weight 0.4
and temperature 4 are those of Li et al., "The Heterogeneity Hypothesis" (CVPR 2021,
arXiv:2103.15798).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional


class Distillation:
    """Mixes the loss on labels with the distance to a teacher's scores.

    Not a module, so that the teacher is neither trained, nor saved, nor put into training mode with
    the network that learns from it.

    Args:
        teacher: Maps the same images to scores of the same classes. A copy of it is used, in
            evaluation mode.
        weight: Share of the distance in the loss, in [0, 1].
        temperature: Scores are divided by it before they are compared.
    """

    def __init__(self, teacher: nn.Module, *, weight: float, temperature: float) -> None:
        self.teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
        self.weight = weight
        self.temperature = temperature

    def mixed(self, loss: Tensor, scores: Tensor, images: Tensor) -> Tensor:
        """Mix a loss on labels with the distance to the teacher.

        Args:
            loss: Mean loss on the labels.
            scores: The network's, shape ``[b, classes]``.
            images: What they are the scores of, as the network got them.

        Returns:
            ``(1 - weight) * loss + weight * distance``; see `softened_divergence`.
        """
        self.teacher.to(images.device)
        with torch.no_grad():
            taught = self.teacher(images).float()
        distance = softened_divergence(scores, taught, temperature=self.temperature)
        return (1 - self.weight) * loss + self.weight * distance


def softened_divergence(scores: Tensor, taught: Tensor, *, temperature: float) -> Tensor:
    """Measure how far class probabilities are from a teacher's, both softened.

    The square of the temperature keeps gradients as large as those of the labels.

    Args:
        scores: Shape ``[b, classes]``.
        taught: Scores of the teacher, of the same shape.
        temperature: Scores are divided by it.

    Returns:
        The Kullback-Leibler divergence from the teacher's probabilities times ``temperature**2``,
        as a mean over the batch.
    """
    divergence = functional.kl_div(
        functional.log_softmax(scores / temperature, dim=1),
        functional.log_softmax(taught / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return divergence * temperature**2
