"""What every tokenizer has: options, and files to come from and go to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from albert_core.errors import TokenizerError
from albert_core.loader_options import check_save_options, split_options
from albert_core.strict_json import parse_object
from albert_core.tokenizer.encoding import TextEncoding
from albert_core.tokenizer.engine import Engine
from albert_core.tokenizer.files import CONFIG_FILE, SPECIAL_TOKENS_FILE, TOKENIZER_FILE, json_bytes, read_options
from albert_core.tokenizer.special_tokens import AddedToken, require_special_tokens

__all__ = ["PretrainedTokenizer", "check_flags"]

_UNLIMITED = int(1e30)  # what transformers writes when nobody gave a length


class PretrainedTokenizer(TextEncoding):
    """Base of the tokenizers; a subclass says which files it reads and makes the engine.

    Args:
        special_tokens: Named special tokens: strings, dicts of a JSON file, or objects with `content`.
        additional_special_tokens: More tokens that `skip_special_tokens` leaves out.
        extra_special_tokens: What transformers 5 calls additional_special_tokens. A dict, which transformers 4 has
            under this name, is kept and written back.
        added_tokens_decoder: Tokens by id as transformers writes them, special ones among them.
        model_max_length: Longest row of the model, in tokens; none if None.
        padding_side: "right"; "left" is refused, because ALBERT counts positions from the left.
        truncation_side: "right" or "left", the side that loses tokens.
        clean_up_tokenization_spaces: Default of `decode`.
        **extra: Other keys of a tokenizer_config.json, kept and written back.

    Raises:
        TokenizerError: An option is none that a tokenizer can have, or the vocabulary lacks a special token.
        ValueError: `padding_side` is not "right".
    """

    slow: ClassVar[bool] = False
    name_or_path: str = ""  # where from_pretrained found it
    saved_as: ClassVar[str]  # the class that transformers opens the files with

    def __init__(
        self,
        special_tokens: Mapping[str, Any],
        *,
        additional_special_tokens: Sequence[Any] | None = None,
        extra_special_tokens: Sequence[Any] | Mapping[str, Any] | None = None,
        added_tokens_decoder: Mapping[Any, Any] | None = None,
        model_max_length: int | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        clean_up_tokenization_spaces: bool = False,
        **extra: Any,
    ) -> None:
        self.padding_side = padding_side
        if isinstance(extra_special_tokens, Mapping):
            extra, extra_special_tokens = {**extra, "extra_special_tokens": extra_special_tokens}, None
        more = {"additional_special_tokens": additional_special_tokens, "extra_special_tokens": extra_special_tokens}
        for name, tokens in more.items():
            if not isinstance(tokens, list | tuple | None):
                raise TokenizerError(None, f"{name}: expected a list of tokens, got {tokens!r}")
        if truncation_side not in ("left", "right"):
            raise TokenizerError(None, f"truncation_side: expected 'left' or 'right', got {truncation_side!r}")
        known = _decoded(added_tokens_decoder)
        given = {
            name: known.get(token, token) if isinstance(token, str) else token for name, token in special_tokens.items()
        }
        self.special_tokens = {name: AddedToken.of(name, token) for name, token in given.items()}
        self.added_tokens: list[AddedToken] = []
        self.model_max_length = _length(model_max_length)
        self.truncation_side = truncation_side
        self.clean_up_tokenization_spaces = bool(clean_up_tokenization_spaces)
        self.extra = extra
        self.engine = self._make_engine()
        self._restore(known.values(), [token for tokens in more.values() for token in tokens or ()])
        require_special_tokens(self.special_tokens, self.engine.ids, self._path())

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Load from a folder, the bundled model's name or a hub id.

        Args:
            pretrained_model_name_or_path: Where the files are: a vocabulary, tokenizer_config.json,
                special_tokens_map.json. A tokenizer.json that was not written here wins over a spiece.model.
            **options: `revision`, `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`, and
                arguments of the constructor, which win over the files'.

        Raises:
            NotFound: There is no such folder.
            DownloadError: The hub cannot be reached, or has no such model.
            TokenizerError: There is no vocabulary of a kind that this class reads, or a file is malformed.
            ValueError: An argument of transformers asks for what is not done here; see `albert_core.loader_options`.
        """
        from albert_core.hub import locate

        where, options = split_options(options)
        name = pretrained_model_name_or_path
        return cls._from_source(locate(name, **where), name, options)

    @classmethod
    def _from_source(cls, source: Any, name_or_path: str | Path, options: dict[str, Any]) -> Self:
        config = source.file(CONFIG_FILE)
        saved = read_options(config, source.file(SPECIAL_TOKENS_FILE), source.file(TOKENIZER_FILE))
        options = {**saved, **options}
        try:
            files = cls._find_files(source, name_or_path, options)
            tokenizer = cls(**{**options, **files})
        except TokenizerError as error:
            if error.facts["path"] is None and config is not None:
                raise TokenizerError(config, error.facts["reason"]) from error
            raise
        tokenizer.name_or_path = str(name_or_path)
        tokenizer._compare_with(source.file("config.json"))
        return tokenizer

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> tuple[str, ...]:
        """Write everything that `from_pretrained` reads, atomically, and name the files.

        The folder opens in transformers too.

        Args:
            save_directory: Made if it does not exist; other files in it stay.
            **options: Other arguments of transformers, accepted where they change nothing.

        Raises:
            ValueError: An argument of transformers asks for other files; see `albert_core.loader_options`.
        """
        from albert_core.atomic import write_file, write_folder

        check_save_options(options)
        folder = Path(save_directory)
        files = self._vocabulary_files() | {
            CONFIG_FILE: json_bytes(self._options()),
            SPECIAL_TOKENS_FILE: json_bytes(self._special_tokens_json()),
        }
        with write_folder(folder) as target:
            for name, content in files.items():
                write_file(target / name, content)
        return tuple(str(folder / name) for name in files)

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the vocabulary's files, tokenizer.json among them, and name them.

        Args:
            save_directory: An existing folder.
            filename_prefix: Put before each name with a hyphen.
        """
        from albert_core.atomic import write_file

        prefix = f"{filename_prefix}-" if filename_prefix else ""
        files = {Path(save_directory) / f"{prefix}{name}": data for name, data in self._vocabulary_files().items()}
        for path, data in files.items():
            write_file(path, data)
        return tuple(map(str, files))

    @property
    def is_fast(self) -> bool:
        """Whether the tokenizers library does the work."""
        return not self.slow

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """What a tokenizer_config.json of it would hold."""
        return self._options()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path()}, vocab_size={self.vocab_size})"

    @classmethod
    def _find_files(cls, source: Any, name_or_path: str | Path, options: dict[str, Any]) -> dict[str, Any]:
        """The constructor's arguments that are files; takes from `options` what only says how to choose them."""
        raise NotImplementedError

    def _make_engine(self) -> Engine:
        raise NotImplementedError

    def _vocabulary_files(self) -> dict[str, bytes]:
        raise NotImplementedError

    def _path(self) -> Path | None:
        raise NotImplementedError

    def _own_options(self) -> dict[str, Any]:
        """What the subclass's constructor takes, files apart."""
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        return {
            **self.extra,
            **self._own_options(),
            **self._special_tokens_json(),
            "added_tokens_decoder": {str(i): vars(t) for i, t in self.added_tokens_decoder.items()},
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
            "tokenizer_class": self.saved_as,
        }

    def _special_tokens_json(self) -> dict[str, Any]:
        named: dict[str, Any] = {name: token.as_json(name) for name, token in self.special_tokens.items()}
        more = self.additional_special_tokens
        return {**named, "additional_special_tokens": more} if more else named

    def _compare_with(self, config: Path | None) -> None:
        """Warn of tokens that the model beside the vocabulary has no embeddings for."""
        size = None if config is None else parse_object(config.read_bytes(), config, "configuration").get("vocab_size")
        if isinstance(size, int) and size < len(self):
            warnings.warn(
                f"{config}: vocab_size is {size}, but the tokenizer has {len(self)} tokens; the model cannot look up"
                f" ids from {size} on (resize_token_embeddings makes room)",
                stacklevel=4,
            )

    def _restore(self, known: Iterable[dict[str, Any]], additional: Iterable[Any]) -> None:
        """Add what files say was added, under the ids that they say it had."""
        named = {token.content: token for token in self.special_tokens.values()}
        for token in known:
            if token["content"] in named:
                self.engine.add([named[token["content"]]])
            else:
                self.add_tokens([token])
            if (got := self.engine.ids[token["content"]]) != token["id"]:
                raise TokenizerError(
                    None, f"added_tokens_decoder: expected the id {got} for {token['content']!r}, got {token['id']}"
                )
        have = {token.content for token in self.added_tokens}
        tokens = [AddedToken.of("additional_special_tokens", token) for token in additional]
        self.add_tokens([token for token in tokens if token.content not in have], special_tokens=True)


def check_flags(flags: Mapping[str, Any]) -> None:
    """Refuse anything but True and False.

    Raises:
        TokenizerError: Something else; names it.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TokenizerError(None, f"{name}: expected True or False, got {value!r}")


def _decoded(added_tokens_decoder: Any) -> dict[str, dict[str, Any]]:
    """Tokens by content, in the order of their ids, from what transformers writes: {"4": {"content": ...}}."""
    if not added_tokens_decoder:
        return {}
    try:
        rows = [{**value, "id": int(number)} for number, value in added_tokens_decoder.items()]
        return {str(row["content"]): row for row in sorted(rows, key=lambda row: row["id"])}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenizerError(
            None, f"added_tokens_decoder: expected tokens by id, got {added_tokens_decoder!r}"
        ) from error


def _length(value: Any) -> int:
    if value is None:
        return _UNLIMITED
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer) or not 0 < value < float("inf"):
        raise TokenizerError(None, f"model_max_length: expected a positive number of tokens, got {value!r}")
    return int(value)
