"""The eight published models through all three backends, against the numbers that their owners' tests hold.

    python benchmarks/published.py [--models albert-base-v2,...] [--backends torch,tf,flax] [--revision R] [--pin]

Needs a network, or a filled hub cache. For each model: parameter counts, and the largest difference between the
backends on two sentences; for albert-base-v2 also the numbers of the integration tests of transformers and keras-hub,
and its fillings. A model that published.lock.json names is taken at that commit, any other at main, and the output says
which; `--pin` writes the commit of each model there whose every number was right. Exit code 6 when a number is off.
Sources: tests/models/albert of https://github.com/huggingface/transformers (4.57), albert_backbone_test.py of
https://github.com/keras-team/keras-hub (0.32), whose base preset was made from albert-base-v2.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "conversion")]

from albert_core.atomic import write_file
from albert_core.backends import BACKENDS, installed, load
from albert_core.config import PRESETS
from albert_core.errors import AlbertError, exit_code_of
from albert_core.hub import locate
from albert_core.pipelines import pipeline

LOCK = Path(__file__).with_suffix(".lock.json")  # model -> commit
UNPINNED, COMMIT = "main", re.compile("[0-9a-f]{40}")
DIFFERENT = 6
CLOSE, CLOSE_TO_KERAS_HUB = 1e-4, 1e-2  # what the owners' own tests allow
# of the encoder with its pooler
COUNTS = {"base": 11_683_584, "large": 17_683_968, "xlarge": 58_724_864, "xxlarge": 222_595_584}
ENCODER_IDS = np.array([[0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]])
ENCODER_SLICE = [[-0.6513, 1.5035, -0.2766], [-0.6515, 1.5046, -0.2780], [-0.6512, 1.5049, -0.2784]]
LOGITS_SLICE = [
    [4.595668, 0.74462754, -1.818147],
    [4.5954347, 0.7454184, -1.8188258],
    [4.5954905, 0.7448235, -1.8182316],
]
KERAS_HUB_SEQUENCE = [1.830863, 1.698645, -1.819195, -0.53382, -0.38114]  # of the first sentence
KERAS_HUB_POOLED = [0.328261, -0.415397, -0.388745, 0.156846, 0.657874]
FILLINGS = "Paris is the [MASK] of France.", ["capital", "capitol", "comune", "arrondissement", "bastille"]
BEST = "The capital of [MASK] is Paris.", "france", 0.81  # and its loss
SENTENCES = np.array([[2, 13, 1, 3], [2, 31, 23, 3]])

Finding = tuple[str, bool]


def check_model(name: str, backends: list[str], where: dict[str, Any]) -> Iterator[Finding]:
    """Counts, and agreement of the backends."""
    outputs = {}
    for backend in backends:
        model = _load(backend, "AlbertModel", name, where)
        count, expected = model.num_parameters(), COUNTS[name.split("-")[1]]
        yield f"{name} {backend}: {count} parameters, expected {expected}", count == expected
        outputs[backend] = np.asarray(model.run_numpy(input_ids=SENTENCES).last_hidden_state)
    for first, second in itertools.combinations(backends, 2):
        difference = float(np.abs(outputs[first] - outputs[second]).max())
        yield f"{name} {first} and {second}: largest difference {difference:.2g}", difference < CLOSE


def check_base_v2(name: str, backends: list[str], where: dict[str, Any]) -> Iterator[Finding]:
    """The numbers of its owners' integration tests, and what the model fills in."""
    mask = (np.arange(ENCODER_IDS.shape[1]) > 0).astype(np.int64)[None]
    for backend in backends:
        at = f"{name} {backend}:"
        encoder = _load(backend, "AlbertModel", name, where)
        hidden = encoder.run_numpy(input_ids=ENCODER_IDS, attention_mask=mask).last_hidden_state
        yield _compared(f"{at} encoder", hidden[0, 1:4, 1:4], ENCODER_SLICE)
        short = encoder.run_numpy(input_ids=SENTENCES[:1])
        sequence, pooled = short.last_hidden_state[0, 0, :5], short.pooler_output[0, :5]
        yield _compared(f"{at} keras-hub's encoder", sequence, KERAS_HUB_SEQUENCE, CLOSE_TO_KERAS_HUB)
        yield _compared(f"{at} keras-hub's pooler", pooled, KERAS_HUB_POOLED, CLOSE_TO_KERAS_HUB)
        whole = _load(backend, "AlbertForPreTraining", name, where)
        logits = whole.run_numpy(input_ids=np.arange(6)[None]).prediction_logits
        yield _compared(f"{at} masked LM", logits[0, :3, :3], LOGITS_SLICE)
        yield from _filled(at, pipeline("fill-mask", name, backend=backend, **where))


def _filled(at: str, fill: Any) -> Iterator[Finding]:
    text, expected = FILLINGS
    words = [candidate["token_str"].strip() for candidate in fill(text, top_k=5)]
    yield f"{at} {text} {words}", words == expected
    text, word, loss = BEST
    (best,) = fill(text, top_k=1)
    filling, found = best["token_str"].strip(), -float(np.log(best["score"]))
    yield f"{at} {text} {filling}, loss {found:.2f}", filling == word and abs(found - loss) < 0.01


def _load(backend: str, head: str, name: str, where: dict[str, Any]) -> Any:
    return getattr(load(backend), BACKENDS[backend].prefix + head).from_pretrained(name, dtype="float32", **where)


def _compared(what: str, got: Any, expected: Any, close: float = CLOSE) -> Finding:
    difference = float(np.abs(np.asarray(got) - np.asarray(expected)).max())
    return f"{what}: largest difference {difference:.2g}", difference < close


def check(name: str, backends: list[str], revision: str, pinned: bool) -> tuple[str, int]:
    """Check one model and print what was found; its commit, and how many numbers are off."""
    where, wrong = {"revision": revision}, 0
    commit = _commit(name, where)
    print(f"{name} at {commit} ({'pinned' if pinned else f'{revision}, not pinned'})", flush=True)
    findings = check_model(name, backends, where)
    if name == "albert-base-v2":
        findings = itertools.chain(findings, check_base_v2(name, backends, where))
    for text, right in findings:
        wrong += not right
        print(("ok    " if right else "WRONG ") + text, flush=True)
    return commit, wrong


def _commit(name: str, where: dict[str, Any]) -> str:
    """The commit in whose folder the hub's cache keeps a model's config."""
    config = locate(name, **where).file("config.json")
    return config.parent.name if config is not None else "unknown"


def run(arguments: argparse.Namespace) -> int:
    """Check every model, keep the lock file, and say how many numbers are off."""
    lock = json.loads(LOCK.read_text()) if LOCK.exists() else {}
    wrong = 0
    for name in arguments.models.split(","):
        pinned = arguments.revision is None and name in lock
        revision = arguments.revision or lock.get(name, UNPINNED)
        commit, off = check(name, arguments.backends.split(","), revision, pinned)
        wrong += off
        if arguments.pin and not off and COMMIT.fullmatch(commit):
            lock[name] = commit
            write_file(LOCK, (json.dumps(lock, indent=2, sort_keys=True) + "\n").encode())
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revision", help="a branch, tag or commit of every model, instead of the pinned one or main")
    parser.add_argument("--models", default=",".join(PRESETS))
    parser.add_argument("--backends", default=",".join(installed()))
    parser.add_argument("--pin", action="store_true", help=f"keep the commits of right models in {LOCK.name}")
    arguments = parser.parse_args()
    try:
        sys.exit(DIFFERENT if run(arguments) else 0)
    except AlbertError as error:
        parser.exit(exit_code_of(error), f"{error}\n")


if __name__ == "__main__":
    main()
