"""Searches for widths: where weights come from, how units score, what shrinks them, what fits."""
