"""What a search holds the widths by while the network trains: one handle per file."""

from widthwise.search.handles.base import Handle

__all__ = ["Handle"]
