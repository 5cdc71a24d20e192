"""AlbertTokenizer and AlbertTokenizerFast: one surface over two engines that give the same ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from albert_core.errors import TokenizerError
from albert_core.tokenizer.base import PretrainedTokenizer, check_flags
from albert_core.tokenizer.engine import Engine
from albert_core.tokenizer.files import MODEL_FILE, TOKENIZER_FILE, VocabularyFile
from albert_core.tokenizer.preprocessing import Preprocessing
from albert_core.tokenizer.special_tokens import SPECIAL_TOKENS

__all__ = ["AlbertTokenizer", "AlbertTokenizerBase", "AlbertTokenizerFast"]


class AlbertTokenizerBase(PretrainedTokenizer):
    """ALBERT's tokenizer: Google's rule, and transformers' quote rule, over a sentencepiece unigram model."""

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        tokenizer_file: str | Path | None = None,
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
        **common: Any,
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
            **common: additional_special_tokens, model_max_length, padding_side, truncation_side,
                clean_up_tokenization_spaces and others, see PretrainedTokenizer.

        Raises:
            NotFound: A file does not exist.
            TokenizerError: A file cannot be read, an option is none that a tokenizer can have, or the vocabulary
                lacks a special token.
            ValueError: `padding_side` is not "right".
        """
        flags = {"do_lower_case": do_lower_case, "remove_space": remove_space, "keep_accents": keep_accents}
        check_flags(flags)
        if not isinstance(sp_model_kwargs, dict | None):
            raise TokenizerError(None, f"sp_model_kwargs: expected a dict, got {sp_model_kwargs!r}")
        tokens = (bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token)
        self.preprocess = Preprocessing(**flags)
        self.sp_model_kwargs = dict(sp_model_kwargs or {})
        self.vocab_file, self.tokenizer_file = vocab_file, tokenizer_file
        self._spiece = None if vocab_file is None else VocabularyFile.read(vocab_file)
        self._json = None if tokenizer_file is None else VocabularyFile.read(tokenizer_file)
        super().__init__(dict(zip(SPECIAL_TOKENS, tokens, strict=True)), **common)

    @property
    def do_lower_case(self) -> bool:
        """Whether text is lower-cased."""
        return self.preprocess.do_lower_case

    @property
    def remove_space(self) -> bool:
        """Whether words are joined by single spaces."""
        return self.preprocess.remove_space

    @property
    def keep_accents(self) -> bool:
        """Whether combining marks stay."""
        return self.preprocess.keep_accents

    @classmethod
    def _find_files(cls, source: Any, name_or_path: str | Path, options: dict[str, Any]) -> dict[str, Any]:
        ours = options.pop("digit_comma", False)  # written here: made anew from the spiece.model, so that options act
        files = {"vocab_file": source.file(MODEL_FILE)}
        if not (cls.slow or (ours and files["vocab_file"])):
            files["tokenizer_file"] = source.file(TOKENIZER_FILE)
        if not any(files.values()):
            has = " (its vocab.txt holds a WordPiece vocabulary, another kind)" if source.file("vocab.txt") else ""
            wanted = MODEL_FILE if cls.slow else f"{MODEL_FILE} or {TOKENIZER_FILE}"
            raise TokenizerError(name_or_path, f"expected a {wanted}, there is none{has}")
        return files

    def _vocabulary_files(self) -> dict[str, bytes]:
        spiece = {MODEL_FILE: self._spiece.content} if self._spiece else {}
        return {**spiece, TOKENIZER_FILE: self.engine.to_json().encode()}

    def _own_options(self) -> dict[str, Any]:
        marker = {"digit_comma": self._json is None}  # see _find_files
        return {**vars(self.preprocess), "sp_model_kwargs": self.sp_model_kwargs, **marker}

    def _path(self) -> Path | None:
        file = self._spiece if self.slow else self._json or self._spiece
        return file and file.path


class AlbertTokenizer(AlbertTokenizerBase):
    """ALBERT's tokenizer on the sentencepiece library; gives the ids of transformers 4.57's class of this name."""

    slow = True
    saved_as = "AlbertTokenizer"

    def __init__(self, vocab_file: str | Path | None = None, *args: Any, **options: Any) -> None:
        """As the base; by position there is no `tokenizer_file`, as in transformers' class."""
        super().__init__(vocab_file, options.pop("tokenizer_file", None), *args, **options)

    def _make_engine(self) -> Engine:
        from albert_core.tokenizer.rule_engine import RuleEngine
        from albert_core.tokenizer.sentencepiece_segmenter import SentencePieceSegmenter

        if self._spiece is None:
            raise TokenizerError(None, "vocab_file: expected a spiece.model, got none")
        segmenter = SentencePieceSegmenter(self._spiece, self.sp_model_kwargs)
        return RuleEngine(self._spiece, self.preprocess, segmenter, self.special_tokens)


class AlbertTokenizerFast(AlbertTokenizerBase):
    """ALBERT's tokenizer on the tokenizers library.

    From a spiece.model it gives the ids of AlbertTokenizer, from a tokenizer.json that file's ids.
    """

    saved_as = "AlbertTokenizerFast"

    def _make_engine(self) -> Engine:
        from albert_core.tokenizer.pipeline_engine import PipelineEngine
        from albert_core.tokenizer.rule_engine import RuleEngine
        from albert_core.tokenizer.tokenizers_library import load_tokenizer_json
        from albert_core.tokenizer.word_segmenter import WordSegmenter

        if self.sp_model_kwargs:
            raise TokenizerError(None, "sp_model_kwargs: expected none, only AlbertTokenizer samples subwords")
        if self._json is not None:
            return PipelineEngine(load_tokenizer_json(self._json), self._json.path, self.special_tokens)
        if self._spiece is None:
            raise TokenizerError(None, "vocab_file: expected a spiece.model or a tokenizer_file, got neither")
        return RuleEngine(self._spiece, self.preprocess, WordSegmenter(self._spiece), self.special_tokens)
