"""What is special to the Keras backend: the ways to call, fit, `.keras`, mixed precision, packing, Keras on JAX."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest

keras = importlib.import_module("keras")
tf = importlib.import_module("tensorflow")

from albert_core import reference  # noqa: E402
from albert_core.config import AlbertConfig  # noqa: E402
from albert_core.outputs import MaskedLMOutput  # noqa: E402
from albert_core.parity_suite import labels_for, with_choices  # noqa: E402
from albert_core.recipes import PretrainingRecipe  # noqa: E402
from albert_tf.models import (  # noqa: E402
    TFAlbertForMaskedLM,
    TFAlbertForMultipleChoice,
    TFAlbertForPreTraining,
    TFAlbertForQuestionAnswering,
    TFAlbertForSequenceClassification,
    TFAlbertForTokenClassification,
    TFAlbertModel,
)
from albert_tf.optim import make_optimizer  # noqa: E402

FINE_TUNED = (
    TFAlbertForSequenceClassification,
    TFAlbertForMultipleChoice,
    TFAlbertForTokenClassification,
    TFAlbertForQuestionAnswering,
)
MODELS = (TFAlbertModel, TFAlbertForPreTraining, TFAlbertForMaskedLM, *FINE_TUNED)
SIZES = dict(
    vocab_size=37,
    embedding_size=6,
    hidden_size=12,
    num_attention_heads=3,
    intermediate_size=20,
    num_hidden_layers=2,
    num_hidden_groups=2,
    inner_group_num=2,
    max_position_embeddings=16,
    initializer_range=0.3,
)
ONE_LAYER = dict(num_hidden_layers=1, num_hidden_groups=1, inner_group_num=1)  # what is compiled stays small


def make_config(**changes):
    return AlbertConfig(**(SIZES | changes))


def make_batch(rows=4, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 37, (rows, 7))
    mask = np.ones_like(ids)
    mask[1, 4:] = 0
    mask[2] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": rng.integers(0, 2, (rows, 7))}


def make_labelled(rows=4, seed=0):
    batch = make_batch(rows, seed)
    labels = batch["input_ids"].copy()
    labels[:, ::3] = -100
    return batch | {"labels": labels}


def close(a, b, rtol=1e-6):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=rtol)


@pytest.fixture(scope="module")
def model():
    return TFAlbertForMaskedLM(make_config())


@pytest.fixture(scope="module")
def expected(model):
    return reference.forward(model.config, model.numpy_state(), make_batch(), "AlbertForMaskedLM")["logits"]


def functional(model, batch):
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in batch}
    return keras.Model(inputs, model(inputs).logits)(batch)


WAYS = {
    "keywords": lambda m, b: m(**b).logits,
    "dict": lambda m, b: m(b).logits,
    "list": lambda m, b: m(list(b.values())).logits,
    "positional": lambda m, b: m(*b.values()).logits,
    "int32 tensors": lambda m, b: m({k: tf.constant(v, tf.int32) for k, v in b.items()})["logits"],
    "flags in the dict": lambda m, b: m(b | {"return_dict": False})[0],
    "flags by position": lambda m, b: m(*b.values(), None, None, None, None, None, None, False)[0],
    "tf.function": lambda m, b: tf.function(m)(b).logits,
    "tf.function, any shape": lambda m, b: any_shape(m)(*b.values()).logits,
    "tf.function, XLA": lambda m, b: tf.function(lambda x: m(x), jit_compile=True)(b).logits,
    "functional": functional,
    "predict": lambda m, b: m.predict(b, batch_size=2, verbose=0).logits,
}


def any_shape(model):
    spec = tf.TensorSpec((None, None), tf.int64)
    return tf.function(lambda *arrays: model(*arrays), input_signature=(spec,) * 3)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_call_gives_the_same_logits(way, model, expected):
    close(WAYS[way](model, make_batch()), expected, 2e-5)


def test_masked_positions_and_relative_scores_take_symbolic_shapes():
    model = TFAlbertForMaskedLM(make_config(position_embedding_type="relative_key_query"))
    batch = {"input_ids": make_batch()["input_ids"], "masked_positions": np.array([[0, 6], [2, 0], [1, 1], [3, 5]])}
    expected = reference.forward(model.config, model.numpy_state(), batch, "AlbertForMaskedLM")["logits"]
    close(functional(model, batch), expected, 2e-5)


def test_predict_joins_batches_into_the_output_class(model):
    batch = make_labelled(5)
    out = model.predict(tf.data.Dataset.from_tensor_slices(batch).batch(2), verbose=0)
    assert isinstance(out, MaskedLMOutput)
    assert out.keys() == ("logits",)  # losses of single batches cannot be joined
    assert out.logits.shape == (5, 7, 37)


def test_call_has_the_signature_of_its_head():
    names = list(inspect.signature(TFAlbertForMaskedLM.call).parameters)
    assert names[:3] == ["self", "input_ids", "attention_mask"]
    assert names[-2:] == ["masked_positions", "training"]
    assert "labels" not in inspect.signature(TFAlbertModel.call).parameters
    assert "[B, S, V]" in TFAlbertForMaskedLM.call.__doc__


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_ids": np.array([[1, 37]])}, "input_ids: expected ids from 0 to 36 .*got 37"),
        ({"input_ids": np.ones((1, 17), int)}, "at most max_position_embeddings = 16, got 17"),
        ({"input_ids": np.ones((1, 3))}, "input_ids: expected an array of integers, got float"),
        (
            {"input_ids": np.ones((1, 3), int), "attention_mask": np.ones((1, 4), int)},
            r"attention_mask: .*got \[1, 4\]",
        ),
    ],
)
def test_bad_inputs_are_named(given, message, model):
    with pytest.raises(ValueError, match=message):
        model(given)


def test_unknown_inputs_are_named(model):
    with pytest.raises(TypeError, match="unexpected input 'tokens'"):
        model(tokens=np.array([[1]]))


# -- construction --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", tf.float64, np.float64, keras.dtype_policies.DTypePolicy("float64")])
def test_dtype_takes_names_policies_and_dtypes(dtype):
    model = TFAlbertModel(make_config(), dtype=dtype)
    assert {v.dtype for v in model.trainable_variables} == {"float64"}
    assert model(make_batch()).last_hidden_state.dtype == tf.float64


@pytest.mark.parametrize("cls", MODELS)
def test_every_variable_exists_after_construction(cls):
    model = cls(make_config())
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == model.num_parameters()
    before = len(model.variables)
    model(with_choices(make_batch()) if cls.signature.choices else make_batch())
    assert len(model.variables) == before


def test_initial_values_are_cut_normals_and_the_pad_row_is_zero():
    model = TFAlbertModel(make_config(vocab_size=3000, initializer_range=0.02))
    words = model.numpy_state()["albert.embeddings.word_embeddings.weight"]
    assert not words[0].any()
    assert np.abs(words).max() <= 0.04
    assert words[1:].std() == pytest.approx(0.02 * 0.8796, rel=0.02)  # the deviation of a normal cut at two
    model.init_weights()
    again = model.numpy_state()["albert.embeddings.word_embeddings.weight"]
    assert not again[0].any()
    assert (again[1:] != words[1:]).mean() > 0.99


def test_the_pad_row_gets_the_decoders_gradient_only():
    model = TFAlbertForMaskedLM(make_config())
    table = model.get_input_embeddings().embeddings
    for part, reached in ((model.albert, False), (model, True)):
        with tf.GradientTape() as tape:
            out = part(np.array([[3, 0, 0, 5]]))[0]
            value = tf.reduce_sum(out * np.arange(1, out.shape[-1] + 1))
        gradient = tf.convert_to_tensor(tape.gradient(value, table.value)).numpy()
        assert gradient[3].any()
        assert gradient[0].any() == reached


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_finish_places_the_model(device, model):
    moved = model._finish(device)
    assert "CPU:0" in moved.trainable_variables[0].value.device
    close(moved(make_batch()).logits, model(make_batch()).logits)
    assert model._finish(None) is model


# -- training ------------------------------------------------------------------------------------------------------


def test_dropout_acts_in_training_only():
    model, batch = TFAlbertForMaskedLM(make_config(hidden_dropout_prob=0.5)), make_batch()
    close(model(batch).logits, model(batch, training=False).logits, 0)
    assert np.abs(model(batch, training=True).logits - model(batch).logits).max() > 1e-3


@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
def test_attention_dropout_acts_in_both_implementations(attn_implementation):
    config = make_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    model = TFAlbertModel(config, attn_implementation=attn_implementation)
    out = model(make_batch(), training=True)[0] - model(make_batch())[0]
    assert np.abs(out).max() > 1e-3


@pytest.mark.parametrize(("jit_compile", "source"), [(True, "numpy"), (False, "tf.data")])
def test_fit_on_the_models_own_loss(jit_compile, source):
    keras.utils.set_random_seed(0)
    model, batch = TFAlbertForMaskedLM(make_config(**ONE_LAYER)), make_labelled(8)
    data = batch if source == "numpy" else tf.data.Dataset.from_tensor_slices(batch).batch(4)
    model.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    before = float(model(batch).loss)
    history = model.fit(data, epochs=6, batch_size=4, verbose=0, shuffle=False).history["loss"]
    assert history[-1] < 0.9 * before
    close(model.evaluate(batch, batch_size=8, verbose=0), model(batch).loss, 1e-5)


def test_fit_on_two_losses():
    model = TFAlbertForPreTraining(make_config(**ONE_LAYER))
    batch = make_labelled() | {"sentence_order_label": np.array([0, 1, -100, 1])}
    model.compile(optimizer="sgd", jit_compile=False)
    close(model.evaluate(batch, verbose=0), model(batch).loss, 1e-5)
    assert np.isfinite(model.fit(batch, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("cls", FINE_TUNED)
def test_fit_evaluate_and_predict_of_every_head(cls):
    model = cls(make_config(**ONE_LAYER))
    batch = with_choices(make_batch(8)) if cls.signature.choices else make_batch(8)
    labelled = batch | labels_for(model.config, cls.head_name, batch)
    model.compile(optimizer=keras.optimizers.SGD(0.2), jit_compile=False)
    losses = model.fit(labelled, epochs=8, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    close(model.evaluate(labelled, batch_size=8, verbose=0), model(labelled).loss, 1e-5)
    predicted = model.predict(labelled, batch_size=4, verbose=0)
    assert isinstance(predicted, cls.output_class)
    for name, value in model(batch).items():
        close(predicted[name], value, 1e-5)


@pytest.mark.parametrize("optimizer", ["lamb", "adamw"])
def test_the_optimizers_of_a_recipe_fit_and_are_kept(optimizer, tmp_path):
    recipe = PretrainingRecipe(optimizer=optimizer, total_steps=20, warmup_steps=1, learning_rate=0.01)
    model, batch = TFAlbertForMaskedLM(make_config(**ONE_LAYER)), make_labelled()
    model.compile(optimizer=make_optimizer(recipe), jit_compile=False)
    losses = model.fit(batch, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[1]
    model.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras").optimizer
    assert type(again) is type(model.optimizer)
    assert again.get_config() == model.optimizer.get_config()
    assert (again.decay, again.weight_decay) == (recipe.weight_decay, None), "Keras' own decay would come on top"
    for mine, theirs in zip(again.m + again.v, model.optimizer.m + model.optimizer.v, strict=True):
        close(mine, theirs, 0)


def test_a_users_loss_and_metric_of_both_ends_of_an_answer():
    model, batch = TFAlbertForQuestionAnswering(make_config(**ONE_LAYER)), make_batch()
    ends = {"start_positions": np.array([0, 1, 2, 3]), "end_positions": np.array([1, 1, 6, 5])}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss={"start": loss, "end": loss}, jit_compile=False)
    targets = {"start": ends["start_positions"], "end": ends["end_positions"]}
    for found in (model.evaluate(batch | ends, verbose=0), model.evaluate(batch, targets, verbose=0)):
        close(found[0], 2 * model(batch | ends).loss, 1e-5)  # Keras adds losses where ours is their mean
        close(found[0], sum(found[1:]), 1e-5)


def test_what_is_compiled_sees_a_change_of_the_model():
    model, batch = TFAlbertForMaskedLM(make_config(**ONE_LAYER)), make_batch()
    model.compile(optimizer="sgd", jit_compile=False)
    before = model.predict(batch, verbose=0).logits
    model.prune_heads({0: [0, 1]})
    after = model.predict(batch, verbose=0).logits
    assert np.abs(after - before).max() > 1e-6
    close(after, model(batch).logits, 1e-5)


@pytest.mark.parametrize("inside", [True, False])
def test_a_users_loss_and_metric_get_the_logits(inside):
    model, batch = TFAlbertForMaskedLM(make_config(**ONE_LAYER)), make_labelled()
    batch["labels"] = np.abs(batch["labels"]) % 37
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss=loss, metrics=["sparse_categorical_accuracy"], jit_compile=False)
    targets = batch["labels"] if inside else batch.pop("labels")
    expected = model(batch | {"labels": targets})
    got = model.evaluate(batch, None if inside else targets, verbose=0, return_dict=True)
    close(got["loss"], expected.loss, 1e-5)
    close(got["sparse_categorical_accuracy"], (np.argmax(expected.logits, -1) == targets).mean())


def test_a_users_losses_by_the_name_of_the_logits():
    model = TFAlbertForPreTraining(make_config(**ONE_LAYER))
    batch = make_batch() | {"labels": make_batch()["input_ids"], "sentence_order_label": np.array([0, 1, 0, 1])}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss={"prediction": loss, "sop": loss}, jit_compile=False)
    close(model.evaluate(batch, verbose=0, return_dict=True)["loss"], model(batch).loss, 1e-5)


def test_fit_without_a_loss_says_what_is_missing():
    model = TFAlbertForMaskedLM(make_config())
    model.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=r"no loss: expected labels among the inputs, or a loss in compile\(\)"):
        model.fit(make_batch(), verbose=0)


def test_all_labels_ignored_is_no_loss(model):
    assert float(model(make_batch() | {"labels": np.full((4, 7), -100)}).loss) == 0.0


# -- files, precision, packing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", MODELS)
def test_keras_file_round_trip(cls, tmp_path):
    model = cls(make_config(id2label={0: "no", 1: "yes", 2: "both"}), attn_implementation="eager", dtype="float64")
    model.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    assert type(again) is cls
    assert again.config == model.config
    assert (again.attn_implementation, again.name, again.dtype) == ("eager", model.name, "float64")
    batch = with_choices(make_batch()) if model.signature.choices else make_batch()
    close(again(batch)[0], model(batch)[0], 0)


def test_keras_file_keeps_what_was_compiled_and_the_missing_pooler(tmp_path):
    model = TFAlbertForMaskedLM(make_config(**ONE_LAYER))
    model.compile(optimizer="adam", jit_compile=False)
    model.fit(make_labelled(), verbose=0)
    model.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    assert int(again.optimizer.iterations) == 1
    close(again.evaluate(make_labelled(), verbose=0), model.evaluate(make_labelled(), verbose=0), 0)
    bare = TFAlbertModel(make_config(), add_pooling_layer=False)
    bare.save(tmp_path / "y.keras")
    assert keras.saving.load_model(tmp_path / "y.keras").pooler is None


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    model, wide = (TFAlbertForMaskedLM(make_config(**ONE_LAYER), dtype=dtype) for dtype in (policy, "float32"))
    wide.load_numpy_state(model.numpy_state())
    batch = make_labelled()
    out, expected = model(batch), wide(batch)
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert out.logits.dtype == policy.removeprefix("mixed_")
    assert out.loss.dtype == tf.float32
    close(out.loss, expected.loss, 0.05)
    model.compile(optimizer="sgd", jit_compile=False)
    assert np.isfinite(model.fit(batch, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_arrays_go_in_and_out_bit_for_bit(dtype):
    first, second = (TFAlbertForPreTraining(make_config(), dtype=dtype) for _ in range(2))
    state = first.numpy_state()
    second.load_numpy_state(state)
    for name, array in second.numpy_state().items():
        assert array.dtype.name == dtype
        assert array.tobytes() == state[name].tobytes(), name


class Adapter(keras.layers.Layer):
    """A low-rank addition to a Dense layer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.low = self.add_weight(shape=(12, 2), initializer="normal", name="low")
        self.high = self.add_weight(shape=(2, 12), initializer="ones", name="high")

    def call(self, x):
        return self.inner(x) + keras.ops.matmul(keras.ops.matmul(x, self.low), self.high)


def wrap(attention):
    attention.query = Adapter(attention.query)
    return attention.query.low


def enable_lora(attention):
    attention.query.enable_lora(2)
    attention.query.lora_kernel_b.assign(np.ones((2, 12)))
    return attention.query.lora_kernel_a


@pytest.mark.parametrize("adapt", [wrap, enable_lora])
def test_an_adapter_on_query_acts_and_gets_gradients(adapt):
    model = TFAlbertModel(make_config())
    attention = model.encoder.albert_layer_groups[0].albert_layers[1].attention
    assert attention.packed() is not None
    plain = model(make_batch())[0]
    weight = adapt(attention)
    assert attention.packed() is None
    with tf.GradientTape() as tape:
        out = model(make_batch())[0]
        loss = tf.reduce_sum(out**2)
    assert np.abs(out - plain).max() > 1e-4
    assert tape.gradient(loss, weight.value).numpy().any()
    assert any(v is weight for v in model.trainable_variables)


def test_lora_is_merged_into_what_is_read(tmp_path):
    model = TFAlbertForMaskedLM(make_config(**ONE_LAYER))
    attention = model.albert.encoder.albert_layer_groups[0].albert_layers[0].attention
    for layer, name in ((attention.query, "kernel"), (attention.dense, "kernel"), (model.get_input_embeddings(), None)):
        layer.enable_lora(2)
        added = getattr(layer, f"lora_{name or 'embeddings'}_b")
        added.assign(np.full(added.shape, 0.1))
    expected, state = model(make_batch()).logits, model.numpy_state()
    model.save_pretrained(tmp_path / "merged")
    close(TFAlbertForMaskedLM.from_pretrained(tmp_path / "merged")(make_batch()).logits, expected)
    model.load_numpy_state(state)
    close(model(make_batch()).logits, expected, 1e-5)  # the adapters' part is taken off in 32 bits
    model.export(tmp_path / "program")
    program = tf.saved_model.load(str(tmp_path / "program")).signatures["serving_default"]
    close(program(**{n: tf.constant(a, tf.int32) for n, a in make_batch().items()})["logits"], expected, 1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # both are Keras' own
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`:UserWarning")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantised_words_score_and_are_not_read(mode, tmp_path):
    model = TFAlbertForMaskedLM(make_config(**ONE_LAYER))
    expected = model(make_batch()).logits
    model.quantize(mode)
    assert np.abs(model(make_batch()).logits - expected).max() < {"int8": 0.2, "int4": 2}[mode]
    with pytest.raises(ValueError, match=f"word_embeddings.embeddings: expected floats, got .* {mode}"):
        model.save_pretrained(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_summary_is_keras_own(capsys):
    TFAlbertModel(make_config()).summary()
    assert "embeddings (AlbertEmbeddings)" in capsys.readouterr().out


# -- on every framework -------------------------------------------------------------------------------------------


PACKAGE = Path(sys.modules[TFAlbertModel.__module__].__file__).parent
LAYER_FILES = sorted(f"layers/{p.name}" for p in PACKAGE.glob("layers/*.py"))
MODEL_FILES = ["base.py", "fitting.py", "losses.py", "models.py", *LAYER_FILES]


@pytest.mark.parametrize("file", MODEL_FILES)
def test_no_file_of_the_models_names_tensorflow(file):
    source = (PACKAGE / file).read_text()
    assert "import tensorflow" not in source
    assert not re.search(r"\btf\.", source)
