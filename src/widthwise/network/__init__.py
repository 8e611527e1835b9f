"""Handling somebody's module: copies, slices, inputs. Knows no axis and no plan."""
