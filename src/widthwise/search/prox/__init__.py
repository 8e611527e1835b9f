"""Proximal steps on the latents, one family per file.

A prox is called as ``prox(latents, step, axis_of_unit)`` after every optimizer step and returns the
moved latents. It knows nothing about thresholds, floors or frozen axes: the search decides which
entries of the result are used.
"""

from widthwise.search.prox.base import Prox
from widthwise.search.prox.group import GroupSoftThreshold, l2_shrink
from widthwise.search.prox.none import NoProx
from widthwise.search.prox.soft import SoftThreshold, soft_threshold

__all__ = ["GroupSoftThreshold", "NoProx", "Prox", "SoftThreshold", "l2_shrink", "soft_threshold"]
