"""Work of a network that is done once and then used many times, and does not count as cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_UNCOUNTED: ContextVar[bool] = ContextVar("uncounted", default=False)


@contextmanager
def uncounted() -> Iterator[None]:
    """Leave what runs inside out of the multiply-accumulates, while a network is traced.

    It is followed, tied and proven like everything else. For what a network does once and then
    uses many times, such as the template of a tracker: a frame of a video does not pay for it.
    Parameters and bytes are not affected, and outside of a trace nothing is.

    Yields:
        Nothing.

    Example:
        >>> import torch, widthwise as ww
        >>> class Pair(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(4, 8)
        ...
        ...     def forward(self, once, often):
        ...         with ww.uncounted():
        ...             wanted = self.layer(once)
        ...         return wanted + self.layer(often)
        >>> ww.trace(Pair(), (torch.zeros(1, 4), torch.zeros(1, 4))).macs()
        32
    """
    before = _UNCOUNTED.set(True)
    try:
        yield
    finally:
        _UNCOUNTED.reset(before)


def counts() -> bool:
    """Say whether what runs now is part of the cost.

    Returns:
        False inside of `uncounted`.
    """
    return not _UNCOUNTED.get()
