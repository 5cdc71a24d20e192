"""Files of the Keras backend: SavedModels that run without this package, `.keras` files, weights stored once."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = importlib.import_module("keras")
tf = importlib.import_module("tensorflow")

import albert_tf  # noqa: E402
from albert_core.config import AlbertConfig  # noqa: E402
from albert_core.heads import HEADS  # noqa: E402
from albert_core.parity_suite import batch, drawn_state, with_choices  # noqa: E402
from albert_tf.export import export_model  # noqa: E402
from albert_tf.optim import Lamb  # noqa: E402

CONFIG = AlbertConfig(
    vocab_size=37, embedding_size=6, hidden_size=12, num_attention_heads=3, intermediate_size=20, num_hidden_layers=2,
    max_position_embeddings=16, initializer_range=0.3,
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]


def model_of(head: str, dtype: str = "float64", **changes: Any) -> Any:
    config = CONFIG.replace(**changes)
    model = getattr(albert_tf, "TF" + head)(config, dtype=dtype)
    model.load_numpy_state(drawn_state(config, head))
    return model


def inputs_of(head: str, rows: int, length: int) -> dict[str, np.ndarray]:
    found = batch(CONFIG, batch_size=rows, length=length)
    return with_choices(found) if HEADS[head].signature.choices else found


def run_python(code: str, *args: str, path: bool) -> str:
    """What a new process prints; the package can be found there only where `path` says so."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"PYTHONPATH": str(ROOT)} if path else {}
    command = [sys.executable, *(() if path else ("-P",)), "-c", code, *args]
    done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


WITHOUT_US = """
import json, sys
sys.modules["albert_tf"] = sys.modules["albert_core"] = None  # an installed one is not to be found either
from pathlib import Path
import numpy as np, tensorflow as tf
for folder in sorted(Path(sys.argv[1]).iterdir()):
    program = tf.saved_model.load(str(folder / "model")).signatures["serving_default"]
    for case in sorted(folder.glob("*.npz")):
        case = dict(np.load(case))
        given = {n.removeprefix("in "): tf.constant(a, tf.int32) for n, a in case.items() if n.startswith("in ")}
        wanted = {n: a for n, a in case.items() if not n.startswith("in ")}
        out = program(**given)
        assert out.keys() == wanted.keys(), (folder, sorted(out), sorted(wanted))
        for name, array in wanted.items():
            error = np.abs(out[name] - array).max() / np.abs(array).max()
            assert out[name].shape == array.shape and error < 1e-13, (folder, name, error)
    print(folder.name)
"""


def test_every_head_runs_in_a_process_without_this_package(tmp_path: Path) -> None:
    """Of any batch size and length, with names for what goes in and comes out."""
    for head in HEADS:
        more = {"output_hidden_states": True, "output_attentions": True} if head == "AlbertModel" else {}
        model = model_of(head, **more)
        model.export(tmp_path / head / "model")
        for rows, length in ((3, 7), (4, 16)):
            given, wanted = inputs_of(head, rows, length), {}
            for name, value in model.run_numpy(**given).items():
                wanted |= {f"{name}_{n}": a for n, a in enumerate(value)} if isinstance(value, tuple) else {name: value}
            np.savez(tmp_path / head / f"{rows}.npz", **wanted, **{f"in {name}": a for name, a in given.items()})
    assert run_python(WITHOUT_US, str(tmp_path), path=False).split() == sorted(HEADS)


def test_an_export_has_the_inputs_and_sizes_that_were_asked_for(tmp_path: Path) -> None:
    model = model_of("AlbertForMaskedLM", "float32")
    export_model(model, tmp_path / "x", inputs=("input_ids", "masked_positions"), batch=2, length=5)
    export_model(model, tmp_path / "x", inputs=("input_ids", "masked_positions"), batch=2, length=6)  # again, in place
    program = tf.saved_model.load(str(tmp_path / "x")).signatures["serving_default"]
    _, inputs = program.structured_input_signature
    assert {name: tuple(spec.shape) for name, spec in inputs.items()} == {
        "input_ids": (2, 6),
        "masked_positions": (2, None),
    }
    assert {name: tuple(spec.shape) for name, spec in program.structured_outputs.items()} == {"logits": (2, None, 37)}
    given = {"input_ids": np.ones((2, 6), np.int32), "masked_positions": np.array([[0, 3, 5], [1, 2, 2]], np.int32)}
    found = program(**{name: tf.constant(a) for name, a in given.items()})["logits"]
    np.testing.assert_allclose(found, model(given).logits, atol=1e-5)
    with pytest.raises(ValueError, match=r"inputs: expected some of .*, got labels"):
        export_model(model, tmp_path / "y", inputs=("input_ids", "labels"))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


SPECS = {name: keras.InputSpec(shape=(None, 7), dtype="int64") for name in ("input_ids", "attention_mask")}
SIGNATURES = [[SPECS], [tf.TensorSpec((None, 7), tf.int64)] * 2]


def test_export_takes_the_signatures_and_formats_of_keras(tmp_path: Path) -> None:
    model = model_of("AlbertForQuestionAnswering", "float32", num_hidden_layers=1)
    given = {name: array for name, array in inputs_of("AlbertForQuestionAnswering", 3, 7).items() if name in SPECS}
    expected = dict(model(given).items())
    for place, signature in enumerate(SIGNATURES):
        model.export(tmp_path / f"{place}", input_signature=signature)
        program = tf.saved_model.load(str(tmp_path / f"{place}")).signatures["serving_default"]
        assert program.structured_input_signature[1]["input_ids"] == tf.TensorSpec((None, 7), tf.int64, "input_ids")
        found = program(**{name: tf.constant(a, tf.int64) for name, a in given.items()})
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-5)
    sized = {name: keras.InputSpec(shape=(3, 7), dtype="int32") for name in SPECS}
    model.export(tmp_path / "x.tflite", format="litert", input_signature=sized, verbose=False)
    with pytest.warns(UserWarning, match="deprecated"):
        program = tf.lite.Interpreter(str(tmp_path / "x.tflite")).get_signature_runner()
    found = program(**{name: a.astype(np.int32) for name, a in given.items()})
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)
    with pytest.raises(TypeError, match="unexpected input 'tokens'"):
        model.export(tmp_path / "y", input_signature={"tokens": SPECS["input_ids"]})


# -- weights once ----------------------------------------------------------------------------------------------------


def h5_values(path: Path) -> int:
    """Values of trained weights in a Keras weights file; seeds and the like are integers."""
    h5py, sizes = importlib.import_module("h5py"), []
    with h5py.File(path) as file:
        file.visititems(lambda name, x: sizes.append(x.size if getattr(x, "dtype", np.dtype(int)).kind == "f" else 0))
    return sum(sizes)


@pytest.mark.parametrize("head", HEADS)
def test_every_file_holds_each_weight_once(head: str, tmp_path: Path) -> None:
    model = model_of(head, "float32")
    wanted = model.num_parameters()
    model.save(tmp_path / "x.keras")
    with zipfile.ZipFile(tmp_path / "x.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    assert h5_values(tmp_path / "model.weights.h5") == wanted
    model.save_weights(tmp_path / "y.weights.h5")
    assert h5_values(tmp_path / "y.weights.h5") == wanted
    model.save_pretrained(tmp_path / "safetensors")
    raw = (tmp_path / "safetensors" / "model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    again = sum(int(np.prod(header[n]["shape"])) for n in header if n == "predictions.decoder.bias")  # for its readers
    stored = sum(int(np.prod(entry["shape"])) for name, entry in header.items() if name != "__metadata__")
    assert stored - again == wanted
    other = getattr(albert_tf, "TF" + head)(CONFIG)
    other.load_weights(tmp_path / "y.weights.h5")
    for name, array in other.numpy_state().items():
        np.testing.assert_array_equal(array, model.numpy_state()[name])


def test_a_saved_model_holds_each_weight_once(tmp_path: Path) -> None:
    model = model_of("AlbertForPreTraining", "float32")
    model.export(tmp_path / "x")
    stored = tf.train.list_variables(str(tmp_path / "x" / "variables" / "variables"))
    assert sum(int(np.prod(shape)) for name, shape in stored if name.startswith("weights/")) == model.num_parameters()
    assert [name for name, _ in stored if not name.startswith("weights/")] == ["_CHECKPOINTABLE_OBJECT_GRAPH"]
    again = tf.saved_model.load(str(tmp_path / "x")).weights
    assert again.keys() == {p.name for p in model.own_parameters()}


# -- .keras ----------------------------------------------------------------------------------------------------------

WITH_US = """
import sys
import keras, albert_tf
import numpy as np
model = keras.saving.load_model(sys.argv[1])
assert type(model) is albert_tf.TFAlbertForSequenceClassification
assert type(model.optimizer).__name__ == "Lamb" and int(model.optimizer.iterations) == 1
case = dict(np.load(sys.argv[2]))
print(repr(model.evaluate(case, verbose=0)))
"""


def test_a_compiled_keras_file_needs_no_more_than_the_import(tmp_path: Path) -> None:
    head = "AlbertForSequenceClassification"
    model, given = model_of(head, "float32"), inputs_of(head, 4, 7) | {"labels": np.array([0, 1, 1, 0])}
    model.compile(Lamb(0.01), jit_compile=False)
    model.fit(given, verbose=0)
    model.save(tmp_path / "x.keras")
    np.savez(tmp_path / "x.npz", **given)
    found = run_python(WITH_US, str(tmp_path / "x.keras"), str(tmp_path / "x.npz"), path=True)
    assert float(found.split()[-1]) == pytest.approx(model.evaluate(given, verbose=0), rel=1e-6)
