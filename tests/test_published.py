"""benchmarks/published.py as a process, from end to end, with small weights that a local hub serves.

What it expects of the published models is put in place of their own numbers, as the float64 reference computes them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_hub import FakeHub, fake_hub

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.hub import BUNDLED_MODEL, locate
from albert_core.parameters import count
from albert_core.parity_suite import drawn_state
from albert_core.safetensors_file import save_safetensors
from albert_core.tokenizer import AutoTokenizer

SCRIPT = Path(__file__).parents[1] / "benchmarks/published.py"
HEAD, BASE, LARGE = "AlbertForPreTraining", "albert-base-v2", "albert-large-v1"
COMMITS = {f"albert/{BASE}": "b" * 40, f"albert/{LARGE}": "a" * 40}
CONFIG = AlbertConfig(
    vocab_size=8192,
    embedding_size=8,
    hidden_size=24,
    num_attention_heads=3,
    intermediate_size=32,
    num_hidden_layers=3,
    max_position_embeddings=64,
    initializer_range=0.2,
)
RUN = """
import json, sys
sys.path.insert(0, {folder!r})
import published
for name, value in json.loads({numbers!r}).items():
    setattr(published, name, value)
published.LOCK = published.Path({lock!r})
published.main()
"""


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return {name: value.astype(np.float32) for name, value in drawn_state(CONFIG, HEAD).items()}


@pytest.fixture(scope="module")
def numbers(state: dict[str, np.ndarray]) -> dict[str, Any]:
    """What published.py ought to find, under the names of its constants."""
    wide = {name: value.astype(np.float64) for name, value in state.items()}

    def run(head: str, **inputs: Any) -> dict[str, np.ndarray]:
        return reference.forward(CONFIG, wide, {name: np.asarray(value) for name, value in inputs.items()}, head)

    ids = [[0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]]
    short = run("AlbertModel", input_ids=[[2, 13, 1, 3]])
    (best, loss), *_ = filled(run, "The capital of [MASK] is Paris.")
    own = count(CONFIG, HEADS["AlbertModel"].all_parts())
    return {
        "COUNTS": {"base": own, "large": own},
        "ENCODER_SLICE": run("AlbertModel", input_ids=ids, attention_mask=[[0] + [1] * 10])["last_hidden_state"][
            0, 1:4, 1:4
        ].tolist(),
        "KERAS_HUB_SEQUENCE": short["last_hidden_state"][0, 0, :5].tolist(),
        "KERAS_HUB_POOLED": short["pooler_output"][0, :5].tolist(),
        "LOGITS_SLICE": run(HEAD, input_ids=[range(6)])["prediction_logits"][0, :3, :3].tolist(),
        "FILLINGS": ["Paris is the [MASK] of France.", [w for w, _ in filled(run, "Paris is the [MASK] of France.")]],
        "BEST": ["The capital of [MASK] is Paris.", best, loss],
    }


def filled(run: Any, text: str) -> list[tuple[str, float]]:
    """The five best pieces for the mask of a text, each with its loss."""
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODEL)
    ids = np.asarray(tokenizer(text)["input_ids"])
    logits = run("AlbertForMaskedLM", input_ids=ids[None])["logits"][0, ids == tokenizer.mask_token_id][0]
    losses = np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits
    return [(tokenizer.decode([int(i)]).strip(), float(losses[i])) for i in np.argsort(losses)[:5]]


@pytest.fixture
def hub(state: dict[str, np.ndarray]) -> Any:
    bundled = locate(BUNDLED_MODEL).folder
    assert bundled is not None
    files = {name: (bundled / name).read_bytes() for name in ("spiece.model", "tokenizer.json")}
    files["config.json"] = CONFIG.to_json_string().encode()
    with tempfile.TemporaryDirectory() as folder, fake_hub() as server:
        save_safetensors(Path(folder, "model.safetensors"), state)
        files["model.safetensors"] = Path(folder, "model.safetensors").read_bytes()
        server.repos, server.commits = dict.fromkeys(COMMITS, files), dict(COMMITS)
        yield server


class Published:
    """The script with other numbers and a lock file of its own."""

    def __init__(self, hub: FakeHub, numbers: dict[str, Any], root: Path) -> None:
        self.hub, self.numbers, self.root, self.lock = hub, numbers, root, root / "published.lock.json"

    def run(self, *options: str, **changed: Any) -> subprocess.CompletedProcess[str]:
        numbers = json.dumps({**self.numbers, **changed})
        code = RUN.format(folder=str(SCRIPT.parent), numbers=numbers, lock=str(self.lock))
        env = {**os.environ, "HF_ENDPOINT": self.hub.endpoint, "HF_HOME": str(self.root), "HF_HUB_OFFLINE": "0"}
        env |= {"NO_PROXY": "127.0.0.1,localhost", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-c", code, *options]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


@pytest.fixture
def published(hub: FakeHub, numbers: dict[str, Any], tmp_path: Path) -> Published:
    return Published(hub, numbers, tmp_path)


def test_a_pin_is_honoured_and_a_right_model_is_pinned(published: Published) -> None:
    published.lock.write_text(json.dumps({BASE: COMMITS[f"albert/{BASE}"]}))
    done = published.run("--models", f"{BASE},{LARGE}", "--backends", "torch", "--pin")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{BASE} at {'b' * 40} (pinned)"
    assert f"{LARGE} at {'a' * 40} (main, not pinned)" in lines
    assert sum(line.startswith("ok    ") for line in lines) == len(lines) - 2 == 8
    assert any(f"/{BASE}/resolve/{'b' * 40}/" in request for request in published.hub.requests)
    assert not any(f"/{BASE}/resolve/main/" in request for request in published.hub.requests)
    assert json.loads(published.lock.read_text()) == {BASE: "b" * 40, LARGE: "a" * 40}


def test_a_number_that_is_off_is_code_6_and_pins_nothing(published: Published) -> None:
    text, word, loss = published.numbers["BEST"]
    done = published.run("--models", BASE, "--backends", "torch", "--pin", BEST=[text, word, loss + 0.02])
    assert done.returncode == 6, done.stderr
    assert [line.partition("loss")[0] for line in done.stdout.splitlines() if line.startswith("WRONG")] == [
        f"WRONG {BASE} torch: {text} {word}, "
    ]
    assert not published.lock.exists()


def test_a_commit_that_the_hub_has_not_is_one_line_and_a_code(published: Published) -> None:
    published.lock.write_text(json.dumps({BASE: "c" * 40}))
    done = published.run("--models", BASE, "--backends", "torch")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 1), done.stderr
    assert f"albert/{BASE}: has no revision '{'c' * 40}' on the hub" in done.stderr


@pytest.mark.long
def test_all_backends_agree(published: Published) -> None:
    done = published.run("--models", BASE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("largest difference") >= 3 + 3 * 4


def test_the_lock_file_names_commits_of_published_models() -> None:
    lock = json.loads(SCRIPT.with_suffix(".lock.json").read_text())
    assert lock
    assert all(len(commit) == 40 and int(commit, 16) for commit in lock.values())
