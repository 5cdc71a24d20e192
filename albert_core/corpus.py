"""Text as token ids: sentences, words, documents; what pretraining data is cut from."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TokenizedCorpus", "Vocabulary", "split_sentences", "starts_word"]

_SENTENCE_END = re.compile(r"""(?:(?<=[.!?])|(?<=[.!?]["'”’)\]]))\s+(?=["'“‘(\[]?[A-Z0-9])""")
_MARKS = frozenset('!"#$%&()*+,-./:;?@[\\]^_`{|}~')
_INSIDE_WORDS = _MARKS | frozenset(string.ascii_letters)


def split_sentences(paragraph: str) -> list[str]:
    """Cut a paragraph after `.`, `!` or `?` where space and a capital or digit follow.

    Google's files hold one sentence a line. Whole paragraphs as segments would fill short sequences alone and leave no
    order to learn. Text without such marks stays whole; a cut after an abbreviation only makes a shorter segment.
    """
    return [sentence for sentence in _SENTENCE_END.split(paragraph) if sentence.strip()]


def starts_word(piece: str) -> bool:
    """Whether a sentencepiece piece begins a word (create_pretraining_data.py, _is_start_piece_sp).

    A piece with any character that is neither an English letter nor one of the marks is a word of its own.
    """
    return piece.startswith(("▁", "<")) or piece in _MARKS or any(c not in _INSIDE_WORDS for c in piece)


@dataclass(frozen=True)
class Vocabulary:
    """What batches need to know of a tokenizer.

    Attributes:
        pad: Id of the padding piece.
        cls: Id of [CLS].
        sep: Id of [SEP].
        mask: Id of [MASK].
        starts_word: Whether each piece begins a word, bool [V].
        ordinary: Ids that stand for text, all but the control tokens.
    """

    pad: int
    cls: int
    sep: int
    mask: int
    starts_word: np.ndarray
    ordinary: np.ndarray

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """The facts of an AlbertTokenizer or AlbertTokenizerFast."""
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        return cls(
            pad=tokenizer.pad_token_id,
            cls=tokenizer.cls_token_id,
            sep=tokenizer.sep_token_id,
            mask=tokenizer.mask_token_id,
            starts_word=np.array([starts_word(piece) for piece in pieces]),
            ordinary=np.setdiff1d(np.arange(len(pieces)), tokenizer.all_special_ids),
        )


@dataclass(frozen=True)
class TokenizedCorpus:
    """Token ids of documents, cut into segments, end to end.

    Attributes:
        tokens: Ids of the whole corpus, int32 [tokens].
        segments: Where each segment starts in `tokens`, and the end of the last, int64 [segments + 1].
        documents: Where each document starts in `segments`, and the end of the last, int64 [documents + 1].
    """

    tokens: np.ndarray
    segments: np.ndarray
    documents: np.ndarray

    @classmethod
    def of(cls, documents: Iterable[Iterable[str]], tokenizer: Any) -> TokenizedCorpus:
        """Tokenize documents, each the texts of its paragraphs; empty segments and documents vanish."""
        tokens: list[np.ndarray] = []
        segments, ends = [0], [0]
        for document in documents:
            for sentence in (s for paragraph in document for s in split_sentences(paragraph)):
                ids = np.array(tokenizer.encode(sentence, add_special_tokens=False), np.int32)
                if len(ids):
                    tokens.append(ids)
                    segments.append(segments[-1] + len(ids))
            if len(segments) - 1 > ends[-1]:
                ends.append(len(segments) - 1)
        return cls(np.concatenate([np.zeros(0, np.int32), *tokens]), np.array(segments), np.array(ends))

    @classmethod
    def read(cls, files: Iterable[str | Path] | str | Path, tokenizer: Any) -> TokenizedCorpus:
        """Tokenize text files: one paragraph a line, an empty line between documents; plain, .gz or .xz."""
        from albert_core.text_files import read_documents

        return cls.of(read_documents(files), tokenizer)
