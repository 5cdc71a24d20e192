"""Live against the owners of the formats in the two environments that `make peers` makes: theirs made anew and read
here, ours loaded there.

Long, and skipped where there is no such environment. `ALBERT_PEERS` and `ALBERT_PEERS_KERAS` name other Pythons than
those of .venv-peers (transformers 4.57.6) and .venv-peers-keras (keras-hub 0.32, tf-models-official 2.20).
"""

from __future__ import annotations

import os
import subprocess
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from albert_conversion.convert import convert, plan_of
from albert_conversion.opened import open_checkpoint
from conversion_cases import hub_epsilon, saved, tensors_of
from test_conversion_foreign import HEADS_OF, INPUTS

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.parity_suite import drawn_state

FOREIGN, ROOT = Path(__file__).parent / "foreign", Path(__file__).parents[1]
PEERS = Path(os.environ.get("ALBERT_PEERS", ROOT / ".venv-peers/bin/python"))
KERAS_PEERS = Path(os.environ.get("ALBERT_PEERS_KERAS", ROOT / ".venv-peers-keras/bin/python"))
OF_TRANSFORMERS = ("bin", "h5", "msgpack", "safetensors-tf", "safetensors-flax", "tf1")  # tf1 takes its values from bin
OF_KERAS = {
    "keras-hub": "AlbertForMaskedLM",
    "keras-hub-classifier": "AlbertForSequenceClassification",
    "keras-hub-backbone": "AlbertModel",
    "tf-models": "AlbertModel",
}
CLOSE = 1e-5  # both compute in float32

needs_peers = pytest.mark.skipif(not PEERS.exists(), reason="needs the environment of `make peers`")
needs_keras_peers = pytest.mark.skipif(not KERAS_PEERS.exists(), reason="needs the Keras environment of `make peers`")
pytestmark = pytest.mark.long


def run_there(python: Path, script: str, *args: object) -> None:
    command = [str(python), "-W", "ignore", str(FOREIGN / script), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def assert_close(got: dict[str, np.ndarray], outputs: Path, close: float) -> None:
    with np.load(outputs) as expected:
        assert expected.files
        assert max(np.abs(got[name] - expected[name]).max() for name in expected.files) < close


def computed_here(folder: Path, head: str, as_keras_hub: bool = False) -> dict[str, np.ndarray]:
    """What the float64 reference computes with a checkpoint that is recognised as `head`."""
    with open_checkpoint(folder) as opened:
        plan = plan_of(opened)
        state = {name: plan.state[name].astype(np.float64) for name in plan.state}
    assert plan.head == head
    with hub_epsilon() if as_keras_hub else nullcontext():
        return reference.forward(plan.config, state, INPUTS, plan.head)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    for kind in OF_TRANSFORMERS:
        run_there(PEERS, "make_foreign.py", kind, root)
    return root


@needs_peers
@pytest.mark.parametrize("kind", OF_TRANSFORMERS)
def test_theirs_is_read(kind: str, made: Path) -> None:
    assert_close(computed_here(made / kind, HEADS_OF[kind]), made / kind / "outputs.npz", CLOSE)


@needs_peers
@pytest.mark.parametrize("source", OF_TRANSFORMERS)
@pytest.mark.parametrize("target", ["bin", "h5", "msgpack"])
def test_ours_is_read_there(source: str, target: str, made: Path, tmp_path: Path) -> None:
    convert(made / source, tmp_path / "out", target)
    run_there(PEERS, "run_theirs.py", target, tmp_path / "out", tmp_path / "outputs.npz")
    with np.load(tmp_path / "outputs.npz") as got:
        assert_close(dict(got), made / source / "outputs.npz", CLOSE)
    assert tensors_of(tmp_path / "out").keys() == tensors_of(made / source).keys()


# -- keras-hub and TensorFlow's official models --------------------------------------------------------------------


@needs_keras_peers
@pytest.mark.parametrize("kind", OF_KERAS)
def test_theirs_of_keras_is_read(kind: str, tmp_path: Path) -> None:
    run_there(KERAS_PEERS, "make_foreign.py", kind, tmp_path)
    got = computed_here(tmp_path / kind, OF_KERAS[kind], as_keras_hub=True)
    assert_close(got, tmp_path / kind / "outputs.npz", CLOSE)


@needs_keras_peers
@pytest.mark.parametrize("head", ["AlbertModel", "AlbertForMaskedLM", "AlbertForSequenceClassification"])
def test_ours_is_a_preset_of_keras_hub(head: str, tmp_path: Path) -> None:
    config = AlbertConfig(
        vocab_size=11,
        embedding_size=3,
        hidden_size=6,
        num_attention_heads=2,
        intermediate_size=5,
        num_hidden_layers=4,
        num_hidden_groups=2,
        inner_group_num=2,
        max_position_embeddings=6,
        num_labels=3,
        initializer_range=0.2,
    )
    state = {name: value.astype(np.float32) for name, value in drawn_state(config, head, seed=0).items()}
    start = saved(tmp_path / "start", config, head, {n: a for n, a in state.items() if "decoder" not in n})
    convert(start, tmp_path / "preset", "keras-hub")
    run_there(KERAS_PEERS, "run_theirs.py", "keras-hub", tmp_path / "preset", tmp_path / "outputs.npz")
    assert_close(computed_here(start, head, as_keras_hub=True), tmp_path / "outputs.npz", CLOSE)
