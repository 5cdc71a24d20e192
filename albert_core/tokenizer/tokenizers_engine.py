"""Text to ids through the tokenizers library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albert_core.errors import NotFound, TokenizerError
from albert_core.tokenizer.engine import Encoded
from albert_core.tokenizer.preprocessing import digit_comma_ids, ends_in_digit_comma, resplit_digit_comma
from albert_core.tokenizer.special_tokens import SpecialToken, SpecialTokenSplitter

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = ["TokenizersEngine", "library_errors", "load_tokenizer_json"]


@contextmanager
def library_errors(path: Path | None) -> Iterator[None]:
    """Turn what the library raises, panics included, into TokenizerError.

    A panic of the Rust code derives from BaseException and its class cannot be imported, hence the name.
    """
    try:
        yield
    except TokenizerError:
        raise
    except Exception as error:
        raise TokenizerError(path, f"the tokenizers library refused it: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(path, f"the tokenizers library failed on it: {error}") from error


def load_tokenizer_json(path: Path) -> Tokenizer:
    """A tokenizer.json, without the truncation and padding that it may ask for: those are the caller's to choose.

    Raises:
        NotFound: There is no such file.
        TokenizerError: The library cannot read or run it.
    """
    from tokenizers import Tokenizer

    if not path.is_file():
        raise NotFound(path=path, reason="expected a tokenizer.json, there is none")
    with library_errors(path):
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode("a")  # some faults show only at work
        return tokenizer


class TokenizersEngine:
    """A tokenizers pipeline, with the digit-comma rule as a thin pass after it.

    Args:
        tokenizer: The pipeline.
        path: The file it came from, for error messages.
        special_tokens: The special tokens, which the pipeline finds itself.
        unk_token: The one that stands for unknown text.
        do_lower_case: Special tokens that are lower case are found in any case, as in the other engine.
        digit_comma: Apply the digit-comma rule; a tokenizer.json made elsewhere has its own.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        path: Path,
        special_tokens: Iterable[SpecialToken],
        unk_token: str,
        do_lower_case: bool,
        digit_comma: bool,
    ) -> None:
        self.tokenizer = tokenizer
        self._path = path
        self._fold_case = SpecialTokenSplitter(special_tokens, do_lower_case).fold_case if digit_comma else str
        self.vocab_size = tokenizer.get_vocab_size(with_added_tokens=False)
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.tokens = [tokenizer.id_to_token(i) or "" for i in range(max(self.ids.values(), default=-1) + 1)]
        self._added = frozenset(tokenizer.get_added_tokens_decoder())
        self._unk = self.ids.get(unk_token, 0)
        self._digit_comma = digit_comma_ids(self.ids, self._unk) if digit_comma else frozenset()
        self._resplit: Callable[[str], list[str]] = lru_cache(maxsize=4096)(self._resplit_uncached)

    def encode(self, texts: list[str], offsets: bool = False) -> list[Encoded]:
        """Ids of each text, special tokens in the text included, none added; offsets if asked for."""
        with library_errors(self._path):
            found = self.tokenizer.encode_batch([self._fold_case(text) for text in texts], add_special_tokens=False)
        return [self._encoded(encoding, offsets) for encoding in found]

    def tokenize(self, text: str) -> list[str]:
        """Pieces as they stand in the cleaned text; an unknown one is its own text."""
        with library_errors(self._path):
            encoding = self.tokenizer.encode(self._fold_case(text), add_special_tokens=False)
        return [piece for pieces, _ in self._pieces(encoding) for piece in pieces]

    def _encoded(self, encoding: Encoding, offsets: bool) -> Encoded:
        ids: list[int] = encoding.ids
        if self._digit_comma.isdisjoint(ids):
            return Encoded(ids, encoding.offsets if offsets else None)
        spans: list[tuple[int, int]] = []
        ids = []
        for pieces, (start, end) in self._pieces(encoding):
            ids += [self.ids.get(piece, self._unk) for piece in pieces]
            spans += _spans(pieces, start, end)
        return Encoded(ids, spans if offsets else None)

    def _pieces(self, encoding: Encoding) -> Iterator[tuple[list[str], Any]]:
        for number, piece, span in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True):
            if number in self._added and number != self._unk:
                yield [self.tokens[number]], span  # the library's own piece holds the white space it swallowed
            elif number in self._digit_comma and ends_in_digit_comma(piece):
                yield self._resplit(piece), span
            else:
                yield [piece], span

    def _resplit_uncached(self, piece: str) -> list[str]:
        return resplit_digit_comma(piece, lambda text: self.tokenizer.encode(text, add_special_tokens=False).tokens)


def _spans(pieces: list[str], start: int, end: int) -> list[tuple[int, int]]:
    """Share out the characters of one piece among the pieces it was cut into, from its end."""
    spans = []
    for place, piece in enumerate(reversed(pieces), start=1):
        begin = start if place == len(pieces) else max(start, end - len(piece))
        spans.append((begin, end))
        end = begin
    return spans[::-1]
