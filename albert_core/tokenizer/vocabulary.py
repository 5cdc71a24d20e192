"""Tokens and ids, and back to text: what needs the vocabulary but no text processing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, overload

from albert_core.tokenizer.engine import Engine
from albert_core.tokenizer.preprocessing import WORD_START
from albert_core.tokenizer.special_tokens import SPECIAL_TOKENS, SpecialToken

__all__ = ["Vocabulary"]

# written "do n't ." before, "don't." after clean-up
_CLEAN_UP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


class _Token:
    """A special token's text, read through its attribute name: `tokenizer.mask_token`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, tokenizer: Vocabulary, owner: type | None = None) -> str:
        return tokenizer.special_tokens[self._name].content


class _TokenId:
    """A special token's id: `tokenizer.mask_token_id`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.removesuffix("_id")

    def __get__(self, tokenizer: Vocabulary, owner: type | None = None) -> int:
        return tokenizer.engine.ids[tokenizer.special_tokens[self._name].content]


class Vocabulary:
    """The part of a tokenizer that maps tokens to ids and ids to text."""

    engine: Engine
    special_tokens: dict[str, SpecialToken]  # by attribute name
    clean_up_tokenization_spaces: bool

    bos_token, bos_token_id = _Token(), _TokenId()
    eos_token, eos_token_id = _Token(), _TokenId()
    unk_token, unk_token_id = _Token(), _TokenId()
    sep_token, sep_token_id = _Token(), _TokenId()
    pad_token, pad_token_id = _Token(), _TokenId()
    cls_token, cls_token_id = _Token(), _TokenId()
    mask_token, mask_token_id = _Token(), _TokenId()
    pad_token_type_id = 0

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Every special token by its attribute name."""
        return {name: self.special_tokens[name].content for name in SPECIAL_TOKENS}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        return list(dict.fromkeys(self.special_tokens_map.values()))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return [self.engine.ids[token] for token in self.all_special_tokens]

    @property
    def vocab_size(self) -> int:
        """Number of pieces of the model, added tokens not counted."""
        return self.engine.vocab_size

    def __len__(self) -> int:
        return len(self.engine.tokens)

    def get_vocab(self) -> dict[str, int]:
        """A new dict from every token to its id."""
        return dict(self.engine.ids)

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int]:
        """The id of a token or the ids of several; the unknown id where the vocabulary has none."""
        if isinstance(tokens, str):
            return self.engine.ids.get(tokens, self.unk_token_id)
        return [self.engine.ids.get(token, self.unk_token_id) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """The token of an id or the tokens of several.

        Args:
            ids: An id, or any sequence of ids, arrays of the frameworks included.
            skip_special_tokens: Leave special tokens out; does not concern a single id.

        Raises:
            ValueError: An id that the vocabulary does not have; names it and its position.
        """
        numbers = _as_list(ids)
        if isinstance(numbers, int):
            return self._token(numbers, 0)
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token(number, place) for place, number in enumerate(numbers) if number not in skipped]

    def _token(self, number: int, place: int) -> str:
        if not 0 <= number < len(self):
            raise ValueError(f"ids: expected ids from 0 to {len(self) - 1}, got {number} at position {place}")
        return self.engine.tokens[number]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Join pieces to text; special tokens stand as they are, as transformers' AlbertTokenizer writes them."""
        special = set(self.all_special_tokens)
        text, run, after_special = "", [], False
        for token in tokens:
            if token in special:
                text += ("" if after_special else " ") + _join(run) + token
                run = []
            else:
                run.append(token)
            after_special = token in special
        return (text + _join(run)).strip()

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """The text of one sequence of ids.

        Args:
            token_ids: An id, a list, or a one-dimensional array of any framework.
            skip_special_tokens: Leave special tokens out.
            clean_up_tokenization_spaces: Take out the space before punctuation and English contractions; None does
                what the tokenizer's option of this name says.

        Raises:
            ValueError: An id that the vocabulary does not have.
        """
        numbers = _as_list(token_ids)
        numbers = [numbers] if isinstance(numbers, int) else numbers
        text = self.convert_tokens_to_string(self.convert_ids_to_tokens(numbers, skip_special_tokens))
        clean_up = clean_up_tokenization_spaces
        if self.clean_up_tokenization_spaces if clean_up is None else clean_up:
            for before, after in _CLEAN_UP:
                text = text.replace(before, after)
        return text

    def batch_decode(self, sequences: Sequence[Any] | Any, **options: Any) -> list[str]:
        """The text of each sequence of ids; options as in `decode`."""
        return [self.decode(sequence, **options) for sequence in sequences]


def _as_list(ids: Any) -> int | list[int]:
    ids = ids.numpy() if hasattr(ids, "numpy") else ids  # torch and tensorflow
    ids = ids.tolist() if hasattr(ids, "tolist") else ids
    return ids if isinstance(ids, int) else [int(number) for number in ids]


def _join(pieces: list[str]) -> str:
    return "".join(pieces).replace(WORD_START, " ").lstrip(" ")
