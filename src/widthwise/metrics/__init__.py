"""Metrics, taken from torchmetrics where they match the protocol."""

from __future__ import annotations

from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy


def top1_accuracy(num_classes: int) -> Metric:
    """Make a metric for the share of images whose highest output is the right class.

    Args:
        num_classes: Outputs of the network.

    Returns:
        A metric in [0, 1] over all images seen, not a mean of classes.
    """
    return MulticlassAccuracy(num_classes=num_classes, average="micro")
