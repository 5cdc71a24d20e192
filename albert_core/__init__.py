"""The framework-neutral core of ALBERT for PyTorch, TensorFlow and JAX. Importing it loads no framework."""

from albert_core.version import __version__ as __version__
