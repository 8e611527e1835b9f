"""Sweeps: a recipe with every combination of some values, each an ordinary run folder."""
