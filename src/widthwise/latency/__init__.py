"""How long networks and layers take on this machine, and how much memory. Knows no channel graph.

`timing` times callables in turns, `engines` makes a network one, `memory` measures in a process of
its own, `side_by_side` does all of it for several networks.
"""

from widthwise.latency.engines import Engine, Setting
from widthwise.latency.timing import Times, interleaved

__all__ = ["Engine", "Setting", "Times", "interleaved"]
