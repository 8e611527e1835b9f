"""The plan: which units every axis keeps. The only output of a search; a small, readable file."""

from widthwise.plans.axis import AxisPlan
from widthwise.plans.plan import FORMAT, Plan, costs_of

__all__ = ["FORMAT", "AxisPlan", "Plan", "costs_of"]
