"""Store what the tokenizers of transformers 4.57.6 answer on texts of our own making.

    python tests/golden/make_tokenizer_golden.py      # in the environment of requirements-peers.txt

Ids of hand-written texts are stored whole; those of generated texts, and of held-out text that is not part of the
project, as digests. Where two ways to cut a word score exactly the same, sentencepiece's rounding decides: these are
the ids of sentencepiece 0.2.3.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
import tempfile
from pathlib import Path

import transformers

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tokenizer_calls import CALLS, WINDOWS  # noqa: E402
from tokenizer_texts import OPTIONS, chinese, fuzz, sentences, wordpiece_vocabulary  # noqa: E402

ROOT = HERE.parents[1]
SHARED = ROOT.parent / "shared"
VOCABULARIES = {
    "bundled": ROOT / "albert_core/bundled/albert-openstax/spiece.model",
    "published": SHARED / "data/tokenizer/spiece.model",
}
HELD_OUT = SHARED / "data/corpus/openstax.heldout.txt.xz"
TARGET = HERE / "tokenizer.json"
VERSION = "4.57.6"


def digest(ids: list[int]) -> str:
    return hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest()[:8]


def call(cls: type, vocabulary: Path, text: object, pair: object, options: dict) -> dict:
    options = dict(options)
    side = options.pop("truncation_side", "right")
    return dict(cls(str(vocabulary), truncation_side=side)(text, pair, **options))


def of_vocabulary(vocabulary: Path, texts: list[str]) -> dict:
    slow = transformers.AlbertTokenizer
    ids = {name: slow(str(vocabulary), **options) for name, options in OPTIONS.items()}
    generated = sentences(100, seed=1) + fuzz(2000, seed=1)
    return {
        "ids": {name: [one.encode(text) for text in texts] for name, one in ids.items()},
        "pieces": [ids["default"].tokenize(text) for text in texts],
        "decoded": [ids["default"].decode(ids["default"].encode(text)) for text in texts],
        "generated": {name: [digest(one.encode(text)) for text in generated] for name, one in ids.items()},
        "calls": [call(slow, vocabulary, *row) for row in CALLS],
    }


def windows(vocabulary: Path) -> list[dict]:
    fast = transformers.AlbertTokenizerFast
    options = {"return_overflowing_tokens": True}
    return [call(fast, vocabulary, text, pair, {**given, **options}) for text, pair, given in WINDOWS]


def of_wordpiece() -> dict:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(wordpiece_vocabulary()) + "\n", encoding="utf-8")
        for name, options in {
            "default": {},
            "cased": {"do_lower_case": False, "tokenize_chinese_chars": False},
        }.items():
            tokenizer = transformers.BertTokenizerFast(str(path), **options)
            encoded = [tokenizer(text, return_offsets_mapping=True) for text in chinese(1000, seed=2)]
            found[name] = [digest([e["input_ids"], [list(o) for o in e["offset_mapping"]]]) for e in encoded]
    return found


def held_out(vocabulary: Path) -> list[str]:
    tokenizer = transformers.AlbertTokenizer(str(vocabulary))
    with lzma.open(HELD_OUT, "rt", encoding="utf-8") as lines:
        return [digest(tokenizer.encode(line.rstrip("\n"))) for line in lines]


def main() -> None:
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, got {transformers.__version__}")
    texts = json.loads(TARGET.read_text(encoding="utf-8"))["texts"]
    golden = {
        "source": f"transformers {VERSION}, made by make_tokenizer_golden.py",
        "texts": texts,
        "vocabularies": {name: of_vocabulary(path, texts) for name, path in VOCABULARIES.items()},
        "windows": windows(VOCABULARIES["bundled"]),
        "wordpiece": of_wordpiece(),
        "held out": held_out(VOCABULARIES["published"]),
    }
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    TARGET.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
