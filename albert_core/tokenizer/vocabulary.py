"""Tokens and ids, and back to text: what needs the vocabulary but no text processing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, overload

from albert_core.tokenizer.engine import Engine
from albert_core.tokenizer.special_tokens import AddedToken

__all__ = ["Vocabulary", "as_list"]

# written "do n't ." before, "don't." after clean-up
_CLEAN_UP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


class _Token:
    """A special token's text, read and set through its attribute name: `tokenizer.mask_token`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, tokenizer: Vocabulary, owner: type | None = None) -> Any:
        token = tokenizer.special_tokens.get(self._name)
        return token and token.content

    def __set__(self, tokenizer: Vocabulary, value: Any) -> None:
        tokenizer.set_special_token(self._name, value)


class _TokenId:
    """A special token's id: `tokenizer.mask_token_id`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.removesuffix("_id")

    def __get__(self, tokenizer: Vocabulary, owner: type | None = None) -> Any:
        token = tokenizer.special_tokens.get(self._name)
        return token and tokenizer.engine.ids[token.content]


class Vocabulary:
    """The part of a tokenizer that maps tokens to ids and ids to text."""

    engine: Engine
    special_tokens: dict[str, AddedToken]  # by attribute name
    added_tokens: list[AddedToken]  # all others that were added, in the order of their ids
    clean_up_tokenization_spaces: bool

    bos_token, bos_token_id = _Token(), _TokenId()
    eos_token, eos_token_id = _Token(), _TokenId()
    unk_token, unk_token_id = _Token(), _TokenId()
    sep_token, sep_token_id = _Token(), _TokenId()
    pad_token, pad_token_id = _Token(), _TokenId()
    cls_token, cls_token_id = _Token(), _TokenId()
    mask_token, mask_token_id = _Token(), _TokenId()
    pad_token_type_id = 0

    def set_special_token(self, name: str, value: Any) -> None:
        """What `tokenizer.mask_token = value` does."""
        raise NotImplementedError

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens beside the named ones."""
        return [token.content for token in self.added_tokens if token.special]

    @additional_special_tokens.setter
    def additional_special_tokens(self, value: Sequence[Any]) -> None:
        self.set_special_token("additional_special_tokens", value)

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """Their ids."""
        return [self.engine.ids[token] for token in self.additional_special_tokens]

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """Every special token by its attribute name."""
        named: dict[str, Any] = {name: token.content for name, token in self.special_tokens.items()}
        more = self.additional_special_tokens
        return {**named, "additional_special_tokens": more} if more else named

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        named = [token.content for token in self.special_tokens.values()]
        return list(dict.fromkeys(named + self.additional_special_tokens))

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

    @property
    def vocab(self) -> dict[str, int]:
        """`get_vocab()`."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """A new dict from every token to its id."""
        return dict(self.engine.ids)

    def get_added_vocab(self) -> dict[str, int]:
        """A new dict from every special and every added token to its id."""
        contents = [*self.all_special_tokens, *(token.content for token in self.added_tokens)]
        return {token: self.engine.ids[token] for token in contents}

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int]:
        """The id of a token or the ids of several; the unknown id where the vocabulary has none."""
        ids, unknown = self.engine.ids, int(self.unk_token_id)
        return ids.get(tokens, unknown) if isinstance(tokens, str) else [ids.get(token, unknown) for token in tokens]

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
        numbers = _ids(ids)
        if isinstance(numbers, int):
            return self._token(numbers, 0)
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token(number, place) for place, number in enumerate(numbers) if number not in skipped]

    def _token(self, number: int, place: int) -> str:
        if not 0 <= number < len(self):
            raise ValueError(f"ids: expected ids from 0 to {len(self) - 1}, got {number} at position {place}")
        return self.engine.tokens[number]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Join pieces to text; special tokens stand as transformers' class writes them."""
        return self.engine.join(tokens)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> str:
        """The text of one sequence of ids.

        Args:
            token_ids: An id, a list, or a one-dimensional array of any framework.
            skip_special_tokens: Leave special tokens out.
            clean_up_tokenization_spaces: Take out the space before punctuation and English contractions; None does
                what the tokenizer's option of this name says.
            spaces_between_special_tokens: Accepted; as in transformers' fast class it changes nothing.

        Raises:
            ValueError: An id that the vocabulary does not have.
        """
        numbers = _ids(token_ids)
        numbers = [numbers] if isinstance(numbers, int) else numbers
        text = self.convert_tokens_to_string(self.convert_ids_to_tokens(numbers, skip_special_tokens))
        clean_up = clean_up_tokenization_spaces
        clean_up = self.clean_up_tokenization_spaces if clean_up is None else clean_up
        return self.clean_up_tokenization(text) if clean_up else text

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Take out the space before punctuation and English contractions."""
        for before, after in _CLEAN_UP:
            out_string = out_string.replace(before, after)
        return out_string

    def batch_decode(self, sequences: Sequence[Any] | Any, *args: Any, **options: Any) -> list[str]:
        """The text of each sequence of ids, lists or the rows of an array; options as in `decode`."""
        return [self.decode(sequence, *args, **options) for sequence in sequences]


def as_list(value: Any) -> Any:
    """An array of any framework as a list or number; anything else as it is."""
    value = value.numpy() if hasattr(value, "numpy") else value  # torch and tensorflow
    return value.tolist() if hasattr(value, "tolist") else value


def _ids(ids: Any) -> int | list[int]:
    ids = as_list(ids)
    return ids if isinstance(ids, int) else [int(number) for number in ids]
