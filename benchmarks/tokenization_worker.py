"""One runner of tokenization.py: holds a tokenizer, answers "time SLICE" and "output SLICE" on standard input.

It runs in our environment and in that of transformers 4.57.6, so it imports nothing before it knows its part.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def load(name: str, vocabulary: str) -> Any:
    if name.startswith("transformers"):
        import transformers

        transformers.logging.set_verbosity_error()
        return getattr(transformers, f"AlbertTokenizer{'Fast' if 'fast' in name else ''}")(vocabulary)
    from albert_core.tokenizer import AlbertTokenizer, AlbertTokenizerFast

    return (AlbertTokenizerFast if "fast" in name else AlbertTokenizer)(vocabulary)


def main() -> None:
    name, vocabulary, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    tokenizer = load(name, vocabulary)
    for request in sys.stdin:
        task, number = request.split()
        texts = json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
        gc.collect()
        start = time.perf_counter()
        ids = tokenizer(texts)["input_ids"]
        seconds = time.perf_counter() - start
        if task == "output":
            (folder / f"{name}.json").write_text(json.dumps(ids))
        print("answer", seconds, flush=True)


if __name__ == "__main__":
    main()
