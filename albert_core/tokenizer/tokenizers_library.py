"""The tokenizers library at arm's length: its errors and panics, and files it should open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from albert_core.errors import TokenizerError
from albert_core.tokenizer.files import VocabularyFile

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["add_template", "library_errors", "load_tokenizer_json"]


@contextmanager
def library_errors(path: Path | None) -> Iterator[None]:
    """Turn what the library raises, panics included, into TokenizerError.

    A panic of the Rust code derives from BaseException and its class cannot be imported, hence the name.
    """
    try:
        yield
    except TokenizerError:
        raise
    except Exception as error:
        raise TokenizerError(path, f"the tokenizers library refused it: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(path, f"the tokenizers library failed on it: {error}") from error


def load_tokenizer_json(file: VocabularyFile) -> Tokenizer:
    """A tokenizer.json, without the truncation and padding that it may ask for: those are the caller's to choose.

    Raises:
        TokenizerError: The library cannot read or run it.
    """
    from tokenizers import Tokenizer

    with library_errors(file.path):
        tokenizer = Tokenizer.from_buffer(file.content)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode("a")  # some faults show only at work
        return tokenizer


def add_template(tokenizer: Tokenizer, cls: str, sep: str) -> None:
    """Let a pipeline put special tokens around texts, for those who call it without us."""
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )
