"""AlbertTokenizer and AlbertTokenizerFast: one surface over two engines that give the same ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from albert_core.errors import TokenizerError
from albert_core.tokenizer.encoding import TextEncoding, check_side
from albert_core.tokenizer.engine import Engine
from albert_core.tokenizer.files import (
    CONFIG_FILE,
    MODEL_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_FILE,
    VocabularyFile,
    json_bytes,
    read_options,
)
from albert_core.tokenizer.preprocessing import Preprocessing
from albert_core.tokenizer.special_tokens import SPECIAL_TOKENS, SpecialToken, require_special_tokens

__all__ = ["AlbertTokenizer", "AlbertTokenizerBase", "AlbertTokenizerFast"]

_UNLIMITED = int(1e30)  # what transformers writes when nobody gave a length


class AlbertTokenizerBase(TextEncoding):
    """ALBERT's tokenizer: Google's rule, and transformers' quote rule, over a sentencepiece unigram model."""

    slow: ClassVar[bool]

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        tokenizer_file: str | Path | None = None,
        *,
        do_lower_case: bool = True,
        remove_space: bool = True,
        keep_accents: bool = False,
        bos_token: Any = SPECIAL_TOKENS["bos_token"],
        eos_token: Any = SPECIAL_TOKENS["eos_token"],
        unk_token: Any = SPECIAL_TOKENS["unk_token"],
        sep_token: Any = SPECIAL_TOKENS["sep_token"],
        pad_token: Any = SPECIAL_TOKENS["pad_token"],
        cls_token: Any = SPECIAL_TOKENS["cls_token"],
        mask_token: Any = SPECIAL_TOKENS["mask_token"],
        sp_model_kwargs: dict[str, Any] | None = None,
        model_max_length: int | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        clean_up_tokenization_spaces: bool = False,
        digit_comma: bool | None = None,
        **extra: Any,
    ) -> None:
        """Read a vocabulary.

        Args:
            vocab_file: A spiece.model.
            tokenizer_file: A tokenizer.json; only AlbertTokenizerFast reads one. Then its ids hold: how it cleans text
                stands in it, and the next three options change nothing.
            do_lower_case: Lower-case the text.
            remove_space: Drop white space at both ends and join words by single spaces.
            keep_accents: Keep combining marks; otherwise text is decomposed (NFKD) and loses them.
            bos_token: First token of a sequence; not used by ALBERT's models.
            eos_token: Last token of a sequence; not used by ALBERT's models.
            unk_token: Stands for what the vocabulary does not have.
            sep_token: Ends each text.
            pad_token: Fills rows of a batch.
            cls_token: Starts a row.
            mask_token: Stands for a token to be predicted; swallows the white space before it.
            sp_model_kwargs: Subword sampling, AlbertTokenizer only: enable_sampling, nbest_size, alpha.
            model_max_length: Longest row of the model, in tokens; none if None.
            padding_side: "right"; "left" is refused, because ALBERT counts positions from the left.
            truncation_side: "right" or "left", the side that loses tokens.
            clean_up_tokenization_spaces: Default of `decode`.
            digit_comma: Apply the digit-comma rule after the pieces are cut; None means no for a tokenizer.json, whose
                ids hold, else yes.
            **extra: Other keys of a tokenizer_config.json, kept and written back.

        Raises:
            NotFound: A file does not exist.
            TokenizerError: A file cannot be read, an option is none that a tokenizer can have, or the vocabulary
                lacks a special token.
            ValueError: `padding_side` is not "right".
        """
        check_side(padding_side)
        flags = {"do_lower_case": do_lower_case, "remove_space": remove_space, "keep_accents": keep_accents}
        for name, value in flags.items():
            if not isinstance(value, bool):
                raise TokenizerError(None, f"{name}: expected True or False, got {value!r}")
        if truncation_side not in ("left", "right"):
            raise TokenizerError(None, f"truncation_side: expected 'left' or 'right', got {truncation_side!r}")
        if not isinstance(sp_model_kwargs, dict | None):
            raise TokenizerError(None, f"sp_model_kwargs: expected a dict, got {sp_model_kwargs!r}")
        tokens = (bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token)
        self.special_tokens = {n: SpecialToken.of(n, t) for n, t in zip(SPECIAL_TOKENS, tokens, strict=True)}
        self.preprocess = Preprocessing(**flags)
        self.sp_model_kwargs = dict(sp_model_kwargs or {})
        self.model_max_length = _length(model_max_length)
        self.padding_side, self.truncation_side = padding_side, truncation_side
        self.clean_up_tokenization_spaces = bool(clean_up_tokenization_spaces)
        self.digit_comma = tokenizer_file is None if digit_comma is None else bool(digit_comma)
        self.extra = extra
        self.vocab_file, self.tokenizer_file = vocab_file, tokenizer_file
        self._spiece = None if vocab_file is None else VocabularyFile.read(vocab_file)
        self._json = None if tokenizer_file is None else VocabularyFile.read(tokenizer_file)
        self.engine = self._make_engine()
        require_special_tokens(self.special_tokens, self.engine.ids, self._path())

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> Self:
        """Load from a folder, the bundled model's name or a hub id.

        Args:
            name_or_path: Where the files are: spiece.model or tokenizer.json, tokenizer_config.json,
                special_tokens_map.json. A tokenizer.json that was not written here wins over the spiece.model.
            **options: `revision`, `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`, and
                arguments of the constructor, which win over the files'.

        Raises:
            NotFound: There is no such folder.
            DownloadError: The hub cannot be reached, or has no such model.
            TokenizerError: There is no vocabulary of a kind that this class reads, or a file is malformed.
        """
        from albert_core.hub import LOCATE_OPTIONS, locate

        source = locate(name_or_path, **{key: options.pop(key) for key in LOCATE_OPTIONS if key in options})
        config = source.file(CONFIG_FILE)
        options = {**read_options(config, source.file(SPECIAL_TOKENS_FILE)), **options}
        files = {"vocab_file": source.file(MODEL_FILE)}
        ours = files["vocab_file"] and options.get("digit_comma")  # then built anew, so that options act
        if not (cls.slow or ours):
            files["tokenizer_file"] = source.file(TOKENIZER_FILE)
        if not any(files.values()):
            has = " (its vocab.txt holds a WordPiece vocabulary, another kind)" if source.file("vocab.txt") else ""
            wanted = MODEL_FILE if cls.slow else f"{MODEL_FILE} or {TOKENIZER_FILE}"
            raise TokenizerError(name_or_path, f"expected a {wanted}, there is none{has}")
        try:
            return cls(**{**options, **files})
        except TokenizerError as error:
            if error.facts["path"] is None and config is not None:
                raise TokenizerError(config, error.facts["reason"]) from error
            raise

    def save_pretrained(self, folder: str | Path) -> tuple[str, ...]:
        """Write everything that `from_pretrained` reads, atomically, and name the files.

        The folder opens in transformers too.

        Args:
            folder: Made if it does not exist; other files in it stay.
        """
        from albert_core.atomic import write_file, write_folder

        files = self._vocabulary_files() | {
            CONFIG_FILE: json_bytes(self._options()),
            SPECIAL_TOKENS_FILE: json_bytes(self._special_tokens_json()),
        }
        with write_folder(Path(folder)) as target:
            for name, content in files.items():
                write_file(target / name, content)
        return tuple(str(Path(folder) / name) for name in files)

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write spiece.model and tokenizer.json, as far as the tokenizer has them, and name the files.

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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path()}, vocab_size={self.vocab_size})"

    def _make_engine(self) -> Engine:
        raise NotImplementedError

    def _vocabulary_files(self) -> dict[str, bytes]:
        spiece = {MODEL_FILE: self._spiece.content} if self._spiece else {}
        return {**spiece, TOKENIZER_FILE: self.engine.to_json().encode()}

    def _options(self) -> dict[str, Any]:
        return {
            **self.extra,
            **vars(self.preprocess),
            **self._special_tokens_json(),
            "sp_model_kwargs": self.sp_model_kwargs,
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
            "digit_comma": self.digit_comma,
            "tokenizer_class": type(self).__name__,
        }

    def _special_tokens_json(self) -> dict[str, Any]:
        return {name: token.as_json(name) for name, token in self.special_tokens.items()}

    def _path(self) -> Path | None:
        file = self._spiece if self.slow else self._json or self._spiece
        return file and file.path


def _length(value: Any) -> int:
    if value is None:
        return _UNLIMITED
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise TokenizerError(None, f"model_max_length: expected a positive number of tokens, got {value!r}")
    return int(value)


class AlbertTokenizer(AlbertTokenizerBase):
    """ALBERT's tokenizer on the sentencepiece library; gives the ids of transformers 4.57's class of this name."""

    slow = True

    def _make_engine(self) -> Engine:
        from albert_core.tokenizer.sentencepiece_engine import SentencePieceEngine

        if self._spiece is None:
            raise TokenizerError(None, "vocab_file: expected a spiece.model, got none")
        return SentencePieceEngine(self._spiece, self.preprocess, self.special_tokens, self.sp_model_kwargs)


class AlbertTokenizerFast(AlbertTokenizerBase):
    """ALBERT's tokenizer on the tokenizers library.

    From a spiece.model it gives the ids of AlbertTokenizer, from a tokenizer.json that file's ids. Two differences
    remain: where two ways to cut a word score exactly the same ("000" as "0" "00" or "00" "0"), rounding decides, and
    the libraries round differently; and with `keep_accents` an accent right after a no-break space is lost.
    """

    slow = False

    def _make_engine(self) -> Engine:
        from albert_core.tokenizer.conversion import build_tokenizer
        from albert_core.tokenizer.tokenizers_engine import TokenizersEngine, load_tokenizer_json

        if self.sp_model_kwargs:
            raise TokenizerError(None, "sp_model_kwargs: expected none, only AlbertTokenizer samples subwords")
        if self._json is not None:
            tokenizer = load_tokenizer_json(self._json)
        elif self._spiece is not None:
            tokenizer = build_tokenizer(self._spiece, self.preprocess, self.special_tokens)
        else:
            raise TokenizerError(None, "vocab_file: expected a spiece.model or a tokenizer_file, got neither")
        lower = self.preprocess.do_lower_case
        return TokenizersEngine(tokenizer, self._path(), self.special_tokens, lower, self.digit_comma)
