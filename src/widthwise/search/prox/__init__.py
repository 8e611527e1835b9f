"""Proximal steps on the latents, one family per file.

A prox is called as ``prox(latents, step, axis_of_unit)`` after every optimizer step and returns the
moved latents. It knows nothing about thresholds, floors or frozen axes: the search decides which
entries of the result are used.
"""

from widthwise.search.prox.accelerated import accelerated_step
from widthwise.search.prox.base import Prox
from widthwise.search.prox.decay import l2_decay
from widthwise.search.prox.difference import DifferenceShrink, difference_shrink
from widthwise.search.prox.group import GroupSoftThreshold, l2_shrink
from widthwise.search.prox.half import HalfThreshold, half_threshold
from widthwise.search.prox.log_sum import LogThreshold, log_threshold
from widthwise.search.prox.none import NoProx
from widthwise.search.prox.soft import SoftThreshold, soft_threshold

__all__ = [
    "DifferenceShrink",
    "GroupSoftThreshold",
    "HalfThreshold",
    "LogThreshold",
    "NoProx",
    "Prox",
    "SoftThreshold",
    "accelerated_step",
    "difference_shrink",
    "half_threshold",
    "l2_decay",
    "l2_shrink",
    "log_threshold",
    "soft_threshold",
]
