"""ALBERT's rule from text to ids: everything but the unigram model itself, which two libraries provide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, groupby
from typing import Protocol

from albert_core.tokenizer.alignment import align, locate
from albert_core.tokenizer.engine import Encoded, Places
from albert_core.tokenizer.files import VocabularyFile
from albert_core.tokenizer.preprocessing import WORD_START, Preprocessing
from albert_core.tokenizer.special_tokens import AddedToken, Part, TokenSplitter

__all__ = ["RuleEngine", "Segmenter"]


class Segmenter(Protocol):
    """A spiece.model at work: cleaned text to pieces, a comma after a digit being a piece of its own."""

    tokens: list[str]  # by id
    unk: int
    draws: bool

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of each cleaned text."""
        ...

    def pieces(self, text: str) -> list[str]:
        """Pieces of a cleaned text as they stand in its normalised form, which they make up together."""
        ...

    def origins(self, text: str) -> list[int]:
        """For each character of the normalised form, and for its end, where in `text` it came from."""
        ...


class RuleEngine:
    """Cuts out special tokens, cleans the rest and hands it to the unigram model.

    Args:
        file: The spiece.model.
        preprocess: How text is cleaned.
        segmenter: The library that holds the model.
        special_tokens: The special tokens by attribute name.
    """

    def __init__(
        self,
        file: VocabularyFile,
        preprocess: Preprocessing,
        segmenter: Segmenter,
        special_tokens: Mapping[str, AddedToken],
    ) -> None:
        self._file, self._preprocess, self._segmenter = file, preprocess, segmenter
        self.tokens = list(segmenter.tokens)
        self.ids = {token: number for number, token in enumerate(self.tokens)}
        self.vocab_size, self.draws = len(self.tokens), segmenter.draws
        self._special_tokens = special_tokens
        self._added: list[AddedToken] = []
        self.add([token for token in special_tokens.values() if token.content in self.ids])

    def add(self, tokens: list[AddedToken]) -> None:
        """See `Engine`."""
        self._added += tokens
        for token in tokens:
            if token.content not in self.ids:
                self.ids[token.content] = len(self.tokens)
                self.tokens.append(token.content)
        self._special = {token.content for token in self._added if token.special}
        self._apart = {t.content for t in self._added if not t.special or self.ids[t.content] >= self.vocab_size}
        self._splitter = TokenSplitter(self._added, self._preprocess.do_lower_case)

    def encode(self, texts: list[str], places: bool = False) -> list[Encoded]:
        """See `Engine`."""
        if places:
            return [self._located(text) for text in texts]
        parts = [self._splitter.split(text) for text in texts]
        plain = [self._preprocess(part.text) for each in parts for part in each if part.token is None]
        found = iter(self._segmenter.encode(plain))
        ids = ([next(found) if p.token is None else [self.ids[p.token]] for p in each] for each in parts)
        return [Encoded(each[0] if len(each) == 1 else list(chain.from_iterable(each))) for each in ids]

    def tokenize(self, text: str) -> list[str]:
        """See `Engine`."""
        return [piece for part in self._splitter.split(text) for piece in self._pieces(part)]

    def join(self, tokens: Iterable[str]) -> str:
        """See `Engine`; tokens that a user added stand between spaces."""
        runs = groupby(tokens, self._apart.__contains__)
        texts = [list(run) if apart else [self._join_pieces(run)] for apart, run in runs]
        return " ".join(chain.from_iterable(texts))

    def _join_pieces(self, tokens: Iterable[str]) -> str:
        """The model's own special tokens stand as transformers' AlbertTokenizer (4.57) writes them."""
        text, run, after_special = "", [], False
        for token in tokens:
            if token in self._special:
                text += ("" if after_special else " ") + _text_of(run) + token
                run = []
            else:
                run.append(token)
            after_special = token in self._special
        return (text + _text_of(run)).strip()

    def to_json(self) -> str:
        """See `Engine`."""
        from albert_core.tokenizer.conversion import build_tokenizer

        return build_tokenizer(self._file, self._preprocess, self._special_tokens, self._added).to_str(pretty=True)

    def _pieces(self, part: Part) -> list[str]:
        return [part.token] if part.token else self._segmenter.pieces(self._preprocess(part.text))

    def _located(self, text: str) -> Encoded:
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        words: list[int] = []
        for part in self._splitter.split(text):
            word = words[-1] + 1 if words else 0
            if part.token is not None:
                ids.append(self.ids[part.token])
                spans.append((part.start, part.start + len(part.token)))
                words.append(word)
                continue
            clean = align(self._preprocess, part.text)
            pieces = self._segmenter.pieces(clean.text)
            ids += [self.ids.get(piece, self._segmenter.unk) for piece in pieces]
            places = locate(pieces, self._segmenter.origins(clean.text), clean, part.start, word)
            spans += places.spans
            words += places.words
        return Encoded(ids, Places(spans, words))


def _text_of(pieces: list[str]) -> str:
    return "".join(pieces).replace(WORD_START, " ").lstrip(" ")
