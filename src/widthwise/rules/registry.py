"""Where op rules are kept, ours and the user's alike.

A rule says what one ATen operator, or a custom operator, does to ids: it is called once per call
of the operator, with an :class:`~widthwise.rules.op.Op`, and returns the labels of the outputs.
It knows nothing about pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from widthwise.rules.labels import Label
from widthwise.rules.op import Op

Rule: TypeAlias = Callable[[Op], "Label | Sequence[Label] | None"]
RuleT = Callable[[Rule], Rule]

_RULES: dict[Any, Rule] = {}


def register(*operators: Any) -> RuleT:
    """Register a rule for operators, replacing any rule they had.

    Args:
        *operators: ``torch.ops.lib.name`` (every overload) or ``torch.ops.lib.name.overload``.

    Returns:
        A decorator that registers the function it is given and returns it unchanged. The function
        takes an :class:`Op` and returns the label of the output, a list of labels when there are
        several outputs, or None when no output carries ids.

    Example:
        >>> from widthwise.rules import pass_through, register
        >>> _ = register(torch.ops.aten.hardswish)(pass_through)
    """

    def add(rule: Rule) -> Rule:
        for operator in operators:
            _RULES[operator] = rule
        return rule

    return add


def lookup(operator: Any) -> Rule | None:
    """Return the rule of an operator overload, or None.

    The overload's own rule comes first, then the rule of its packet; an operator that PyTorch
    itself tags as pointwise needs none of its own.
    """
    rule = _RULES.get(operator) or _RULES.get(operator.overloadpacket)
    if rule is None and torch.Tag.pointwise in operator.tags:
        from widthwise.rules.pointwise import pointwise

        rule = _RULES[operator] = pointwise
    return rule
