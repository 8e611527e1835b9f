"""What a search holds the widths by while the network trains: one handle per file."""

from widthwise.search.handles.base import Ground, Handle, Remembering
from widthwise.search.handles.fading import Fading
from widthwise.search.handles.gammas import Gammas
from widthwise.search.handles.gates import Gates
from widthwise.search.handles.growing_penalty import GrowingPenalty
from widthwise.search.handles.latents import Latents

__all__ = [
    "Fading",
    "Gammas",
    "Gates",
    "Ground",
    "GrowingPenalty",
    "Handle",
    "Latents",
    "Remembering",
]
