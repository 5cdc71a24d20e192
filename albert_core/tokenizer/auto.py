"""AutoTokenizer: the class that reads what a folder or hub model holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from albert_core.loader_options import split_options
from albert_core.strict_json import parse_object
from albert_core.tokenizer.albert import AlbertTokenizer, AlbertTokenizerFast
from albert_core.tokenizer.base import PretrainedTokenizer
from albert_core.tokenizer.files import MODEL_FILE, TOKENIZER_FILE, WORDPIECE_FILE
from albert_core.tokenizer.wordpiece import WordPieceTokenizer

__all__ = ["AutoTokenizer"]


class AutoTokenizer:
    """`AutoTokenizer.from_pretrained` of code written for transformers."""

    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | Path, use_fast: bool = True, **options: Any
    ) -> PretrainedTokenizer:
        """AlbertTokenizerFast, for which a foreign tokenizer.json wins over the spiece.model; WordPiece for vocab.txt.

        Args:
            pretrained_model_name_or_path: A folder, the bundled model's name or a hub id.
            use_fast: False gives AlbertTokenizer, which reads spiece.model; WordPiece has but one class.
            **options: See `PretrainedTokenizer.from_pretrained`.
        """
        from albert_core.hub import locate

        where, options = split_options(options)
        source = locate(name := pretrained_model_name_or_path, **where)
        kind = AlbertTokenizerFast if use_fast else AlbertTokenizer
        return (WordPieceTokenizer if _is_wordpiece(source) else kind)._from_source(source, name, options)


def _is_wordpiece(source: Any) -> bool:
    if source.file(MODEL_FILE):
        return False
    if source.file(WORDPIECE_FILE):
        return True
    path = source.file(TOKENIZER_FILE)
    model = parse_object(path.read_bytes(), path, "tokenizer").get("model") if path else None
    return isinstance(model, dict) and model.get("type") == "WordPiece"
