"""How far the outputs of two networks are apart, without labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-12


def distance(wide: Sequence[Tensor], narrow: Sequence[Tensor]) -> float:
    """Compare the outputs of a narrow network with those of the full one.

    Args:
        wide: Outputs of the full network; floating-point ones count.
        narrow: Of the narrow network, in the same order.

    Returns:
        The sum over outputs, each a mean over its items. For scores of classes, a matrix, the
        Kullback-Leibler divergence of the narrow network's answers from the full one's, in nats;
        for others half of the square error relative to the square of the full network's.
    """
    total = 0.0
    for full, found in zip(wide, narrow, strict=True):
        if not full.is_floating_point():
            continue
        full, found = full.double(), found.double()
        if _is_answer(full):
            known, new = full.log_softmax(1), found.log_softmax(1)
            # An answer that cannot be given, of probability zero, counts nothing.
            missed = torch.where(known.exp() > 0, known.exp() * (known - new), 0.0)
            total += float(missed.sum(1).mean())
        else:
            total += 0.5 * float(
                (full - found).square().sum() / full.square().sum().clamp_min(_TINY)
            )
    return total


def probe(outputs: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Return a random number whose gradient tells how much each value matters to `distance`.

    The mean of the squared gradient by a value is twice what a small change of that value adds to
    the distance, per unit of its square: answers are drawn from the network's own for scores of
    classes, directions from a normal distribution for others.

    Args:
        outputs: Of the full network, for a batch.
        generator: What is drawn with, on the CPU.

    Returns:
        A scalar: the sum over the items of the batch.
    """
    total = torch.zeros((), device=outputs[0].device if outputs else None)
    for output in outputs:
        if not output.is_floating_point() or not output.numel():
            continue
        if _is_answer(output):
            shares = output.detach().float().softmax(1).cpu()
            drawn = torch.multinomial(shares, 1, generator=generator)[:, 0].to(output.device)
            total = total + F.cross_entropy(output, drawn, reduction="sum")
        else:
            values = output.detach()
            drawn = torch.randn(values.shape, generator=generator).to(values)
            size = values.square().sum() / max(values.shape[0] if values.dim() else 1, 1)
            total = total + (output * drawn).sum() / size.clamp_min(_TINY).sqrt()
    return total


def agreement(wide: Tensor, narrow: Tensor) -> float:
    """Return the share of items that two networks answer alike, from scores of classes."""
    return float((wide.argmax(1) == narrow.argmax(1)).double().mean())


def _is_answer(output: Tensor) -> bool:
    return output.dim() == 2 and output.shape[1] > 1
