"""What a traced tensor carries: for each of its dims, the ids of its indices, or nothing.

An *id* is an integer that stands for one index of one dim of one parameter or buffer. The ids of a
dim are a vector as long as the dim; an id may occur several times in it (a flattened feature map
repeats each channel's id once per pixel). A dim without ids has a constant size as far as any plan
is concerned: batch, space, time.

Three kinds of numbers occur, in vectors of one type and with names of their own:

- `Ids`: of indices of tensors, while a network is traced.
- `Components`: of sets of tied ids, while these are turned into units.
- `UnitNumbers`: of units, in a graph and in all that is made from it. A mask of kept units has an
  entry for each. In the proof, labels hold them in the place of ids.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ids: TypeAlias = npt.NDArray[np.int64]
Components: TypeAlias = npt.NDArray[np.int64]
UnitNumbers: TypeAlias = npt.NDArray[np.int64]
Label: TypeAlias = tuple[Ids | None, ...]


def blank(dims: int) -> Label:
    """Return the label of a tensor without any ids."""
    return (None,) * dims


def all_ids(label: Label) -> list[Ids]:
    """Return the id vectors that occur in a label."""
    return [ids for ids in label if ids is not None]
