"""The version of the distribution, read by the build and by `albert --version`."""

__version__ = "0.1.0"
