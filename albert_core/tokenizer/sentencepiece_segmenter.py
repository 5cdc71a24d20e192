"""The unigram model through the sentencepiece library."""

from __future__ import annotations

from typing import Any

from albert_core.errors import TokenizerError
from albert_core.tokenizer.files import VocabularyFile
from albert_core.tokenizer.preprocessing import ends_in_digit_comma, resplit_digit_comma

__all__ = ["SentencePieceSegmenter", "load_sentencepiece"]

_SAMPLING = frozenset({"enable_sampling", "nbest_size", "alpha"})


def load_sentencepiece(file: VocabularyFile, sp_model_kwargs: dict[str, Any] | None = None) -> tuple[Any, list[str]]:
    """A SentencePieceProcessor for a spiece.model, and its pieces.

    Raises:
        TokenizerError: The file cannot be read as a sentencepiece model, or an option is not one of sampling.
    """
    import sentencepiece

    options = sp_model_kwargs or {}
    if unknown := set(options) - _SAMPLING:
        raise TokenizerError(None, f"sp_model_kwargs: expected keys of {sorted(_SAMPLING)}, got {sorted(unknown)}")
    if not file.content:
        raise TokenizerError(file.path, "expected a sentencepiece model, got an empty file")
    try:
        model = sentencepiece.SentencePieceProcessor(model_proto=file.content, **options)
        return model, model.id_to_piece(list(range(len(model))))
    except (OSError, RuntimeError, TypeError, UnicodeDecodeError) as error:
        raise TokenizerError(file.path, f"expected a sentencepiece model, got: {error}") from error


class SentencePieceSegmenter:
    """See `Segmenter`; every text goes through sentencepiece whole.

    Args:
        file: The spiece.model.
        sp_model_kwargs: Options of subword sampling for SentencePieceProcessor.
    """

    def __init__(self, file: VocabularyFile, sp_model_kwargs: dict[str, Any] | None = None) -> None:
        self.model, self.tokens = load_sentencepiece(file, sp_model_kwargs)
        self.unk: int = self.model.unk_id()
        self.draws = bool(sp_model_kwargs and sp_model_kwargs.get("enable_sampling"))
        self._ids = {piece: number for number, piece in enumerate(self.tokens)}
        commas = {number for piece, number in self._ids.items() if ends_in_digit_comma(piece)}
        # where "," is no piece, an unknown one may end in a digit and a comma
        self._look_again = frozenset(commas if "," in self._ids else commas | {self.unk})

    def encode(self, texts: list[str]) -> list[list[int]]:
        """See `Segmenter`."""
        found = self.model.encode(texts, out_type=int, num_threads=1) if texts else []
        untouched = self._look_again.isdisjoint
        return [ids if untouched(ids) else self._encode(text) for text, ids in zip(texts, found, strict=True)]

    def pieces(self, text: str) -> list[str]:
        """See `Segmenter`."""
        pieces: list[str] = []
        for piece in self.cut(text):
            pieces += resplit_digit_comma(piece, self.cut) if ends_in_digit_comma(piece) else [piece]
        return pieces

    def origins(self, text: str) -> list[int]:
        """See `Segmenter`."""
        return self.model.normalize(text, with_offsets=True)[1]

    def _encode(self, text: str) -> list[int]:
        return [self._ids.get(piece, self.unk) for piece in self.pieces(text)]

    def cut(self, text: str) -> list[str]:
        """Pieces before the digit-comma rule."""
        return self.model.encode(text, out_type=str)
