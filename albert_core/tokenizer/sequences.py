"""How one or two texts become a row: where the special tokens stand, and what the other columns hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from albert_core.tokenizer.added_tokens import AddedTokens

__all__ = ["Sequences", "arranged"]

T = TypeVar("T")


def arranged(parts: Sequence[Sequence[T]], first: T, last: T) -> list[T]:
    """`first A last` or `first A last B last`."""
    row = [first]
    for part in parts:
        row += part
        row.append(last)
    return row


class Sequences(AddedTokens):
    """The part of a tokenizer that knows `[CLS] A [SEP] B [SEP]`."""

    model_max_length: int

    @property
    def max_len_single_sentence(self) -> int:
        """Room for one text in the longest row, in tokens."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """Room for two texts in the longest row, in tokens."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a text, or a pair, gets."""
        return 3 if pair else 2

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """`[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, as ids."""
        return arranged(_parts(token_ids_0, token_ids_1), self.cls_token_id, self.sep_token_id)

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """0 for `[CLS] A [SEP]`, 1 for `B [SEP]`."""
        first = [0] * (len(token_ids_0) + 2)
        return first if token_ids_1 is None else first + [1] * (len(token_ids_1) + 1)

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 where `build_inputs_with_special_tokens` puts a special token, 0 elsewhere.

        Args:
            token_ids_0: Ids of the first text.
            token_ids_1: Ids of the second.
            already_has_special_tokens: `token_ids_0` is a whole row; every special token in it counts.
        """
        if already_has_special_tokens:
            special = set(self.all_special_ids)
            return [int(number in special) for number in token_ids_0]
        return arranged([[0] * len(part) for part in _parts(token_ids_0, token_ids_1)], 1, 1)


def _parts(first: Any, second: Any) -> list[Any]:
    return [first] if second is None else [first, second]
