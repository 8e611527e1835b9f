"""The version, in the one place that the package, the build and the plans read."""

__version__ = "0.1.0"
