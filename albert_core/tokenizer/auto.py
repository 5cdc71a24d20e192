"""AutoTokenizer: the class that reads what a folder or hub model holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from albert_core.tokenizer.albert import AlbertTokenizer, AlbertTokenizerBase, AlbertTokenizerFast

__all__ = ["AutoTokenizer"]


class AutoTokenizer:
    """`AutoTokenizer.from_pretrained` of code written for transformers."""

    @staticmethod
    def from_pretrained(name_or_path: str | Path, use_fast: bool = True, **options: Any) -> AlbertTokenizerBase:
        """AlbertTokenizerFast, for which an existing tokenizer.json wins over the spiece.model.

        Args:
            name_or_path: A folder, the bundled model's name or a hub id.
            use_fast: False gives AlbertTokenizer, which reads spiece.model.
            **options: See `AlbertTokenizerBase.from_pretrained`.
        """
        tokenizer_class = AlbertTokenizerFast if use_fast else AlbertTokenizer
        return tokenizer_class.from_pretrained(name_or_path, **options)
