"""From a network to its channel graph: which channels are tied, and what any plan costs."""

from widthwise.graph.axes import Axis
from widthwise.graph.graph import ChannelGraph
from widthwise.graph.trace import trace

__all__ = ["Axis", "ChannelGraph", "trace"]
