"""Whose fault an exception is that comes out of a network's forward."""

from __future__ import annotations


class OwnError(Exception):
    """An error of ours, or of a rule, on its way out through a network's forward.

    A network that fails at a width is what a dry run is for; a mistake in what runs and follows it
    must not be taken for that. The cause is the error itself.
    """

    def reveal(self) -> Exception:
        """Return the error to raise where the network is left."""
        return self.__cause__ if isinstance(self.__cause__, Exception) else self
