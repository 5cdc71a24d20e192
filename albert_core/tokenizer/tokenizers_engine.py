"""Text to ids through the tokenizers library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albert_core.errors import TokenizerError
from albert_core.tokenizer.engine import Encoded
from albert_core.tokenizer.files import VocabularyFile
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


def load_tokenizer_json(file: VocabularyFile) -> Tokenizer:
    """A tokenizer.json, without the truncation and padding that it may ask for: those are the caller's to choose.

    Raises:
        TokenizerError: The library cannot read or run it.
    """
    from tokenizers import Tokenizer

    with library_errors(file.path):
        tokenizer = Tokenizer.from_buffer(file.content)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode("a")  # some faults show only at work
        return tokenizer


class TokenizersEngine:
    """A tokenizers pipeline, with the digit-comma rule as a thin pass after it.

    Args:
        tokenizer: The pipeline.
        path: The file it came from, for error messages.
        special_tokens: The special tokens by attribute name; the pipeline finds them itself.
        do_lower_case: Special tokens that are lower case are found in any case, as in the other engine.
        digit_comma: Apply the digit-comma rule; a tokenizer.json made elsewhere has its own.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        path: Path | None,
        special_tokens: Mapping[str, SpecialToken],
        do_lower_case: bool,
        digit_comma: bool,
    ) -> None:
        self.tokenizer = tokenizer
        self._path = path
        self._fold_case = SpecialTokenSplitter(special_tokens.values(), do_lower_case).fold_case if digit_comma else str
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=False)
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.tokens = [tokenizer.id_to_token(i) or "" for i in range(max(self.ids.values(), default=-1) + 1)]
        self._added = frozenset(tokenizer.get_added_tokens_decoder())
        self._unk = self.ids.get(special_tokens["unk_token"].content, 0)
        self._digit_comma = digit_comma_ids(self.ids, self._unk) if digit_comma else frozenset()
        self._resplits: dict[str, list[str]] = {}

    def encode(self, texts: list[str], offsets: bool = False) -> list[Encoded]:
        """See `Engine`."""
        with library_errors(self._path):
            found = self.tokenizer.encode_batch([self._fold_case(text) for text in texts], add_special_tokens=False)
        return [self._encoded(encoding, offsets) for encoding in found]

    def tokenize(self, text: str) -> list[str]:
        """See `Engine`."""
        with library_errors(self._path):
            encoding = self.tokenizer.encode(self._fold_case(text), add_special_tokens=False)
        return [piece for pieces, _ in self._pieces(encoding) for piece in pieces]

    def to_json(self) -> str:
        """See `Engine`."""
        return self.tokenizer.to_str(pretty=True)

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

    def _resplit(self, piece: str) -> list[str]:
        if piece not in self._resplits:
            self._resplits[piece] = resplit_digit_comma(
                piece, lambda text: self.tokenizer.encode(text, add_special_tokens=False).tokens
            )
        return self._resplits[piece]


def _spans(pieces: list[str], start: int, end: int) -> list[tuple[int, int]]:
    """Share out the characters of one piece among the pieces it was cut into, from its end."""
    spans = []
    for place, piece in enumerate(reversed(pieces), start=1):
        begin = start if place == len(pieces) else max(start, end - len(piece))
        spans.append((begin, end))
        end = begin
    return spans[::-1]
