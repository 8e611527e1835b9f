"""What is done to a network before it is traced: one rewrite per file, registered by name."""

from widthwise.rewrites.base import Rewrite
from widthwise.rewrites.registry import from_spec, register, to_spec
from widthwise.rewrites.widen import Widen, widen

__all__ = ["Rewrite", "Widen", "from_spec", "register", "to_spec", "widen"]
