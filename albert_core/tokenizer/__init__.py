"""ALBERT's tokenizers: one rule, two engines, the same ids."""

from albert_core.tokenizer.albert import (
    AlbertTokenizer as AlbertTokenizer,
    AlbertTokenizerBase as AlbertTokenizerBase,
    AlbertTokenizerFast as AlbertTokenizerFast,
)
from albert_core.tokenizer.auto import AutoTokenizer as AutoTokenizer
from albert_core.tokenizer.base import PretrainedTokenizer as PretrainedTokenizer
from albert_core.tokenizer.batch_encoding import BatchEncoding as BatchEncoding
from albert_core.tokenizer.special_tokens import AddedToken as AddedToken
from albert_core.tokenizer.wordpiece import WordPieceTokenizer as WordPieceTokenizer
