"""Text to ids through a whole pipeline of the tokenizers library: a tokenizer.json or a WordPiece vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from albert_core.tokenizer.engine import Encoded, Places
from albert_core.tokenizer.special_tokens import AddedToken
from albert_core.tokenizer.tokenizers_library import library_errors

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = ["PipelineEngine"]


class PipelineEngine:
    """The pipeline's ids as they are.

    Args:
        tokenizer: The pipeline; it finds special tokens itself.
        path: The file it came from, for error messages.
        special_tokens: The special tokens by attribute name.
    """

    draws = False

    def __init__(self, tokenizer: Tokenizer, path: Path | None, special_tokens: Mapping[str, AddedToken]) -> None:
        self.tokenizer, self._path = tokenizer, path
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=False)
        self._read_vocabulary()
        self._unk = special_tokens["unk_token"].content

    def add(self, tokens: list[AddedToken]) -> None:
        """See `Engine`."""
        from tokenizers import AddedToken as LibraryToken

        with library_errors(self._path):
            for token in tokens:
                self.tokenizer.add_tokens([LibraryToken(**vars(token))])
        self._read_vocabulary()

    def encode(self, texts: list[str], places: bool = False) -> list[Encoded]:
        """See `Engine`."""
        with library_errors(self._path):
            work = self.tokenizer.encode_batch if places else self.tokenizer.encode_batch_fast
            found = work(texts, add_special_tokens=False)
        if not places:
            return [Encoded(encoding.ids) for encoding in found]
        return [Encoded(encoding.ids, _places(text, encoding)) for text, encoding in zip(texts, found, strict=True)]

    def tokenize(self, text: str) -> list[str]:
        """See `Engine`."""
        with library_errors(self._path):
            encoding = self.tokenizer.encode(text, add_special_tokens=False)
        # the library's own piece of an added token holds the white space that it swallowed
        pairs = zip(encoding.ids, encoding.tokens, strict=True)
        return [self.tokens[i] if i in self._added and self.tokens[i] != self._unk else piece for i, piece in pairs]

    def join(self, tokens: Iterable[str]) -> str:
        """See `Engine`."""
        tokens = list(tokens)
        with library_errors(self._path):
            return self.tokenizer.decoder.decode(tokens) if self.tokenizer.decoder else " ".join(tokens)

    def to_json(self) -> str:
        """See `Engine`."""
        return self.tokenizer.to_str(pretty=True)

    def _read_vocabulary(self) -> None:
        self.ids: dict[str, int] = self.tokenizer.get_vocab()
        by_id = {number: token for token, number in self.ids.items()}
        self.tokens = [by_id.get(number, "") for number in range(max(by_id, default=-1) + 1)]
        self._added = frozenset(self.tokenizer.get_added_tokens_decoder())


def _places(text: str, encoding: Encoding) -> Places:
    """Where tokens stand, without the white space that the library counts among them."""
    spans = []
    for start, end in encoding.offsets:
        named = text[start:end]
        start = end - len(named.lstrip())
        spans.append((start, start + len(named.strip())))
    return Places(spans, [-1 if word is None else word for word in encoding.word_ids])
