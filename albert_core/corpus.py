"""Text as token ids: sentences, words, documents; what pretraining data is cut from."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from albert_core.joined_array import JoinedArray

__all__ = ["TokenizedCorpus", "Vocabulary", "split_sentences", "starts_word", "tokenize"]

_BLOCK = 4096  # sentences tokenized at once

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
        digest: sha256 of the pieces in order; "" where no tokenizer is behind it.
    """

    pad: int
    cls: int
    sep: int
    mask: int
    starts_word: np.ndarray
    ordinary: np.ndarray
    digest: str = ""

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
            digest=hashlib.sha256("\n".join(pieces).encode()).hexdigest(),
        )


@dataclass(frozen=True)
class TokenizedCorpus:
    """Token ids of documents, cut into segments, end to end.

    Attributes:
        tokens: Ids of the whole corpus, integers [tokens].
        segments: Where each segment starts in `tokens`, and the end of the last, int64 [segments + 1].
        documents: Where each document starts in `segments`, and the end of the last, int64 [documents + 1].

    Each is an array, or a MappedArray or JoinedArray, whose elements stay on disk until they are asked for.
    """

    tokens: Any
    segments: Any
    documents: Any

    @classmethod
    def of(cls, documents: Iterable[Iterable[str]], tokenizer: Any) -> TokenizedCorpus:
        """Tokenize documents, each the texts of its paragraphs; empty segments and documents vanish."""
        return cls._tokenized((text for document in documents for text in (*filter(None, document), "")), tokenizer)

    @classmethod
    def _tokenized(cls, paragraphs: Iterable[str], tokenizer: Any) -> TokenizedCorpus:
        start = np.zeros(1, np.int64)
        blocks = [(np.zeros(0, np.int32), start, start), *tokenize(paragraphs, tokenizer)]
        return cls(*map(np.concatenate, zip(*blocks, strict=True)))

    @classmethod
    def read(cls, files: Iterable[str | Path] | str | Path, tokenizer: Any, *, verify: bool = True) -> TokenizedCorpus:
        """Tokenize text files, see `text_files.read_paragraphs`, and open folders that `albert prepare-data` made.

        Args:
            files: One file or folder, or several. A folder's tokens stay on disk.
            tokenizer: An AlbertTokenizer; for a folder, the one it was prepared with.
            verify: Compare a folder's checksums, which reads it once.

        Raises:
            NotFound: A file, a folder or a shard does not exist.
            FormatError: A file cannot be read as text, or a folder is none of prepared tokens or is not finished.
            IntegrityError: A shard is not what was written.
            TokenizerError: A folder was prepared with another tokenizer.
        """
        from albert_core.text_files import read_paragraphs
        from albert_core.token_shards.folder import open_folder

        paths = map(Path, [files] if isinstance(files, str | Path) else files)
        parts: list[TokenizedCorpus] = []
        for folders, run in groupby(paths, Path.is_dir):
            if folders:
                parts += (open_folder(path, tokenizer, verify=verify) for path in run)
            else:
                parts.append(cls._tokenized(chain.from_iterable(map(read_paragraphs, run)), tokenizer))
        return cls.join(parts or [cls.of([], tokenizer)])

    @classmethod
    def join(cls, parts: Sequence[TokenizedCorpus]) -> TokenizedCorpus:
        """Corpora one after the other; their arrays are not copied."""
        if len(parts) == 1:
            return parts[0]
        tokens = JoinedArray([part.tokens for part in parts])
        segments = _joined_offsets([part.segments for part in parts], tokens.starts)
        return cls(tokens, segments, _joined_offsets([part.documents for part in parts], segments.starts[:-1]))


def _joined_offsets(parts: list[Any], shifts: list[int]) -> JoinedArray:
    """The parts' starts, shifted by what stands before each part, and the end of the last part."""
    *before, total = shifts
    lengths = [len(part) - 1 for part in parts]
    return JoinedArray([*parts, np.array([total])], [*lengths, 1], [*before, 0])


def tokenize(paragraphs: Iterable[str], tokenizer: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Tokenize paragraphs of any number in little memory.

    Args:
        paragraphs: Texts; an empty one ends a document.
        tokenizer: An AlbertTokenizer or AlbertTokenizerFast.

    Yields:
        For a few thousand segments: their token ids, int32; where each ends among all tokens so far, int64; where each
        document that is over ends among all segments so far, int64. Empty segments and documents vanish.
    """
    total, count, last = 0, 0, 0
    for sentences, cuts in _blocks(paragraphs):
        ids = [found.ids for found in tokenizer.engine.encode(sentences)]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        filled = np.concatenate([[0], np.cumsum(lengths > 0)])  # segments before each sentence
        documents = count + filled[cuts]
        documents = documents[np.diff(documents, prepend=last) > 0]
        tokens = np.fromiter(chain.from_iterable(ids), np.int32, lengths.sum())
        yield tokens, total + np.cumsum(lengths[lengths > 0]), documents
        total, count, last = total + len(tokens), count + int(filled[-1]), documents[-1] if len(documents) else last


def _blocks(paragraphs: Iterable[str]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Sentences of a few paragraphs, and how many of them stand before each end of a document."""
    sentences: list[str] = []
    cuts: list[int] = []
    for paragraph in paragraphs:
        if paragraph:
            sentences += split_sentences(paragraph)
        else:
            cuts.append(len(sentences))
        if len(sentences) + len(cuts) >= _BLOCK:
            yield sentences, np.array(cuts, np.int64)
            sentences, cuts = [], []
    yield sentences, np.array(cuts, np.int64)
