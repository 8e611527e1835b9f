"""What is done to a network before it is traced: one rewrite per file, registered by name."""

from widthwise.rewrites.base import Rewrite
from widthwise.rewrites.basis import FilterBasis
from widthwise.rewrites.clusters import ClusterKernels
from widthwise.rewrites.decompose import Decompose, Kind
from widthwise.rewrites.drop import Drop
from widthwise.rewrites.factorise import Factorise
from widthwise.rewrites.groups import FilterGroups
from widthwise.rewrites.registry import from_spec, register, to_spec
from widthwise.rewrites.widen import Widen, widen

__all__ = [
    "ClusterKernels",
    "Decompose",
    "Drop",
    "Factorise",
    "FilterBasis",
    "FilterGroups",
    "Kind",
    "Rewrite",
    "Widen",
    "from_spec",
    "register",
    "to_spec",
    "widen",
]
