"""Tracking with DiMP: a filter learned on the first frame, and improved while the video runs."""

from widthwise.tracking.dimp.tracker import DimpSettings, DimpTracker

__all__ = ["DimpSettings", "DimpTracker"]
