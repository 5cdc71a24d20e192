"""The vocabularies of the tokenizer tests, and what transformers 4.57.6 answers with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED

from albert_core.hub import BUNDLED_MODEL, locate
from albert_core.tokenizer import AlbertTokenizer, AlbertTokenizerFast

CLASSES = [AlbertTokenizer, AlbertTokenizerFast]
PUBLISHED = SHARED / "data/tokenizer/spiece.model"
BUNDLED = locate(BUNDLED_MODEL).folder / "spiece.model"
GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden/tokenizer.json").read_text(encoding="utf-8"))
needs_published = pytest.mark.skipif(not PUBLISHED.exists(), reason="the published vocabulary is not in the project")
VOCABULARIES = {"bundled": BUNDLED, "published": PUBLISHED}
EACH_VOCABULARY = [
    pytest.param(name, path, id=name, marks=[needs_published] if path is PUBLISHED else [])
    for name, path in VOCABULARIES.items()
]
