"""ALBERT's tokenizers: one rule, two engines, the same ids."""

from albert_core.tokenizer.albert import AlbertTokenizer as AlbertTokenizer
from albert_core.tokenizer.albert import AlbertTokenizerBase as AlbertTokenizerBase
from albert_core.tokenizer.albert import AlbertTokenizerFast as AlbertTokenizerFast
from albert_core.tokenizer.auto import AutoTokenizer as AutoTokenizer
from albert_core.tokenizer.batch_encoding import BatchEncoding as BatchEncoding
