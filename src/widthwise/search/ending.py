"""An optimizer at the end of a search takes over the weights that were computed until then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn
from torch.optim import Optimizer

from widthwise.plans import Plan
from widthwise.shrinking import carry_optimizer


def hand_over(
    optimizer: Optimizer,
    model: nn.Module,
    small: nn.Module,
    plan: Plan,
    *,
    computed: Sequence[nn.Parameter],
    by: Iterable[nn.Parameter],
) -> None:
    """Carry the optimizer of a search over to the narrow network.

    While a search computes a weight, the parameter itself needs no gradient, and an optimizer that
    holds only what does lacks it. It then goes into the group that trained what it was computed
    from.

    Args:
        optimizer: Changed in place; see `carry_optimizer`.
        model: The full network, without the search.
        small: The narrow one.
        plan: The plan it was cut by.
        computed: Parameters of ``model`` that the search computed.
        by: The parameters it computed them from.

    Raises:
        PlanError: If the optimizer holds no parameter of ``model``; it is as it was then.
    """
    groups = optimizer.param_groups
    held = {id(each) for group in groups for each in group["params"]}
    lacking = [each for each in computed if id(each) not in held]
    own = {id(each): each.numel() for each in by}
    # Bias terms may be in a group without weight decay; most of what trained is in another.
    shares = [sum(own.get(id(each), 0) for each in group["params"]) for group in groups]
    home = groups[shares.index(max(shares))]
    before = home["params"]
    if max(shares):
        home["params"] = [*before, *lacking]
    try:
        carry_optimizer(optimizer, model, small, plan)
    except BaseException:
        home["params"] = before
        raise
