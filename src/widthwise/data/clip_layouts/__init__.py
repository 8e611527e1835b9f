"""Folder layouts of the published tracking sets: clips are read from them, and written."""

from widthwise.data.clip_layouts.base import Conventions, Polygons
from widthwise.data.clip_layouts.opening import Layout, open_clips
from widthwise.data.clip_layouts.writing import write_clip

__all__ = ["Conventions", "Layout", "Polygons", "open_clips", "write_clip"]
