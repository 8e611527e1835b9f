"""Widthwise: how wide should every layer of a network be?

Trace any PyTorch network, decide widths under a budget, rewrite it narrower, prove the rewrite.
"""

from widthwise import errors, methods, rewrites
from widthwise._version import __version__
from widthwise.compression import compress
from widthwise.cost import Latency, Macs, Memory, Params
from widthwise.graph import Axis, ChannelGraph, trace
from widthwise.healing import HealReport, heal
from widthwise.network.inputs import Call
from widthwise.network.uncounted import uncounted
from widthwise.plans import Plan
from widthwise.rewrites import widen
from widthwise.search import scores
from widthwise.search.planning import plan
from widthwise.shrinking import Proof, carry_optimizer, load, prove, save, shrink

__all__ = [
    "Axis",
    "Call",
    "ChannelGraph",
    "HealReport",
    "Latency",
    "Macs",
    "Memory",
    "Params",
    "Plan",
    "Proof",
    "__version__",
    "carry_optimizer",
    "compress",
    "errors",
    "heal",
    "load",
    "methods",
    "plan",
    "prove",
    "rewrites",
    "save",
    "scores",
    "shrink",
    "trace",
    "uncounted",
    "widen",
]
