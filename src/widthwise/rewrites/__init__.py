"""What is done to a network before it is traced: one rewrite per file."""

from widthwise.rewrites.base import Rewrite

__all__ = ["Rewrite"]
