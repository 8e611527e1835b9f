"""What a plan costs, and how much it may cost."""

from widthwise.cost.budgets import Budget, Macs, Memory, Params, full_cost, limit

__all__ = ["Budget", "Macs", "Memory", "Params", "full_cost", "limit"]
