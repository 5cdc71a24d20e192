"""Tokens that a user adds to a vocabulary, and the special tokens' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from albert_core.errors import TokenizerError
from albert_core.tokenizer.special_tokens import SPECIAL_TOKENS, AddedToken
from albert_core.tokenizer.vocabulary import Vocabulary

__all__ = ["AddedTokens"]

_ADDITIONAL = ("additional_special_tokens", "extra_special_tokens")


class AddedTokens(Vocabulary):
    """The part of a tokenizer that lets its vocabulary grow."""

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Every special and every added token by its id."""
        by_id = {self.engine.ids[t.content]: t for t in (*self.special_tokens.values(), *self.added_tokens)}
        return {number: by_id[number] for number in sorted(by_id)}

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of special and added tokens, in their order."""
        return {token.content: number for number, token in self.added_tokens_decoder.items()}

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Let tokens be found in text as they stand; those the vocabulary lacks get the next ids.

        Args:
            new_tokens: A token or several: strings, or objects with `content`, `lstrip`, `rstrip`, `single_word`.
            special_tokens: `skip_special_tokens` leaves them out. Tokens that are not special, and those written in
                lower case, are found in any case where the tokenizer lower-cases text.

        Returns:
            How many ids are new. A model needs `resize_token_embeddings(len(tokenizer))` for them.

        Raises:
            TokenizerError: Something that is no token.
        """
        several = isinstance(new_tokens, Iterable) and not isinstance(new_tokens, str | Mapping)
        tokens = [AddedToken.of("new_tokens", t, special_tokens) for t in (new_tokens if several else [new_tokens])]
        known = set(self.special_tokens.values()) | set(self.added_tokens)
        before = len(self)
        fresh = [token for token in dict.fromkeys(tokens) if token not in known]
        self.engine.add(fresh)
        self.added_tokens += fresh
        return len(self) - before

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Name special tokens, adding to the vocabulary what it lacks.

        Args:
            special_tokens_dict: By attribute name, "additional_special_tokens" with a list; transformers 5 calls it
                "extra_special_tokens".
            replace_additional_special_tokens: The list's tokens are the only additional ones; earlier ones stay in the
                vocabulary as ordinary added tokens.

        Returns:
            How many ids are new.

        Raises:
            ValueError: A name that no special token has.
            TokenizerError: Something that is no token.
        """
        names = (*SPECIAL_TOKENS, *_ADDITIONAL)
        if wrong := [name for name in special_tokens_dict if name not in names]:
            raise ValueError(f"special_tokens_dict: expected keys of {', '.join(names)}, got {wrong[0]!r}")
        before = len(self)
        for name, value in special_tokens_dict.items():
            if name in _ADDITIONAL:
                self._add_additional(value, replace_additional_special_tokens)
            else:
                token = AddedToken.of(name, value)
                self.engine.add([token])
                self.special_tokens[name] = token
        return len(self) - before

    def set_special_token(self, name: str, value: Any) -> None:
        """What `tokenizer.mask_token = value` does, and `tokenizer.additional_special_tokens = values`.

        Raises:
            TokenizerError: The vocabulary lacks the token; `add_special_tokens` adds it.
        """
        tokens = [AddedToken.of(name, token) for token in (value if name == "additional_special_tokens" else [value])]
        if missing := [token.content for token in tokens if token.content not in self.engine.ids]:
            raise TokenizerError(None, f"{name}: expected a token of the vocabulary, got {missing[0]!r}")
        self.add_special_tokens({name: value})

    def _add_additional(self, value: Any, replace: bool) -> None:
        tokens = [AddedToken.of("additional_special_tokens", token) for token in value]
        if replace:
            keep = {token.content for token in tokens}
            plain = [t if t.content in keep else AddedToken(**{**vars(t), "special": False}) for t in self.added_tokens]
            self.added_tokens[:] = plain
        self.add_tokens(tokens, special_tokens=True)
