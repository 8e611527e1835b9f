"""What a search holds the widths by while the network trains: one handle per file."""

from widthwise.search.handles.base import Ground, Handle
from widthwise.search.handles.latents import Latents

__all__ = ["Ground", "Handle", "Latents"]
