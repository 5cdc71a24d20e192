"""Keras on JAX: the same classes pass the float32 gate, fit with our optimizers, and say what does not work there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("keras")

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parity import GATE
from albert_core.parity_suite import TINY, batch, drawn_state, labels_for, with_choices

ROOT = Path(__file__).resolve().parents[1]
CONFIG = AlbertConfig(**{**TINY, "num_hidden_layers": 2}, position_embedding_type="relative_key")
ON_JAX = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # Keras saving, as in pyproject
import keras, numpy as np
import albert_tf
from albert_core.config import AlbertConfig
from albert_core.parity import rho
from albert_tf.optim import AdamW, Lamb, RecipeSchedule

assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
folder, worst = Path(sys.argv[1]), 0.0
config = AlbertConfig.from_json_file(folder / "config.json")
for path in sorted(folder.glob("*.npz")):
    case = dict(np.load(path))
    kinds = ("in ", "out ", "w ")
    parts = {kind: {n.removeprefix(kind): a for n, a in case.items() if n.startswith(kind)} for kind in kinds}
    for attention in ("eager", "sdpa") if path.stem == "AlbertForMaskedLM" else ("sdpa",):
        model = getattr(albert_tf, "TF" + path.stem)(config, attn_implementation=attention)
        model.load_numpy_state(parts["w "])
        out = model(parts["in "])
        for name, wanted in parts["out "].items():
            worst = max(worst, rho(np.asarray(out[name]), wanted))
    if path.stem in ("AlbertForMaskedLM", "AlbertForQuestionAnswering"):
        kind = Lamb if path.stem == "AlbertForMaskedLM" else AdamW
        model.compile(kind(RecipeSchedule(0.02, 1, 40)))
        losses = model.fit(parts["in "], epochs=6, verbose=0).history["loss"]
        assert losses[-1] < losses[1], losses
        model.save(folder / "x.keras")
        again = keras.saving.load_model(folder / "x.keras")
        assert type(again.optimizer) is kind and int(again.optimizer.iterations) == 6
        assert again.evaluate(parts["in "], verbose=0) == model.evaluate(parts["in "], verbose=0)
        assert model.predict(parts["in "], verbose=0).keys() == tuple(n for n in parts["out "] if n != "loss")

classifier = albert_tf.TFAlbertForSequenceClassification(config)
refused = []
for action in (lambda: classifier.export(folder / "saved"), lambda: type(classifier)(config, dtype="float64")):
    try:
        action()
    except ValueError as error:
        refused.append(str(error))
print(json.dumps({"worst": worst, "refused": refused}))
"""


def test_every_head_and_a_fit(tmp_path: Path) -> None:
    CONFIG.save_pretrained(tmp_path)
    for head in HEADS:
        inputs = batch(CONFIG)
        inputs = with_choices(inputs) if HEADS[head].signature.choices else inputs
        inputs |= labels_for(CONFIG, head, inputs)
        state = drawn_state(CONFIG, head)
        found = reference.forward(CONFIG, state, inputs, head)
        wanted = {name: value for name, value in found.items() if not isinstance(value, tuple)}
        kinds = {"in ": inputs, "out ": wanted, "w ": state}
        np.savez(tmp_path / f"{head}.npz", **{kind + n: a for kind, named in kinds.items() for n, a in named.items()})
    env = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ON_JAX, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0 < found["worst"] < GATE["float32"]["forward"]
    export, float64 = found["refused"]
    assert export == "expected Keras on tensorflow to write a SavedModel, got jax"
    assert "float64 needs Keras on TensorFlow" in float64
