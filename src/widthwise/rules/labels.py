"""What a traced tensor carries: for each of its dims, the ids of its indices, or nothing.

An *id* is an integer that stands for one index of one dim of one parameter or buffer. The ids of a
dim are a vector as long as the dim; an id may occur several times in it (a flattened feature map
repeats each channel's id once per pixel). A dim without ids has a constant size as far as any plan
is concerned: batch, space, time.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ids: TypeAlias = npt.NDArray[np.int64]
Label: TypeAlias = tuple[Ids | None, ...]


def blank(dims: int) -> Label:
    """Return the label of a tensor without any ids."""
    return (None,) * dims


def all_ids(label: Label) -> list[Ids]:
    """Return the id vectors that occur in a label."""
    return [ids for ids in label if ids is not None]
