"""Text to ids through the sentencepiece library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from albert_core.errors import TokenizerError
from albert_core.tokenizer.engine import Encoded
from albert_core.tokenizer.files import VocabularyFile
from albert_core.tokenizer.preprocessing import Preprocessing, digit_comma_ids, ends_in_digit_comma, resplit_digit_comma
from albert_core.tokenizer.special_tokens import SpecialToken, SpecialTokenSplitter

__all__ = ["SentencePieceEngine", "load_sentencepiece"]

_SAMPLING = frozenset({"enable_sampling", "nbest_size", "alpha"})


def load_sentencepiece(file: VocabularyFile, sp_model_kwargs: dict[str, Any] | None = None) -> Any:
    """A SentencePieceProcessor for a spiece.model.

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
        return sentencepiece.SentencePieceProcessor(model_proto=file.content, **options)
    except (OSError, RuntimeError, TypeError) as error:
        raise TokenizerError(file.path, f"expected a sentencepiece model, got: {error}") from error


class SentencePieceEngine:
    """The rule as Google wrote it, around sentencepiece.

    Args:
        file: The spiece.model.
        preprocess: How text is cleaned.
        special_tokens: The tokens that are cut out of the text first, by attribute name.
        sp_model_kwargs: Options of subword sampling for SentencePieceProcessor.
    """

    def __init__(
        self,
        file: VocabularyFile,
        preprocess: Preprocessing,
        special_tokens: Mapping[str, SpecialToken],
        sp_model_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self._model = load_sentencepiece(file, sp_model_kwargs)
        self._file, self._preprocess, self._special_tokens = file, preprocess, special_tokens
        self._splitter = SpecialTokenSplitter(special_tokens.values(), preprocess.do_lower_case)
        self.tokens: list[str] = self._model.id_to_piece(list(range(len(self._model))))
        self.ids: dict[str, int] = {token: number for number, token in enumerate(self.tokens)}
        self.vocab_size = len(self.tokens)
        self._unk: int = self._model.unk_id()
        self._digit_comma = digit_comma_ids(self.ids, self._unk)

    def encode(self, texts: list[str], offsets: bool = False) -> list[Encoded]:
        """See `Engine`.

        Raises:
            TokenizerError: Offsets were asked for.
        """
        if offsets:
            raise TokenizerError(None, "return_offsets_mapping: only AlbertTokenizerFast knows offsets")
        return [Encoded(self._encode(text)) for text in texts]

    def tokenize(self, text: str) -> list[str]:
        """See `Engine`."""
        pieces: list[str] = []
        for place, part in enumerate(self._splitter.split(self._splitter.fold_case(text))):
            pieces += [part] if place % 2 else self._pieces(self._preprocess(part))
        return pieces

    def to_json(self) -> str:
        """See `Engine`."""
        from albert_core.tokenizer.conversion import build_tokenizer

        return build_tokenizer(self._file, self._preprocess, self._special_tokens).to_str(pretty=True)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for place, part in enumerate(self._splitter.split(self._splitter.fold_case(text))):
            ids += [self.ids[part]] if place % 2 else self._piece_ids(self._preprocess(part))
        return ids

    def _piece_ids(self, clean: str) -> list[int]:
        ids = self._model.encode(clean, out_type=int) if clean else []
        if self._digit_comma.isdisjoint(ids):
            return ids
        return [self.ids.get(piece, self._unk) for piece in self._pieces(clean)]

    def _pieces(self, clean: str) -> list[str]:
        pieces: list[str] = []
        for piece in self._model.encode(clean, out_type=str):
            again = ends_in_digit_comma(piece)
            pieces += resplit_digit_comma(piece, self._encode_as_pieces) if again else [piece]
        return pieces

    def _encode_as_pieces(self, text: str) -> list[str]:
        return self._model.encode(text, out_type=str)
