"""How much what two networks put out differs, module by module, while one of them runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from widthwise import errors
from widthwise.shrinking.side_by_side import Outputs

TOLERANCE = 1e-5
"""Largest relative error of the outputs in float32."""


class Differences:
    """Compares outputs as they come with those that another network has put out.

    What has been compared is dropped at once: both networks' outputs together may not fit into
    memory.

    Args:
        found: The outputs of the network that may be wrong.
    """

    def __init__(self, found: Outputs) -> None:
        self.names: list[str] = []
        """What was compared."""
        self._found = deque(found)
        found.clear()
        self._worst = ("", 0.0)
        self._not_finite: str | None = None

    def append(self, expected: tuple[str, list[Tensor]]) -> None:
        """Compare the next outputs.

        Args:
            expected: Name and outputs of a module of the network that is right.
        """
        name, wide = expected
        other, narrow = self._found.popleft() if self._found else ("", [])
        self.names.append(name)
        # What decisions are made from may be infinite: padding is.
        if self._not_finite is None and not name.startswith("`") and not _are_finite(wide):
            self._not_finite = name
        if self._worst[1] <= TOLERANCE:
            error = _difference(wide, narrow) if name == other else float("inf")
            if error > self._worst[1]:
                self._worst = name, error

    def of_all(self) -> tuple[str, float]:
        """Tell the first module that differs, or else the one that differs most, and by how much.

        Returns:
            Its name, in words if it is the network itself, and the relative error.
        """
        if self._found and self._worst[1] <= TOLERANCE:
            self._worst = self._found[0][0], float("inf")
        return self._worst[0] or "the network's output", self._worst[1]

    def require_finite(self) -> None:
        """Raise a ProofError if the network that is right put out something that is not finite."""
        if self._not_finite is not None:
            raise errors.nothing_to_prove(self._not_finite or "the network's output")


def differences(expected: Outputs, found: Outputs) -> Differences:
    """Compare the outputs of two networks that have run."""
    result = Differences(found)
    for each in expected:
        result.append(each)
    return result


def bounds(tensor: Tensor) -> tuple[float, float]:
    """Return the least and the largest value of a tensor that is not empty."""
    least, most = torch.aminmax(tensor)
    return float(least), float(most)


def _are_finite(outputs: Sequence[Tensor]) -> bool:
    return all(bool(output.isfinite().all()) for output in outputs)


def _difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Return the largest relative difference; infinite if shapes differ or a value is NaN."""
    worst = 0.0
    if len(expected) != len(found):
        return float("inf")
    for a, b in zip(expected, found, strict=True):
        if a.shape != b.shape:
            return float("inf")
        if a.numel() == 0:
            continue
        if a.is_complex() and b.is_complex():
            a, b = torch.view_as_real(a), torch.view_as_real(b)
        if not a.is_floating_point():
            a, b = a.double(), b.double()
        scale = max(map(abs, bounds(a)))
        if scale == float("inf"):
            # Such as the padding of a max pool.
            finite = ~a.isinf()
            if not torch.equal(a[~finite], b[~finite]):
                return scale
            a, b = a[finite], b[finite]
            scale = max(map(abs, bounds(a))) if a.numel() else 1.0
        error = max(map(abs, bounds(a - b))) / (scale or 1.0) if a.numel() else 0.0
        if error != error:
            return float("inf")
        worst = max(worst, error)
    return worst
