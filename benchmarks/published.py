"""The eight published models through all three backends, against the numbers that their owners' tests hold.

    python benchmarks/published.py [--revision REVISION] [--models albert-base-v2,...] [--backends torch,tf,flax]

Needs a network, or a filled hub cache. For each model: parameter counts, and the largest difference between the
backends on two sentences; for albert-base-v2 also the numbers of transformers' own integration tests and its fillings.
Prints the commit of every model that it ran, so that a run can be repeated with the same bytes. Exit code 6 when a
number is off.
Sources: tests/models/albert of https://github.com/huggingface/transformers (4.57).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "conversion")]

from albert_core.backends import BACKENDS, installed, load
from albert_core.config import PRESETS
from albert_core.hub import locate
from albert_core.pipelines import pipeline

CLOSE = 1e-4  # what the owners' own tests allow
DIFFERENT = 6
# of the encoder with its pooler
COUNTS = {"base": 11_683_584, "large": 17_683_968, "xlarge": 58_724_864, "xxlarge": 222_595_584}
ENCODER_IDS = np.array([[0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]])
ENCODER_SLICE = [[-0.6513, 1.5035, -0.2766], [-0.6515, 1.5046, -0.2780], [-0.6512, 1.5049, -0.2784]]
LOGITS_SLICE = [
    [4.595668, 0.74462754, -1.818147],
    [4.5954347, 0.7454184, -1.8188258],
    [4.5954905, 0.7448235, -1.8182316],
]
FILLINGS = ["capital", "capitol", "comune", "arrondissement", "bastille"]  # of "Paris is the [MASK] of France."
SENTENCE = np.array([[2, 13, 1, 3], [2, 31, 23, 3]])

Finding = tuple[str, bool]


def check_model(name: str, backends: list[str], where: dict[str, Any]) -> Iterator[Finding]:
    """Counts, and agreement of the backends."""
    outputs = {}
    for backend in backends:
        model = _load(backend, "AlbertModel", name, where)
        count, expected = model.num_parameters(), COUNTS[name.split("-")[1]]
        yield f"{name} {backend}: {count} parameters, expected {expected}", count == expected
        outputs[backend] = np.asarray(model.run_numpy(input_ids=SENTENCE).last_hidden_state)
    for first, second in itertools.combinations(backends, 2):
        difference = float(np.abs(outputs[first] - outputs[second]).max())
        yield f"{name} {first} and {second}: largest difference {difference:.2g}", difference < CLOSE


def check_base_v2(backends: list[str], where: dict[str, Any]) -> Iterator[Finding]:
    """The numbers of transformers' integration tests, and what the model fills in."""
    name = "albert-base-v2"
    mask = (np.arange(ENCODER_IDS.shape[1]) > 0).astype(np.int64)[None]
    for backend in backends:
        encoder = _load(backend, "AlbertModel", name, where)
        hidden = encoder.run_numpy(input_ids=ENCODER_IDS, attention_mask=mask).last_hidden_state
        yield _compared(f"{name} {backend}: encoder", hidden[0, 1:4, 1:4], ENCODER_SLICE)
        whole = _load(backend, "AlbertForPreTraining", name, where)
        logits = whole.run_numpy(input_ids=np.arange(6)[None]).prediction_logits
        yield _compared(f"{name} {backend}: masked LM", logits[0, :3, :3], LOGITS_SLICE)
        fill = pipeline("fill-mask", name, backend=backend)
        words = [candidate["token_str"].strip() for candidate in fill("Paris is the [MASK] of France.", top_k=5)]
        yield f"{name} {backend}: Paris is the {words} of France", words == FILLINGS
        (best,) = fill("The capital of [MASK] is Paris.", top_k=1)
        loss = -float(np.log(best["score"]))
        right = best["token_str"].strip() == "france" and abs(loss - 0.81) < 0.01
        yield f"{name} {backend}: the capital of {best['token_str']} is Paris, loss {loss:.2f}", right


def _load(backend: str, head: str, name: str, where: dict[str, Any]) -> Any:
    return getattr(load(backend), BACKENDS[backend].prefix + head).from_pretrained(name, dtype="float32", **where)


def _compared(what: str, got: Any, expected: Any) -> Finding:
    difference = float(np.abs(np.asarray(got) - np.asarray(expected)).max())
    return f"{what}: largest difference {difference:.2g}", difference < CLOSE


def _commit(name: str, where: dict[str, Any]) -> str:
    """The commit in whose folder the hub's cache keeps a model's config."""
    config = locate(name, **where).file("config.json")
    return config.parent.name if config is not None else "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revision", help="a branch, tag or commit of every model")
    parser.add_argument("--models", default=",".join(PRESETS))
    parser.add_argument("--backends", default=",".join(installed()))
    arguments = parser.parse_args()
    where, backends = {"revision": arguments.revision}, arguments.backends.split(",")
    wrong = 0
    for name in arguments.models.split(","):
        print(f"{name} at {_commit(name, where)}")
        findings = check_model(name, backends, where)
        for text, right in itertools.chain(
            findings, check_base_v2(backends, where) if name == "albert-base-v2" else ()
        ):
            wrong += not right
            print(("ok    " if right else "WRONG ") + text, flush=True)
    sys.exit(DIFFERENT if wrong else 0)


if __name__ == "__main__":
    main()
