"""Where op rules are kept, ours and the user's alike.

A rule says what one ATen operator, or a custom operator, does to ids: it is called once per call
of the operator, with an :class:`~widthwise.rules.op.Op`, and returns the labels of the outputs.
It knows nothing about pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from widthwise.rules.labels import Label
from widthwise.rules.op import Op

Rule: TypeAlias = Callable[[Op], "Label | Sequence[Label] | None"]
RuleT = Callable[[Rule], Rule]

_RULES: dict[Any, Rule] = {}


def register(*operators: Any) -> RuleT:
    """Register a rule for operators, replacing any rule they had.

    Args:
        *operators: ``torch.ops.lib.name`` (every overload), ``torch.ops.lib.name.overload``, the
            name ``"lib::name"`` where the library that has it may not be imported yet, or a
            ``torch.Tag`` that stands for all operators PyTorch tags with it.

    Returns:
        A decorator that registers the function it is given and returns it unchanged. The function
        takes an :class:`Op` and returns the label of the output, a list of labels when there are
        several outputs, or None when no output carries ids.

    Example:
        >>> import torch
        >>> from widthwise.rules import pass_through, register
        >>> _ = register(torch.ops.aten.hardswish)(pass_through)
    """

    def add(rule: Rule) -> Rule:
        for operator in operators:
            _RULES[operator] = rule
        return rule

    return add


def lookup(operator: Any) -> Rule | None:
    """Return the rule of an operator overload, of its packet, or of one of its tags; or None."""
    name = operator.name().partition(".")[0]
    for key in (operator, operator.overloadpacket, name, *operator.tags):
        if key in _RULES:
            return _RULES[key]
    return None
