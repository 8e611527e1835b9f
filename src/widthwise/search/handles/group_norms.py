"""Norms of the rows and columns of attached matrices, one for each unit of a network."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np
import torch
from torch import Tensor

from widthwise.search.handles.decomposed import Variant

_TIE = 1e-5
"""Of equal rows those in front are kept: they will be the larger singular values."""


class Groups(Enum):
    """What is pulled to zero, of a matrix that mixes the outputs of a convolution."""

    rows = "rows"
    """Its inputs: the layer is decomposed into fewer filters and a 1x1 convolution."""
    columns = "columns"
    """Its outputs: channels are pruned."""
    both = "both"
    """First the rows, then the columns."""


class GroupNorms:
    """Which units the rows and columns of matrices ``[outputs, filters]`` belong to.

    Args:
        variant: A network with some layers decomposed.
        layers: Path of the layer of each matrix.
        groups: Which of both count.
    """

    def __init__(self, variant: Variant, layers: Sequence[str], groups: Groups) -> None:
        slots = variant.graph.slots
        self._count = variant.graph.unit_count
        self.driven = np.zeros(self._count, bool)
        self._rows: list[Tensor | None] = []
        self._columns: list[Tensor | None] = []
        for path in layers:
            two = path in variant.layers
            rows = slots[f"{path}.0.weight"][0] if two and groups is not Groups.columns else None
            columns = slots[f"{path}.1.weight" if two else f"{path}.weight"][0]
            columns = None if groups is Groups.rows else columns
            for units, kept in ((rows, self._rows), (columns, self._columns)):
                kept.append(None if units is None else torch.from_numpy(np.asarray(units)))
                if units is not None:
                    self.driven[units] = True

    def of(self, matrices: Sequence[Tensor], *, in_order: bool = False) -> Tensor:
        """Compute the norm of everything that belongs to a unit.

        Args:
            matrices: One for each layer.
            in_order: Whether the rows of a matrix are put into descending order: those of a layer
                that is decomposed by its singular values are.

        Returns:
            Shape ``[units]``; zero for units that nothing belongs to.
        """
        squares = torch.zeros(self._count, device=matrices[0].device, dtype=matrices[0].dtype)
        for matrix, rows, columns in self._each(matrices):
            if columns is not None:
                squares.index_add_(0, columns, matrix.square().sum(1))
            if rows is not None:
                own = matrix.square().sum(0)
                if in_order:
                    ties = torch.linspace(1, 1 - _TIE, len(own), device=own.device)
                    own = own.sort(descending=True).values * ties
                squares.index_add_(0, rows, own)
        return squares.sqrt()

    def scale(self, matrices: Sequence[Tensor], factors: Tensor, groups: Groups) -> None:
        """Multiply rows or columns by the factors of their units, in place."""
        for matrix, rows, columns in self._each(matrices):
            if groups is Groups.rows and rows is not None:
                matrix *= factors[rows]
            if groups is Groups.columns and columns is not None:
                matrix *= factors[columns][:, None]

    def _each(
        self, matrices: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor | None, Tensor | None]]:
        device = matrices[0].device
        for kept in (self._rows, self._columns):
            kept[:] = [None if units is None else units.to(device) for units in kept]
        return list(zip(matrices, self._rows, self._columns, strict=True))
