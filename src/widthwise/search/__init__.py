"""Deciding widths: searches, scores, handles, limits, and plans that meet a budget."""
