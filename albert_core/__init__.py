"""The framework-neutral core of ALBERT for PyTorch, TensorFlow and JAX. Importing it loads no framework."""

from albert_core.config import AlbertConfig, AutoConfig
from albert_core.errors import *
from albert_core.outputs import *
from albert_core.tokenizer import (
    AddedToken,
    AlbertTokenizer,
    AlbertTokenizerFast,
    AutoTokenizer,
    BatchEncoding,
    WordPieceTokenizer,
)
from albert_core.version import __version__
