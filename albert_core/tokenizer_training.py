"""Train a vocabulary as Google trained ALBERT's: a sentencepiece unigram model over preprocessed text.

Source: the `spm_train` line in the README of https://github.com/google-research/albert.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albert_core.errors import TokenizerError
from albert_core.text_files import read_paragraphs
from albert_core.tokenizer.preprocessing import Preprocessing

if TYPE_CHECKING:
    from albert_core.tokenizer import AlbertTokenizer

__all__ = ["train_tokenizer"]

_GOOGLE_SETTINGS: dict[str, Any] = {
    "model_type": "unigram",
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": -1,
    "eos_id": -1,
    "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
    "user_defined_symbols": ["(", ")", '"', "-", ".", "–", "£", "€"],
    "shuffle_input_sentence": True,
}
_MAX_LINE_BYTES = 4192  # sentencepiece drops longer sentences; we cut them at word ends instead
_PROGRESS_EVERY = 1000


def train_tokenizer(
    files: Sequence[str | Path] | str | Path,
    output_dir: str | Path,
    vocab_size: int = 30000,
    *,
    do_lower_case: bool = True,
    remove_space: bool = True,
    keep_accents: bool = False,
    character_coverage: float = 0.99995,
    max_lines: int = 10_000_000,
    model_max_length: int = 512,
    num_threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> AlbertTokenizer:
    """Train a vocabulary on text files and write it, with the tokenizer's options, into a folder.

    Ids are laid out as in the published models: <pad> 0, <unk> 1, [CLS] 2, [SEP] 3, [MASK] 4, then `( ) " - . – £ €`.
    Text is streamed line by line; equal files and arguments give an equal vocabulary.

    Args:
        files: Text files, plain, .gz or .xz.
        output_dir: Where the tokenizer goes; made if it does not exist. Nothing is written unless training succeeds.
        vocab_size: Number of pieces, the 13 fixed ones included.
        do_lower_case: As in AlbertTokenizer; decides what text the model is trained on.
        remove_space: As in AlbertTokenizer.
        keep_accents: As in AlbertTokenizer.
        character_coverage: Share of all characters that get a piece of their own.
        max_lines: Lines kept in memory; of a longer corpus a sample of this size is drawn.
        model_max_length: Longest sequence of the models that will use this tokenizer, in tokens.
        num_threads: Threads of the trainer. With more than one the last digits of the scores can differ between runs.
        progress: Called with the number of lines read, every 1,000 lines and at the end of the corpus.

    Returns:
        The tokenizer that was written.

    Raises:
        ValueError: No files, or a size or coverage that no vocabulary can have.
        NotFound: A file does not exist.
        FormatError: A file cannot be read as UTF-8 text.
        TokenizerError: The vocabulary is too large or too small for the corpus; names sentencepiece's limit.
    """
    from albert_core.atomic import write_file, write_folder
    from albert_core.tokenizer import AlbertTokenizer
    from albert_core.tokenizer.files import MODEL_FILE

    paths = [files] if isinstance(files, str | Path) else list(files)
    _check_arguments(paths, vocab_size, character_coverage)
    preprocess = Preprocessing(do_lower_case, remove_space, keep_accents)
    options: dict[str, Any] = {**vars(preprocess), "model_max_length": model_max_length}
    with write_folder(output_dir) as folder:  # which refuses what it cannot write before the work
        model = _train(
            _Corpus(paths, preprocess, progress),
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            input_sentence_size=max_lines,
            num_threads=num_threads,
        )
        write_file(folder / MODEL_FILE, model)
        AlbertTokenizer(folder / MODEL_FILE, **options).save_pretrained(folder)
    return AlbertTokenizer(Path(output_dir) / MODEL_FILE, **options)


def _check_arguments(paths: list[str | Path], vocab_size: int, character_coverage: float) -> None:
    if not paths:
        raise ValueError("files: expected at least one text file, got none")
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size < 1:
        raise ValueError(f"vocab_size: expected a positive integer, got {vocab_size!r}")
    if not 0 < character_coverage <= 1:
        raise ValueError(f"character_coverage: expected a number above 0 and at most 1, got {character_coverage!r}")


class _Corpus:
    """The lines as the trainer gets them; remembers an error, which the trainer would turn into text."""

    def __init__(
        self, paths: list[str | Path], preprocess: Preprocessing, progress: Callable[[int], None] | None
    ) -> None:
        self.paths = paths
        self.preprocess = preprocess
        self.progress = progress or (lambda lines: None)
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self._sentences()
        except Exception as error:
            self.error = error
            raise

    def _sentences(self) -> Iterator[str]:
        number = 0
        paragraphs = filter(None, chain.from_iterable(map(read_paragraphs, self.paths)))
        for number, line in enumerate(paragraphs, start=1):
            yield from _cut(self.preprocess(line))
            if number % _PROGRESS_EVERY == 0:
                self.progress(number)
        self.progress(number)


def _cut(line: str) -> Iterable[str]:
    if not line or len(line.encode()) <= _MAX_LINE_BYTES:
        return [line] if line else []
    width = _MAX_LINE_BYTES // 4  # characters; none has more than four bytes in UTF-8
    return textwrap.wrap(line, width, break_on_hyphens=False)


def _train(corpus: _Corpus, **settings: Any) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus), model_writer=model, minloglevel=2, **_GOOGLE_SETTINGS, **settings
        )
    except RuntimeError as error:
        if corpus.error is not None:
            raise corpus.error from None
        raise TokenizerError(None, _reason(str(error), settings["vocab_size"])) from error
    return model.getvalue()


def _reason(message: str, vocab_size: int) -> str:
    """Sentencepiece's message as one that names our argument."""
    if found := re.search(r"too high .*<= (\d+)", message):
        return f"vocab_size: the corpus gives at most {found[1]} pieces, got {vocab_size}"
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return f"vocab_size: the characters of the corpus alone need {found[1]} pieces, got {vocab_size}"
    if "sentences_.empty()" in message:
        return "files: expected some text, got none"
    return f"training failed: {message}"
