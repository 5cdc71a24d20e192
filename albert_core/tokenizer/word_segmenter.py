"""The unigram model through the tokenizers library, word by word."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

from albert_core.tokenizer.conversion import build_model, read_pieces, spans_words
from albert_core.tokenizer.files import VocabularyFile
from albert_core.tokenizer.preprocessing import WORD_START, ends_in_digit_comma, resplit_digit_comma
from albert_core.tokenizer.sentencepiece_segmenter import SentencePieceSegmenter
from albert_core.tokenizer.tokenizers_library import library_errors

__all__ = ["WordSegmenter"]

_KNOWN_WORDS = 1 << 17  # then the memory starts anew
_LONGEST = 2048  # characters of a text that is cut word by word
_MOST_PIECES = 32  # of a word that is worth remembering


class WordSegmenter:
    """See `Segmenter`; each word goes through the tokenizers library once and is remembered.

    No piece of ALBERT's vocabularies spans two words, so a text's best pieces are those of its words. But sentencepiece
    adds up scores in float32 from the text's beginning: where two ways to cut a word score the same, and in long texts
    where they nearly do, rounding decides. Those texts go to sentencepiece itself.

    Args:
        file: The spiece.model.

    Raises:
        TokenizerError: It is no unigram sentencepiece model.
    """

    draws = False

    def __init__(self, file: VocabularyFile) -> None:
        self._path = file.path
        self._whole = SentencePieceSegmenter(file)
        model = self._whole.model
        pieces = read_pieces(file, model, self._whole.tokens)
        self._model = build_model(file, pieces, self._whole.unk)
        self.tokens, self.unk = self._whole.tokens, self._whole.unk
        self._by_word = not spans_words(pieces)
        self._ids = {piece: number for number, (piece, _) in enumerate(pieces)}
        control = [piece for piece, number in self._ids.items() if model.is_control(number) or number == self.unk]
        self._control = re.compile("|".join(map(re.escape, control)))  # text cannot write them, says sentencepiece
        self._known: dict[str, tuple[int, ...]] = {}  # tuples cost the garbage collector nothing
        self._spelt: dict[str, list[str]] = {}  # the pieces of those that have unknown ones

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_known": {}, "_spelt": {}}  # what a copy learns anew

    def encode(self, texts: list[str]) -> list[list[int]]:
        """See `Segmenter`."""
        with library_errors(self._path):
            return [self._encode(text) for text in texts]

    def pieces(self, text: str) -> list[str]:
        """See `Segmenter`."""
        ids = self.encode([text])[0]
        if self.unk not in ids:
            return [self.tokens[number] for number in ids]
        words, known, spelt = self._words(text), self._known, self._spelt
        if words is None or not known.keys() >= set(words):
            return self._whole.pieces(text)
        return [piece for w in words for piece in spelt.get(w) or [self.tokens[number] for number in known[w]]]

    def origins(self, text: str) -> list[int]:
        """See `Segmenter`."""
        return self._whole.origins(text)

    def _encode(self, text: str) -> list[int]:
        words = self._words(text)
        if words is None:
            return self._whole.encode([text])[0]
        try:
            return self._recalled(words)
        except KeyError:
            self._learn(words)
        try:
            return self._recalled(words)
        except KeyError:  # a word that cannot be cut by itself
            return self._whole.encode([text])[0]

    def _words(self, text: str) -> list[str] | None:
        """The words of a cleaned text without their marks; None for a text that is not cut word by word."""
        if not self._by_word or len(text) > _LONGEST:
            return None
        normal: str = self._whole.model.normalize(text)
        before, *words = normal.split(WORD_START)
        return None if before else words

    def _recalled(self, words: list[str]) -> list[int]:
        return list(chain.from_iterable(map(self._known.__getitem__, words)))

    def _learn(self, words: list[str]) -> None:
        if len(self._known) > _KNOWN_WORDS:
            self._known, self._spelt = {}, {}
        for word in words:
            if word not in self._known and (pieces := self._cut(word)) is not None:
                ids = self._known[word] = tuple([self._ids.get(piece, self.unk) for piece in pieces])
                if self.unk in ids:
                    self._spelt[word] = pieces

    def _cut(self, word: str) -> list[str] | None:
        """The pieces of one word; None if it takes sentencepiece to decide."""
        if self._control.search(word):
            return None
        pieces = [piece.value for piece in self._model.tokenize(WORD_START + word)]
        if _may_tie(pieces):
            return None
        return self._resplit(pieces) if "," in word else pieces

    def _resplit(self, pieces: list[str]) -> list[str]:
        result: list[str] = []
        for piece in pieces:
            result += resplit_digit_comma(piece, self._whole.cut) if ends_in_digit_comma(piece) else [piece]
        return result


def _may_tie(pieces: list[str]) -> bool:
    """Whether the same pieces may make up the same word in another order, with the same score: "0" "00" and "00" "0".

    Such an order first differs where one of the later pieces fits as well.
    """
    if len({piece[0] for piece in pieces}) == len(pieces):
        return False
    if len(pieces) > _MOST_PIECES:
        return True
    word, place = "".join(pieces), 0
    for number, piece in enumerate(pieces):
        if any(later != piece and word.startswith(later, place) for later in pieces[number + 1 :]):
            return True
        place += len(piece)
    return False
