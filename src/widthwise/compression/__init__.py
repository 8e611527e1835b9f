"""A trained network, cut and healed in minutes: widths by measured damage, without training."""

from widthwise.compression.compress import compress, compressed
from widthwise.compression.record import Compression, Curve, Trial

__all__ = ["Compression", "Curve", "Trial", "compress", "compressed"]
