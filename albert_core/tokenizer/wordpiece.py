"""ALBERTs with BERT's vocabulary, the Chinese checkpoints above all.

Source of the rule: `tokenization.BasicTokenizer` and `tokenization.WordpieceTokenizer` of
https://github.com/google-research/bert, which the tokenizers library implements.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from albert_core.errors import TokenizerError
from albert_core.tokenizer.base import PretrainedTokenizer, check_flags
from albert_core.tokenizer.files import TOKENIZER_FILE, WORDPIECE_FILE, VocabularyFile
from albert_core.tokenizer.pipeline_engine import PipelineEngine
from albert_core.tokenizer.special_tokens import AddedToken, require_special_tokens
from albert_core.tokenizer.tokenizers_library import add_template, library_errors, load_tokenizer_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["WordPieceTokenizer"]


class WordPieceTokenizer(PretrainedTokenizer):
    """BERT's tokenizer, which some ALBERTs use; gives the ids of transformers 4.57's BertTokenizerFast."""

    saved_as = "BertTokenizer"
    engine: PipelineEngine

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        tokenizer_file: str | Path | None = None,
        *,
        do_lower_case: bool = True,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        unk_token: Any = "[UNK]",
        sep_token: Any = "[SEP]",
        pad_token: Any = "[PAD]",
        cls_token: Any = "[CLS]",
        mask_token: Any = "[MASK]",
        **common: Any,
    ) -> None:
        """Read a vocabulary.

        Args:
            vocab_file: A vocab.txt, one piece a line.
            tokenizer_file: A tokenizer.json, read if there is no vocab_file; how it cleans text stands in it.
            do_lower_case: Lower-case the text.
            tokenize_chinese_chars: Make each Chinese character a word.
            strip_accents: Drop accents; None means as `do_lower_case`.
            unk_token: Stands for what the vocabulary does not have.
            sep_token: Ends each text.
            pad_token: Fills rows of a batch.
            cls_token: Starts a row.
            mask_token: Stands for a token to be predicted.
            **common: As in AlbertTokenizer.

        Raises:
            NotFound: A file does not exist.
            TokenizerError: A file cannot be read, an option is none that a tokenizer can have, or the vocabulary
                lacks a special token.
            ValueError: `padding_side` is not "right".
        """
        check_flags({"do_lower_case": do_lower_case, "tokenize_chinese_chars": tokenize_chinese_chars})
        check_flags({} if strip_accents is None else {"strip_accents": strip_accents})
        self._rule = {"lowercase": do_lower_case, "strip_accents": strip_accents}
        self._rule["handle_chinese_chars"] = tokenize_chinese_chars
        self._vocabulary = None if vocab_file is None else VocabularyFile.read(vocab_file)
        self._json = None if tokenizer_file is None else VocabularyFile.read(tokenizer_file)
        self.vocab_file, self.tokenizer_file = vocab_file, tokenizer_file
        tokens = {"unk_token": unk_token, "sep_token": sep_token, "pad_token": pad_token, "cls_token": cls_token}
        mask = {"content": mask_token} if isinstance(mask_token, str) else mask_token  # swallows no white space
        super().__init__({**tokens, "mask_token": mask}, **common)

    @classmethod
    def _find_files(cls, source: Any, name_or_path: str | Path, options: dict[str, Any]) -> dict[str, Any]:
        files = {"vocab_file": source.file(WORDPIECE_FILE), "tokenizer_file": source.file(TOKENIZER_FILE)}
        if not any(files.values()):
            raise TokenizerError(name_or_path, f"expected a {WORDPIECE_FILE} or {TOKENIZER_FILE}, there is none")
        return files

    def _make_engine(self) -> PipelineEngine:
        if self._vocabulary is not None:
            pipeline = _build(self._vocabulary, self.special_tokens, self._rule)
        elif self._json is not None:
            pipeline = load_tokenizer_json(self._json)
        else:
            raise TokenizerError(None, "vocab_file: expected a vocab.txt or a tokenizer_file, got neither")
        return PipelineEngine(pipeline, self._path(), self.special_tokens)

    def _vocabulary_files(self) -> dict[str, bytes]:
        words = {WORDPIECE_FILE: self._vocabulary.content} if self._vocabulary else {}
        if self._vocabulary:
            add_template(self.engine.tokenizer, self.cls_token, self.sep_token)
        return {**words, TOKENIZER_FILE: self.engine.to_json().encode()}

    def _own_options(self) -> dict[str, Any]:
        names = {"lowercase": "do_lower_case", "handle_chinese_chars": "tokenize_chinese_chars"}
        return {names.get(name, name): value for name, value in self._rule.items()}

    def _path(self) -> Path | None:
        file = self._vocabulary or self._json
        return file and file.path


def _build(file: VocabularyFile, special_tokens: dict[str, AddedToken], rule: dict[str, Any]) -> Tokenizer:
    from tokenizers import (
        AddedToken as LibraryToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
    )

    ids = _read_vocabulary(file)
    unk = special_tokens["unk_token"]
    require_special_tokens({"unk_token": unk}, ids, file.path)
    with library_errors(file.path):
        tokenizer = Tokenizer(models.WordPiece(ids, unk_token=unk.content))
        tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, **rule)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
        known = [token for token in special_tokens.values() if token.content in ids]
        tokenizer.add_tokens([LibraryToken(**vars(token)) for token in known])
    return tokenizer


def _read_vocabulary(file: VocabularyFile) -> dict[str, int]:
    try:
        lines = file.content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise TokenizerError(file.path, f"expected UTF-8 text, got a wrong byte at {error.start}") from error
    lines = lines[:-1] if lines[-1] == "" else lines
    return {line.removesuffix("\r"): number for number, line in enumerate(lines)}
