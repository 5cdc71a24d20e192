"""What Keras users do: compile, fit, evaluate and predict in every form, callbacks, precision, optimizers."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

keras = importlib.import_module("keras")
tf = importlib.import_module("tensorflow")

from albert_core.config import AlbertConfig  # noqa: E402
from albert_tf.models import (  # noqa: E402
    TFAlbertForMaskedLM,
    TFAlbertForQuestionAnswering,
    TFAlbertForSequenceClassification,
    TFAlbertModel,
)
from albert_tf.optim import AdamW, Lamb, RecipeSchedule  # noqa: E402

CONFIG = AlbertConfig(
    vocab_size=37, embedding_size=6, hidden_size=12, num_attention_heads=3, intermediate_size=20, num_hidden_layers=1,
    max_position_embeddings=16, initializer_range=0.3, classifier_dropout_prob=0.0,
)  # fmt: skip
_RNG = np.random.default_rng(0)
IDS, LABELS = _RNG.integers(1, 37, (8, 7)), np.array([0, 1, 1, 0, 1, 0, 0, 0])
MASK = np.ones_like(IDS)
MASK[1, 4:] = 0
BATCH = {"input_ids": IDS, "attention_mask": MASK}
STATE = TFAlbertForSequenceClassification(CONFIG, dtype="float64").numpy_state()


def classifier(dtype: Any = "float64") -> Any:
    """A model that always starts alike."""
    model = TFAlbertForSequenceClassification(CONFIG, dtype=dtype)
    model.load_numpy_state(STATE)
    return model


def compiled(optimizer: Any = "sgd", dtype: Any = "float64", **options: Any) -> Any:
    model = classifier(dtype)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, **{"jit_compile": False} | options)
    return model


def difference(one: Any, other: Any) -> float:
    mine, theirs = (model.numpy_state() for model in (one, other))
    return max(float(np.abs(mine[name] - theirs[name]).max()) for name in mine)


@pytest.fixture(scope="module")
def plain() -> Any:
    """After two steps on half of the rows each."""
    model = compiled()
    model.fit(BATCH, LABELS, batch_size=4, shuffle=False, verbose=0)
    assert difference(model, classifier()) > 1e-4
    return model


# -- inputs, targets, weights ----------------------------------------------------------------------------------------


class Rows(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, place: int) -> Any:
        rows = slice(4 * place, 4 * place + 4)
        return {name: array[rows] for name, array in BATCH.items()}, LABELS[rows]


FORMS = {
    "list": lambda: (dict(x=[IDS, MASK], y=LABELS, batch_size=4), [IDS, MASK]),
    "tf.data": lambda: (dict(x=tf.data.Dataset.from_tensor_slices((BATCH, LABELS)).batch(4)), BATCH),
    "tf.data of a tuple": lambda: (dict(x=tf.data.Dataset.from_tensor_slices(((IDS, MASK), LABELS)).batch(4)), BATCH),
    "PyDataset": lambda: (dict(x=Rows()), BATCH),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_inputs_trains_alike(form: str, plain: Any) -> None:
    model = compiled()
    given, inputs = FORMS[form]()
    model.fit(**given, shuffle=False, verbose=0)
    assert difference(model, plain) < 1e-12
    np.testing.assert_allclose(model.predict(inputs, verbose=0).logits, plain(BATCH).logits, atol=1e-12)


@pytest.mark.parametrize("targets", ["array", pytest.param("dict", marks=pytest.mark.long)])
def test_targets_feed_the_models_own_loss(targets: str, plain: Any) -> None:
    model, given = classifier(), {"array": LABELS, "dict": {"labels": LABELS}}[targets]
    model.compile("sgd", metrics=["accuracy"], jit_compile=False)
    history = model.fit(BATCH, given, batch_size=4, shuffle=False, verbose=0).history
    assert difference(model, plain) < 1e-7  # Keras' own loss is float32
    assert history.keys() == {"loss", "accuracy"}
    expected = float(model(BATCH | {"labels": LABELS}).loss)
    assert model.evaluate(BATCH, given, verbose=0)[0] == pytest.approx(expected, rel=1e-6)


def test_a_pair_of_targets_feeds_the_models_own_loss() -> None:
    model = TFAlbertForQuestionAnswering(CONFIG)
    model.compile("sgd", jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices((BATCH, (LABELS, LABELS + 2))).batch(8)
    expected = float(model(BATCH | {"start_positions": LABELS, "end_positions": LABELS + 2}).loss)
    assert model.evaluate(data, verbose=0) == pytest.approx(expected, rel=1e-6)


def test_each_target_of_a_pair_meets_its_own_logits() -> None:
    model, start, end = TFAlbertForQuestionAnswering(CONFIG), LABELS, LABELS + 2
    logits = [model(BATCH)[place].numpy() for place in (0, 1)]
    rows = [np.log(np.exp(z).sum(-1)) - z[np.arange(8), y] for z, y in zip(logits, (start, end), strict=True)]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    pair, named = (BATCH, (start, end)), {"end_positions": end, "start_positions": start}
    forms = [(loss, pair), ([loss, loss], pair), ({"start": loss, "end": loss}, pair), (loss, (BATCH, named))]
    forms += [(loss, (BATCH | named,)), (loss, (tf.data.Dataset.from_tensor_slices(pair).batch(8),))]
    for losses, given in forms:
        model.compile("sgd", losses, run_eagerly=True)
        found = model.evaluate(*given, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(sum(part.mean() for part in rows), rel=1e-5)
        assert found["start_loss"] == pytest.approx(rows[0].mean(), rel=1e-5)
    model.compile("sgd", [loss, loss], loss_weights=[1, 10], metrics=[["accuracy"], []], run_eagerly=True)
    weights = np.arange(8.0), np.ones(8)
    found = model.evaluate(BATCH, (start, end), sample_weight=weights, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx((rows[0] * weights[0]).mean() + 10 * rows[1].mean(), rel=1e-5)
    assert found["start_accuracy"] == pytest.approx((logits[0].argmax(-1) == start).mean())
    with pytest.raises(ValueError, match="targets: expected 2, for start_positions and end_positions, got 3"):
        model.evaluate(BATCH, (start, end, end), verbose=0)


def test_weights_weigh_a_users_loss() -> None:
    per_row = np.where(LABELS == 1, 3.0, 0.5)
    by_row, by_class = compiled(), compiled(weighted_metrics=["accuracy"])
    by_row.fit(BATCH, LABELS, sample_weight=per_row, verbose=0)
    by_class.fit(BATCH, LABELS, class_weight={0: 0.5, 1: 3.0}, verbose=0)
    assert difference(by_row, by_class) < 1e-7
    logits = by_row(BATCH).logits.numpy()
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(8), LABELS]
    found = by_row.evaluate(BATCH, LABELS, sample_weight=per_row, verbose=0)
    assert found == pytest.approx((losses * per_row).mean(), rel=1e-5)


class Doubled(TFAlbertForSequenceClassification):
    """A user's subclass with a loss of its own, which is not one of `compile`."""

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *rest: Any, **options: Any) -> Any:
        return 2 * keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred.logits, from_logits=True))


def test_a_subclass_that_computes_the_loss_gets_the_targets() -> None:
    model = Doubled(CONFIG)
    model.compile("sgd", run_eagerly=True)
    expected = 2 * float(model(BATCH | {"labels": LABELS}).loss)
    assert model.evaluate(BATCH, LABELS, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.train_on_batch(BATCH, LABELS) == pytest.approx(expected, rel=1e-5)


def test_the_models_own_loss_refuses_weights() -> None:
    model = classifier()
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=r"sample_weight: expected a loss in compile\(\)"):
        model.fit(BATCH, LABELS, sample_weight=np.ones(8), verbose=0)


# -- ways to run -----------------------------------------------------------------------------------------------------


WAYS = [
    pytest.param(dict(jit_compile=True), marks=pytest.mark.long),
    dict(steps_per_execution=2),
    dict(run_eagerly=True),
]


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_every_way_to_run_gives_the_same_steps(options: dict[str, Any], plain: Any) -> None:
    model = compiled(**options)
    model.fit(BATCH, LABELS, batch_size=4, shuffle=False, verbose=0)
    assert difference(model, plain) < 1e-7
    found = model.evaluate(BATCH, LABELS, batch_size=4, verbose=0)
    assert found == pytest.approx(plain.evaluate(BATCH, LABELS, verbose=0), rel=1e-5)


def test_single_batches() -> None:
    model, other = compiled(metrics=["accuracy"]), compiled()
    before = other.test_on_batch(BATCH, LABELS)
    logs = model.train_on_batch(BATCH, LABELS, return_dict=True)
    other.fit(BATCH, LABELS, batch_size=8, verbose=0)
    assert logs.keys() == {"loss", "accuracy"}
    assert float(logs["loss"]) == pytest.approx(float(before), rel=1e-6)
    assert difference(model, other) < 1e-12
    np.testing.assert_allclose(model.predict_on_batch(BATCH).logits, model(BATCH).logits, atol=1e-12)


def test_callbacks(tmp_path: Any) -> None:
    calls = keras.callbacks
    model = compiled(Lamb(0.01), metrics=["accuracy"])
    found = model.fit(
        BATCH,
        LABELS,
        validation_data=(BATCH, LABELS),
        epochs=4,
        verbose=0,
        callbacks=[
            calls.EarlyStopping("val_loss", patience=1, min_delta=10.0, restore_best_weights=True),
            calls.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
            calls.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True),
            calls.TensorBoard(tmp_path / "board", histogram_freq=1),
            calls.LearningRateScheduler(lambda epoch, rate: rate / 2),
            calls.CSVLogger(tmp_path / "log.csv"),
            calls.BackupAndRestore(tmp_path / "backup"),
        ],
    )
    assert found.history["learning_rate"] == pytest.approx([0.005, 0.0025])  # stopped after the second
    assert (tmp_path / "log.csv").read_text().startswith("epoch,accuracy,learning_rate,loss,val_accuracy,val_loss\n0,")
    assert list((tmp_path / "board" / "train").iterdir())
    again = classifier()
    again.load_weights(tmp_path / "1.weights.h5")
    assert difference(again, model) == 0  # the best are those of the first epoch
    best = keras.saving.load_model(tmp_path / "best.keras")
    lowest = min(found.history["val_loss"])
    assert best.evaluate(BATCH, LABELS, verbose=0)[0] == pytest.approx(lowest, rel=1e-6)


# -- precision and optimizers ----------------------------------------------------------------------------------------


POLICIES = [("mixed_float16", Lamb), pytest.param("mixed_bfloat16", AdamW, marks=pytest.mark.long)]


@pytest.mark.parametrize(("policy", "kind"), POLICIES)
def test_mixed_precision_with_our_optimizers(policy: str, kind: Any, tmp_path: Any) -> None:
    model = compiled(kind(0.01), policy)
    losses = model.fit(BATCH, LABELS, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    assert isinstance(model.optimizer.inner_optimizer if scaled else model.optimizer, kind)
    model.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    assert again.dtype_policy.name == policy
    assert again.evaluate(BATCH, LABELS, verbose=0) == model.evaluate(BATCH, LABELS, verbose=0)
    assert isinstance(again.optimizer, type(model.optimizer))


def test_a_checkpoint_opens_under_a_policy(tmp_path: Any) -> None:
    classifier("float32").save_pretrained(tmp_path)
    load, policy = TFAlbertForSequenceClassification.from_pretrained, keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    found = [load(tmp_path, dtype="mixed_bfloat16"), load(tmp_path, dtype=policy)]
    found.append(TFAlbertForSequenceClassification.from_config(CONFIG, dtype="mixed_bfloat16"))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found.append(load(tmp_path))
        assert load(tmp_path, dtype="auto").dtype_policy.name == "float32"
    finally:
        keras.config.set_dtype_policy("float32")
    for model in found:
        assert model.dtype_policy == policy
        assert {v.dtype.name for v in model.numpy_state().values()} == {"float32"}
    np.testing.assert_array_equal(found[0](BATCH).logits, found[-1](BATCH).logits)


@pytest.mark.parametrize("kind", [Lamb, pytest.param(AdamW, marks=pytest.mark.long)])
def test_accumulated_gradients_make_the_step_of_the_whole_batch(kind: Any) -> None:
    whole, halves = compiled(kind(0.01)), compiled(kind(0.01, gradient_accumulation_steps=2))
    whole.fit(BATCH, LABELS, batch_size=8, verbose=0)
    halves.fit(BATCH, LABELS, batch_size=4, shuffle=False, verbose=0)
    assert difference(whole, classifier()) > 1e-3
    assert difference(whole, halves) < 1e-7


@pytest.mark.parametrize("kind", [Lamb, pytest.param(AdamW, marks=pytest.mark.long)])
def test_a_saved_fit_goes_on_with_the_same_bits(kind: Any, tmp_path: Any) -> None:
    rate = RecipeSchedule(0.01, warmup_steps=2, total_steps=9)
    whole, half = (compiled(kind(rate, bias_correction=True), "float32") for _ in range(2))
    whole.fit(BATCH, LABELS, batch_size=4, epochs=2, shuffle=False, verbose=0)
    half.fit(BATCH, LABELS, batch_size=4, shuffle=False, verbose=0)
    half.save(tmp_path / "half.keras")
    again = keras.saving.load_model(tmp_path / "half.keras")
    again.fit(BATCH, LABELS, batch_size=4, shuffle=False, verbose=0)
    assert difference(half, whole) > 1e-3
    assert difference(again, whole) == 0


@pytest.mark.parametrize("kind", [Lamb, AdamW])
def test_optimizers_come_back_from_their_config(kind: Any) -> None:
    own = {"betas": (0.5, 0.6), "eps": 1e-3, "weight_decay": 0.2, "bias_correction": True, "clipnorm": 1.0}
    made = kind(RecipeSchedule(0.1, 1, 9), **own)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert type(again) is kind
    assert again.get_config() == made.get_config()
    assert own.items() <= again.get_config().items()
    assert (again.betas, again.decay) == ((0.5, 0.6), 0.2)


@pytest.mark.parametrize("kind", [Lamb, AdamW])
def test_norms_and_what_was_excluded_do_not_decay(kind: Any) -> None:
    """In layers of any name, with gradients of zero and no list of variables."""
    norms = [keras.layers.BatchNormalization(name="mine"), keras.layers.RMSNormalization(name="other")]
    parts = [*norms, keras.layers.Dense(2, name="kept"), keras.layers.Embedding(5, 2, name="words")]
    for layer, shape in zip(parts, [(None, 3), (None, 3), (None, 3), (None,)], strict=True):
        layer.build(shape)
    variables = [v for layer in parts for v in layer.trainable_variables]
    for v in variables:
        v.assign(np.ones(v.shape))
    optimizer = kind(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[parts[2].kernel])
    optimizer.build(variables)
    slices = tf.IndexedSlices(tf.zeros((2, 2)), tf.constant([1, 1]), tf.constant([5, 2]))
    optimizer.apply([*(tf.zeros(v.shape) for v in variables[:-1]), slices])
    changed = [v.path for v in variables if np.abs(v.numpy() - 1).max() > 1e-3]
    assert changed == ["words/embeddings"]


# -- in larger models ------------------------------------------------------------------------------------------------


def test_the_encoder_in_a_functional_model(tmp_path: Any) -> None:
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in BATCH}
    pooled = TFAlbertModel(CONFIG)(**inputs).pooler_output
    model = keras.Model(inputs, keras.layers.Dense(2, name="own")(pooled))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(BATCH, LABELS, verbose=0)
    model.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    np.testing.assert_array_equal(again.predict(BATCH, verbose=0), model.predict(BATCH, verbose=0))
    assert keras.models.clone_model(model).count_params() == model.count_params()


def test_what_is_frozen_stays_so_in_files_and_clones(tmp_path: Any) -> None:
    model = classifier()
    model.albert.trainable = False
    model.compile("adam", run_eagerly=True)
    model.fit(BATCH, LABELS, verbose=0)
    model.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    assert int(again.optimizer.iterations) == 1
    for other in (again, keras.models.clone_model(model), model._finish("cpu")):
        assert [v.shape for v in other.trainable_variables] == [(12, 2), (2,)]
        assert other.num_parameters(only_trainable=True) == 26
    again.albert.trainable = True
    assert again.num_parameters(only_trainable=True) == model.num_parameters()


@keras.saving.register_keras_serializable("tests")
class Outer(keras.Model):
    """A user's own model around ours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner, self.own = TFAlbertModel(CONFIG), keras.layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.own(self.inner(inputs).pooler_output)


def test_models_around_the_encoder_are_built_by_keras(tmp_path: Any) -> None:
    model = Outer()
    expected = model(BATCH)
    model.save(tmp_path / "x.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "x.keras")(BATCH), expected)
    pooled = keras.layers.Lambda(lambda output: output.pooler_output)
    chain = keras.Sequential([model.inner, pooled, model.own])  # without an Input
    np.testing.assert_allclose(chain(IDS), model({"input_ids": IDS}), atol=1e-6)


def test_a_clone_is_a_fresh_model_of_the_same_config() -> None:
    model = TFAlbertForMaskedLM(CONFIG, attn_implementation="eager", dtype="mixed_bfloat16")
    for clone in (keras.models.clone_model(model), keras.models.model_from_json(model.to_json())):
        assert type(clone) is TFAlbertForMaskedLM
        assert (clone.config, clone.attn_implementation, clone.dtype_policy) == (
            model.config,
            "eager",
            model.dtype_policy,
        )
    clone.set_weights(model.get_weights())
    assert difference(clone, model) == 0
