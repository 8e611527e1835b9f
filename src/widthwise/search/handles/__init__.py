"""What a search holds the widths by while the network trains: one handle per file."""

from widthwise.search.handles.base import Ground, Handle
from widthwise.search.handles.gammas import Gammas
from widthwise.search.handles.latents import Latents

__all__ = ["Gammas", "Ground", "Handle", "Latents"]
