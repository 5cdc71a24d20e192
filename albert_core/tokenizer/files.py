"""A tokenizer's files: where they come from and how they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from albert_core.errors import FormatError, NotFound
from albert_core.strict_json import parse_object
from albert_core.tokenizer.special_tokens import SPECIAL_TOKENS

__all__ = [
    "CONFIG_FILE",
    "MODEL_FILE",
    "SPECIAL_TOKENS_FILE",
    "TOKENIZER_FILE",
    "WORDPIECE_FILE",
    "VocabularyFile",
    "json_bytes",
    "read_options",
]

MODEL_FILE = "spiece.model"
WORDPIECE_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"

# never taken from a file: paths and code are not data, the rest follows from the other files
_IGNORED = (
    "self",
    "vocab_file",
    "tokenizer_file",
    "auto_map",
    "name_or_path",
    "special_tokens_map_file",
    "tokenizer_class",
    "special_tokens",
)


class VocabularyFile(NamedTuple):
    """A vocabulary file, read whole, so that a tokenizer outlives its files.

    Args:
        path: Where it stood.
        content: Its bytes.
    """

    path: Path
    content: bytes

    @classmethod
    def read(cls, path: str | Path) -> VocabularyFile:
        """Read the file.

        Raises:
            NotFound: There is none.
        """
        path = Path(path)
        if not path.is_file():
            raise NotFound(path=path, reason="expected a vocabulary file, there is none")
        return cls(path, path.read_bytes())


def read_options(config: Path | None, special_tokens: Path | None, tokenizer: Path | None) -> dict[str, Any]:
    """A constructor's arguments from the JSON files beside a vocabulary; tokenizer_config.json wins.

    Args:
        config: A tokenizer_config.json.
        special_tokens: A special_tokens_map.json.
        tokenizer: A tokenizer.json, in which alone transformers 5 says what was added to the vocabulary.

    Raises:
        FormatError: A file is no JSON object.
    """
    names = (*SPECIAL_TOKENS, "additional_special_tokens")
    tokens = {name: value for name, value in _read_json(special_tokens).items() if name in names}
    options = {name: value for name, value in _read_json(config).items() if name not in _IGNORED}
    given = {name: value for name, value in options.items() if name not in names or value is not None}
    return {**({} if "added_tokens_decoder" in given else _read_added(tokenizer)), **tokens, **given}


def _read_json(path: Path | None) -> dict[str, Any]:
    return {} if path is None else parse_object(path.read_bytes(), path, "tokenizer options")


def _read_added(tokenizer: Path | None) -> dict[str, Any]:
    """The tokens of a tokenizer.json that are none of its model's; what is malformed is for the library to say."""
    try:
        values = _read_json(tokenizer)
        size, added = len(values["model"]["vocab"]), values["added_tokens"]
        return {"added_tokens_decoder": {token["id"]: token for token in added if token["id"] >= size}}
    except (FormatError, KeyError, TypeError):
        return {}


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON as transformers writes it: sorted, indented, a line end at the end."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
