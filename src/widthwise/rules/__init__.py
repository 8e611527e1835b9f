"""What every operator does to channel ids, one family per file, open to users."""

from widthwise.rules import (  # noqa: F401  (importing a family registers its rules)
    convolution,
    detection,
    joining,
    linear,
    matrices,
    normalisation,
    recurrent,
    reduction,
    reshape,
    space,
    writing,
)
from widthwise.rules.labels import Components, Ids, Label, UnitNumbers, blank
from widthwise.rules.op import Op, pass_through
from widthwise.rules.pointwise import pointwise
from widthwise.rules.registry import lookup, register

__all__ = [
    "Components",
    "Ids",
    "Label",
    "Op",
    "UnitNumbers",
    "blank",
    "lookup",
    "pass_through",
    "pointwise",
    "register",
]
