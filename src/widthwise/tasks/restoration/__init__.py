"""Restoration: what a photograph showed before noise was added, or before it was made smaller."""
