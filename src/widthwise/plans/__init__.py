"""The plan: which units every axis keeps. The only output of a search; a small, readable file."""

from widthwise.plans.axis import AxisPlan
from widthwise.plans.plan import FORMAT, Plan

__all__ = ["FORMAT", "AxisPlan", "Plan"]
