"""The special tokens, tokens that a user adds, and how they bind the text around them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from albert_core.errors import TokenizerError

__all__ = ["SPECIAL_TOKENS", "AddedToken", "Part", "TokenSplitter", "require_special_tokens"]

SPECIAL_TOKENS = {
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "unk_token": "<unk>",
    "sep_token": "[SEP]",
    "pad_token": "<pad>",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


@dataclass(frozen=True)
class AddedToken:
    """A token that is found in text as it stands, before anything else happens to the text.

    Args:
        content: The token.
        lstrip: It swallows the white space before it.
        rstrip: It swallows the white space after it.
        single_word: It is found only where no letter or digit stands beside it.
        normalized: It is found in any case, if text is lower-cased.
        special: `skip_special_tokens` leaves it out.
    """

    content: str
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False
    special: bool = True

    @classmethod
    def of(cls, name: str, value: Any, special: bool = True) -> AddedToken:
        """From a string, the dict of a JSON file, or any object with `content`.

        Args:
            name: What it is called in an error; "mask_token" swallows the white space before it unless told.
            value: The token.
            special: Where a string or dict does not say.

        Raises:
            TokenizerError: It is none of these, or empty.
        """
        if isinstance(value, str):
            fields: Mapping[str, Any] = {"content": value, "lstrip": name == "mask_token"}
        elif isinstance(value, Mapping):
            fields = value
        else:
            fields = {field: getattr(value, field, None) for field in ("content", *_FLAGS)}
        content = fields.get("content")
        if not isinstance(content, str) or not content:
            raise TokenizerError(None, f"{name}: expected a non-empty string, got {value!r}")
        defaults = {"special": special, "normalized": not special}
        given = {flag: fields.get(flag) for flag in _FLAGS}
        return cls(content, **{f: bool(defaults.get(f, False) if v is None else v) for f, v in given.items()})

    def as_json(self, name: str) -> str | dict[str, Any]:
        """As transformers writes it into its JSON files: the string alone where that says everything."""
        return self.content if self == AddedToken.of(name, self.content) else {"__type": "AddedToken", **vars(self)}


def require_special_tokens(tokens: Mapping[str, AddedToken], vocabulary: Container[str], path: Path | None) -> None:
    """Check that a vocabulary has every special token.

    Raises:
        TokenizerError: It lacks one; names it and the file.
    """
    for name, token in tokens.items():
        if token.content not in vocabulary:
            raise TokenizerError(path, f"expected a vocabulary with the {name} {token.content!r}")


class Part(NamedTuple):
    """A stretch of text, or an added token in it.

    Args:
        text: What stands there.
        start: Where it begins in the whole text, in characters.
        token: The added token that it is, or None.
    """

    text: str
    start: int
    token: str | None = None


class TokenSplitter:
    """Finds added tokens in text; where several start at one place, the longest wins.

    Args:
        tokens: The tokens.
        do_lower_case: Text is going to be lower-cased. Then tokens that are lower case are found in any case, because
            transformers' AlbertTokenizer (4.57) lower-cases text before it looks for them: "<PAD>" is "<pad>".
    """

    def __init__(self, tokens: Iterable[AddedToken], do_lower_case: bool) -> None:
        self._tokens = {token.content: token for token in tokens}
        self._pattern = re.compile(_any_of(self._tokens.values()))
        folded = [t for t in self._tokens.values() if do_lower_case and (t.normalized or t.content.islower())]
        self._by_lower_case = {token.content.lower(): token.content for token in folded}
        self._other_case = re.compile(_any_of(folded), re.IGNORECASE) if folded else None
        starts = {content[0] for content in self._tokens}
        self._starts = starts | {c.swapcase() for c in starts if self._other_case}

    def split(self, text: str) -> list[Part]:
        """The text and the added tokens in it, in order; empty stretches are left out."""
        if not any(start in text for start in self._starts):  # almost always, and much cheaper than the pattern
            return [Part(text, 0)]
        if self._other_case:
            text = self._other_case.sub(lambda found: self._by_lower_case.get(found[0].lower(), found[0]), text)
        parts: list[Part] = []
        done = 0
        for found in self._pattern.finditer(text):
            content, start = found[0], found.start()
            token = self._tokens[content]
            before = text[done:start].rstrip() if token.lstrip else text[done:start]
            if before:
                parts.append(Part(before, done))
            parts.append(Part(content, start, content))
            done = found.end()
            while token.rstrip and text[done : done + 1].isspace():
                done += 1
        return [*parts, Part(text[done:], done)] if done < len(text) else parts


def _any_of(tokens: Iterable[AddedToken]) -> str:
    longest_first = sorted(tokens, key=lambda token: len(token.content), reverse=True)
    return "|".join(
        rf"(?<!\w){re.escape(t.content)}(?!\w)" if t.single_word else re.escape(t.content) for t in longest_first
    )
