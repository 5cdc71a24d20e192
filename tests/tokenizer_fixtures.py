"""What the tokenizer tests share; a test file says `pytest_plugins = ["tokenizer_fixtures"]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizer_cases import BUNDLED, CLASSES, PUBLISHED, needs_published
from tokenizer_texts import sentences, wordpiece_vocabulary

from albert_core.tokenizer import AlbertTokenizer
from albert_core.tokenizer_training import train_tokenizer


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(sentences(400)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def folder(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that was trained here; its vocabulary has pieces that end in a digit and a comma."""
    target = tmp_path_factory.mktemp("trained") / "tokenizer"
    train_tokenizer(text_file, target, vocab_size=330)
    return target


@pytest.fixture(
    scope="session",
    params=["trained", BUNDLED, pytest.param(PUBLISHED, marks=needs_published)],
    ids=["trained", "bundled", "published"],
)
def vocab_file(request: pytest.FixtureRequest, folder: Path) -> Path:
    return folder / "spiece.model" if request.param == "trained" else request.param


@pytest.fixture(params=CLASSES, ids=["sentencepiece", "tokenizers"])
def cls(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def tokenizer(cls: Any, folder: Path) -> AlbertTokenizer:
    return cls(folder / "spiece.model")


@pytest.fixture(scope="session")
def wordpiece_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a Chinese checkpoint holds."""
    target = tmp_path_factory.mktemp("wordpiece")
    (target / "vocab.txt").write_text("\n".join(wordpiece_vocabulary()) + "\n", encoding="utf-8")
    return target
