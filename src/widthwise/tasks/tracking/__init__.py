"""Tracking: where a target of the first frame is in every later frame of a video."""
