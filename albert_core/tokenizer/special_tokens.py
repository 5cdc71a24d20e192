"""The seven special tokens and how they bind the text around them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albert_core.errors import TokenizerError

__all__ = ["SPECIAL_TOKENS", "SpecialToken", "SpecialTokenSplitter", "require_special_tokens"]

SPECIAL_TOKENS = {
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "unk_token": "<unk>",
    "sep_token": "[SEP]",
    "pad_token": "<pad>",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True)
class SpecialToken:
    """A token that is found in text as it stands, before anything else happens to the text.

    Args:
        content: The token.
        lstrip: It swallows the white space before it.
        rstrip: It swallows the white space after it.
    """

    content: str
    lstrip: bool = False
    rstrip: bool = False

    @classmethod
    def of(cls, name: str, value: Any) -> SpecialToken:
        """From a string, the dict of a JSON file, or any object with `content`; [MASK] strips left unless told.

        Raises:
            TokenizerError: It is none of these, or empty.
        """
        if isinstance(value, dict):
            content, lstrip, rstrip = value.get("content"), value.get("lstrip"), value.get("rstrip")
        elif isinstance(value, str):
            content, lstrip, rstrip = value, name == "mask_token", False
        else:
            content, lstrip, rstrip = (getattr(value, field, None) for field in ("content", "lstrip", "rstrip"))
        if not isinstance(content, str) or not content:
            raise TokenizerError(None, f"{name}: expected a non-empty string, got {value!r}")
        return cls(content, bool(lstrip), bool(rstrip))

    def as_json(self, name: str) -> str | dict[str, Any]:
        """As transformers writes it into its JSON files: the string alone where that says everything."""
        if self == SpecialToken.of(name, self.content):
            return self.content
        binding = {"lstrip": self.lstrip, "rstrip": self.rstrip, "normalized": False, "single_word": False}
        return {"__type": "AddedToken", "content": self.content, "special": True, **binding}


def require_special_tokens(tokens: Mapping[str, SpecialToken], vocabulary: Container[str], path: Path | None) -> None:
    """Check that a vocabulary has every special token.

    Raises:
        TokenizerError: It lacks one; names it and the file.
    """
    for name, token in tokens.items():
        if token.content not in vocabulary:
            raise TokenizerError(path, f"expected a vocabulary with the {name} {token.content!r}")


class SpecialTokenSplitter:
    """Finds special tokens in text; where several start at one place, the longest wins.

    Args:
        tokens: The special tokens.
        do_lower_case: Text is going to be lower-cased, special tokens apart.
    """

    def __init__(self, tokens: Iterable[SpecialToken], do_lower_case: bool) -> None:
        self._tokens = {token.content: token for token in tokens}
        self._pattern = re.compile(f"({_any_of(self._tokens)})")
        lower = [content for content in self._tokens if do_lower_case and content == content.lower()]
        self._other_case = re.compile(_any_of(lower), re.IGNORECASE) if lower else None

    def fold_case(self, text: str) -> str:
        """Turn "<PAD>" into "<pad>": transformers lower-cases the text before it looks for special tokens."""
        return self._other_case.sub(lambda found: found[0].lower(), text) if self._other_case else text

    def split(self, text: str) -> list[str]:
        """Text and special tokens in turn: every second entry, from the second on, is a special token."""
        parts = self._pattern.split(text)
        for place in range(1, len(parts), 2):
            token = self._tokens[parts[place]]
            if token.lstrip:
                parts[place - 1] = parts[place - 1].rstrip()
            if token.rstrip:
                parts[place + 1] = parts[place + 1].lstrip()
        return parts


def _any_of(contents: Iterable[str]) -> str:
    return "|".join(re.escape(content) for content in sorted(contents, key=len, reverse=True))
