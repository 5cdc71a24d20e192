"""What PyTorch users bring along works on our models: transformers' Trainer, PEFT, torchao, hooks, parametrisations."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import peft
import pytest
import torch
import torchao.quantization
import transformers
from conftest import Adapter
from safetensors.torch import load_model, save_model
from torch import nn
from torch.nn.utils import parametrize

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parity_suite import TINY, batch, drawn_state
from albert_torch import AlbertForMaskedLM, AlbertForQuestionAnswering, AlbertForSequenceClassification

TORCH = Adapter("torch")
CONFIG = AlbertConfig(**{**TINY, "num_hidden_layers": 3})
Rows = list[dict[str, Any]]

pytestmark = pytest.mark.filterwarnings(
    "ignore:`gradient_checkpointing` is deprecated:FutureWarning",  # a name of theirs that scripts still use
    "ignore:'pin_memory' argument is set:UserWarning",
)


def model_of(head: str, config: AlbertConfig = CONFIG, dtype: str = "float32") -> Any:
    return TORCH.model(head, config, dtype, drawn_state(config, head))


def rows_of(count: int, seed: int = 0, **labels: Any) -> Rows:
    """Encoded texts, most of whose pieces are the one that says what is right."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids = np.where(np.arange(8) < 6, rng.integers(6, 8), rng.integers(5, CONFIG.vocab_size, 8))
        found = {name: rule(ids) for name, rule in labels.items()}
        rows.append({"input_ids": ids.tolist(), "attention_mask": [1] * 8, "token_type_ids": [0] * 8, **found})
    return rows


def parity_of(ids: np.ndarray) -> int:
    return int(ids[0] % 2)


def logits_of(model: Any, rows: Rows) -> np.ndarray:
    inputs = {name: torch.tensor([row[name] for row in rows]) for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        return model(**inputs)[0].numpy()


# -- transformers' Trainer -----------------------------------------------------------------------------------------


OF_THE_TRAINER = ("eval_dataset", "compute_metrics", "callbacks", "compute_loss_func")


def trainer_of(model: Any, folder: Path, train: Rows, **options: Any) -> transformers.Trainer:
    own = {name: options.pop(name) for name in OF_THE_TRAINER if name in options}
    settings = {
        "per_device_train_batch_size": 8,
        "learning_rate": 3e-3,
        "use_cpu": True,
        "report_to": "none",
        **options,
    }
    args = transformers.TrainingArguments(str(folder), disable_tqdm=True, **settings)
    return transformers.Trainer(model=model, args=args, train_dataset=train, **own)


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def test_it_trains_evaluates_predicts_and_saves_what_everybody_opens(tmp_path: Path) -> None:
    seen: list[int] = []

    class Callback(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append(state.global_step)

    train, held_out = rows_of(64, labels=parity_of), rows_of(32, 1, labels=parity_of)
    options = {
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "num_train_epochs": 4,
    }
    more = {"metric_for_best_model": "accuracy", "compute_metrics": accuracy, "callbacks": [Callback()]}
    transformers.set_seed(0)
    model = AlbertForSequenceClassification(CONFIG.replace(classifier_dropout_prob=0.0))
    trainer = trainer_of(model, tmp_path, train, eval_dataset=held_out, label_names=["labels"], **options, **more)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < before
    assert after["eval_accuracy"] == trainer.state.best_metric
    assert seen == list(range(1, 33))

    predicted = trainer.predict(held_out)
    assert predicted.predictions.shape == (32, 2)
    assert predicted.metrics["test_accuracy"] == after["eval_accuracy"]
    trainer.save_model(str(tmp_path / "saved"))
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "saved").iterdir()}
    ours = AlbertForSequenceClassification.from_pretrained(tmp_path / "saved")
    theirs = transformers.AlbertForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert np.abs(logits_of(ours, held_out) - predicted.predictions).max() < 1e-5
    assert np.abs(logits_of(theirs, held_out) - predicted.predictions).max() < 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_run_that_is_resumed_ends_like_one_that_was_not(
    checkpointing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tied weights, which are saved once; and gradient checkpointing, which changes nothing."""
    train = rows_of(48, labels=lambda ids: ids.tolist())
    options = {"num_train_epochs": 1, "save_steps": 3, "gradient_checkpointing": checkpointing}

    def run(folder: Path, **how: Any) -> Any:
        transformers.set_seed(0)
        model = model_of("AlbertForMaskedLM")
        trainer = trainer_of(model, folder, train, **options)
        trainer.train(**how)
        assert model.is_gradient_checkpointing is checkpointing
        return model

    warned: list[str] = []
    monkeypatch.setattr(transformers.trainer.logger, "warning", warned.append)
    whole = run(tmp_path)
    resumed = run(tmp_path, resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert not [text for text in warned if "keys in the checkpoint" in text]
    expected = whole.numpy_state()
    assert all(np.array_equal(value, expected[name]) for name, value in resumed.numpy_state().items())
    saved = AlbertForMaskedLM.from_pretrained(tmp_path / "checkpoint-6")
    assert np.array_equal(saved.numpy_state()["predictions.bias"], expected["predictions.bias"])
    assert not np.array_equal(
        expected["predictions.bias"], model_of("AlbertForMaskedLM").numpy_state()["predictions.bias"]
    )


def mean_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs["logits"], labels)


@pytest.mark.parametrize(
    "options", [{"label_smoothing_factor": 0.1}, {"compute_loss_func": mean_loss}], ids=["smoothed", "custom"]
)
def test_predictions_are_there_where_the_loss_is_computed_outside(options: dict[str, Any], tmp_path: Path) -> None:
    config = CONFIG.replace(output_hidden_states=True)
    model, rows = model_of("AlbertForSequenceClassification", config), rows_of(4, labels=parity_of)
    predicted = trainer_of(model, tmp_path, rows, **options).predict(rows, ignore_keys=["hidden_states"])
    assert np.allclose(predicted.predictions, logits_of(model, rows), atol=1e-6)
    assert predicted.metrics["test_loss"] > 0


def test_both_ends_of_an_answer_are_predicted_without_labels(tmp_path: Path) -> None:
    model, rows = model_of("AlbertForQuestionAnswering"), rows_of(4)
    start, end = trainer_of(model, tmp_path, rows).predict(rows).predictions
    assert np.allclose(start, logits_of(model, rows), atol=1e-6)
    assert start.shape == end.shape == (4, 8)


def test_two_outputs_of_texts_without_labels_come_as_a_tuple(tmp_path: Path) -> None:
    model = model_of("AlbertForQuestionAnswering", CONFIG.replace(return_dict=False))
    labelled = rows_of(16, start_positions=parity_of, end_positions=lambda ids: 3)
    trainer = trainer_of(model, tmp_path, labelled, max_steps=2, save_strategy="no")
    trainer.train()
    assert trainer.predict(labelled).metrics["test_loss"] > 0
    start, end = trainer.predict(rows_of(4)).predictions
    assert start.shape == end.shape == (4, 8)
    trainer.save_model(str(tmp_path / "saved"))
    assert AlbertForQuestionAnswering.from_pretrained(tmp_path / "saved").config.return_dict is False


def test_a_model_stays_what_it_is(tmp_path: Path) -> None:
    model = model_of("AlbertForMaskedLM")
    assert isinstance(model, transformers.PreTrainedModel)  # what the Trainer asks before it calls save_pretrained
    assert type(model) is AlbertForMaskedLM
    assert isinstance(model, AlbertForMaskedLM)
    assert model.__class__.__name__ == "AlbertForMaskedLM"
    assert type(model.__class__(CONFIG)) is AlbertForMaskedLM
    assert type(model.__class__.__new__(model.__class__)) is AlbertForMaskedLM
    for other in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is AlbertForMaskedLM
        assert np.array_equal(logits_of(other, rows_of(2)), logits_of(model, rows_of(2)))
    model.__class__ = type("Wrapped", (AlbertForMaskedLM,), {})  # as sharding does
    assert type(model).__name__ == "Wrapped"
    model.save_pretrained(tmp_path / "nothing", is_main_process=False)
    assert not list(tmp_path.iterdir())


def test_a_state_gathered_from_elsewhere_is_what_is_saved(tmp_path: Path) -> None:
    model = model_of("AlbertForMaskedLM")
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "saved", state_dict=state)
    saved = AlbertForMaskedLM.from_pretrained(tmp_path / "saved").numpy_state()
    assert all(np.array_equal(saved[name], tensor.numpy()) for name, tensor in state.items())


def test_what_checkpointing_cannot_do_is_refused() -> None:
    model = model_of("AlbertModel")
    with pytest.raises(ValueError, match="expected every_n_layers=1, offload=False, got every_n_layers=2"):
        model.activation_checkpointing_enable(every_n_layers=2)
    model.activation_checkpointing_enable()
    assert model.is_activation_checkpointing
    model.activation_checkpointing_disable()
    assert not model.is_activation_checkpointing


def test_small_things_that_scripts_for_transformers_call() -> None:
    model = model_of("AlbertForMaskedLM")
    assert (model.main_input_name, model.config_class) == ("input_ids", AlbertConfig)
    assert model.get_memory_footprint() == 4 * model.num_parameters()
    model.requires_grad_(False).enable_input_require_grads()
    other = pickle.loads(pickle.dumps(model))
    assert model(**batch(CONFIG)).logits.requires_grad
    assert other(**batch(CONFIG)).logits.requires_grad
    model.disable_input_require_grads()
    assert not model(**batch(CONFIG)).logits.requires_grad
    assert model.config.get_text_config() is model.config


# -- PEFT ----------------------------------------------------------------------------------------------------------


def lora(model: Any, **options: Any) -> peft.PeftModel:
    """Adapters on two of the three projections that are one product otherwise; drawn, so that they act at once."""
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False, **options)
    return peft.get_peft_model(model, config).eval()


def test_lora_acts_learns_and_merges(tmp_path: Path) -> None:
    inputs = {name: torch.from_numpy(array) for name, array in batch(CONFIG).items()}
    plain = model_of("AlbertForMaskedLM", dtype="float64")
    with torch.no_grad():
        before = plain(**inputs).logits
    adapted = lora(plain)
    out = adapted(**inputs)
    assert (out.logits - before).abs().max() > 1e-2
    out.logits.square().sum().backward()
    gradients = {n: p.grad.abs().max() for n, p in adapted.named_parameters() if p.grad is not None}
    assert len(gradients) == 4
    assert all(value > 0 for value in gradients.values())
    adapted.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(model_of("AlbertForMaskedLM", dtype="float64"), tmp_path).eval()
    assert torch.equal(again(**inputs).logits, out.logits)
    merged = adapted.merge_and_unload()
    assert type(merged) is AlbertForMaskedLM
    assert merged.albert.encoder.albert_layer_groups[0].albert_layers[0].attention.packed() is not None
    merged.save_pretrained(tmp_path / "merged")
    opened = transformers.AlbertForMaskedLM.from_pretrained(tmp_path / "merged", dtype=torch.float64)
    padded = slice(0, 2)  # transformers has another answer for a row whose mask is all zero
    theirs = opened(**{n: x[padded] for n, x in inputs.items()}).logits
    assert (theirs - out.logits[padded]).abs().max() < 1e-9


def test_the_trainer_trains_adapters_and_a_new_classifier(tmp_path: Path) -> None:
    train = rows_of(32, labels=parity_of)
    model = model_of("AlbertForSequenceClassification")
    adapted = lora(model, task_type="SEQ_CLS")
    frozen = {n: p.clone() for n, p in adapted.named_parameters() if not p.requires_grad}
    trainer = trainer_of(adapted, tmp_path, train, max_steps=4, save_strategy="no")
    trainer.train()
    trainer.save_model(str(tmp_path / "adapter"))
    now = dict(adapted.named_parameters())
    assert frozen
    assert all(torch.equal(now[name], value) for name, value in frozen.items())
    fresh = model_of("AlbertForSequenceClassification")
    again = peft.PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()
    assert np.array_equal(logits_of(again, train), logits_of(adapted.eval(), train))


def test_lora_on_every_embedding_learns() -> None:
    names = ["word_embeddings", "position_embeddings", "token_type_embeddings"]
    config = peft.LoraConfig(r=4, target_modules=names, init_lora_weights=False)
    adapted = peft.get_peft_model(model_of("AlbertForSequenceClassification"), config)
    adapted(input_ids=torch.from_numpy(batch(CONFIG)["input_ids"])).logits.sum().backward()
    gradients = [p.grad for p in adapted.parameters() if p.requires_grad]
    assert len(gradients) == 6
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("kind", [peft.PromptTuningConfig, peft.PromptEncoderConfig])
def test_prompts_are_learnt(kind: Any) -> None:
    config = kind(task_type="SEQ_CLS", num_virtual_tokens=3, token_dim=CONFIG.embedding_size)
    adapted = peft.get_peft_model(model_of("AlbertForSequenceClassification"), config)
    inputs = {name: torch.from_numpy(array) for name, array in batch(CONFIG).items() if name != "token_type_ids"}
    adapted(**inputs, labels=torch.tensor([0, 1, 1])).loss.backward()
    assert all(p.grad.abs().max() > 0 for p in adapted.prompt_encoder.parameters())


# -- accelerate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["AlbertForMaskedLM", "AlbertForPreTraining"])
def test_what_accelerate_writes_it_reads(head: str, tmp_path: Path) -> None:
    model, other = model_of(head), TORCH.model(head, CONFIG, "float32")
    save_model(model, str(tmp_path / "model.safetensors"))
    assert load_model(other, tmp_path / "model.safetensors") == (set(), [])
    assert np.array_equal(logits_of(other, rows_of(2)), logits_of(model, rows_of(2)))
    assert set(model._tied_weights_keys) == {"predictions.decoder.weight", "predictions.decoder.bias"}


def test_weights_may_be_elsewhere_until_they_are_read() -> None:
    model, rows = model_of("AlbertForMaskedLM"), rows_of(2)
    expected = logits_of(model, rows)
    assert np.allclose(logits_of(accelerate.cpu_offload(model, execution_device="cpu"), rows), expected, atol=1e-5)


# -- torchao -------------------------------------------------------------------------------------------------------

QUANTISED = {
    "weights": torchao.quantization.Int8WeightOnlyConfig,
    "weights and activations": torchao.quantization.Int8DynamicActivationInt8WeightConfig,
}


@pytest.mark.parametrize("kind", QUANTISED)
def test_int8_acts_on_our_modules(kind: str, tmp_path: Path) -> None:
    config = CONFIG.replace(hidden_size=48, embedding_size=16, intermediate_size=64)
    inputs = {name: torch.from_numpy(array) for name, array in batch(config).items()}
    model = model_of("AlbertForMaskedLM", config)
    attention = model.albert.encoder.albert_layer_groups[0].albert_layers[0].attention
    with torch.no_grad():
        expected = model(**inputs).logits
        torchao.quantization.quantize_(model, QUANTISED[kind]())
        assert attention.packed() is None  # the one product for query, key and value steps aside
        got = model(**inputs).logits
        compiled = torch.compile(model, fullgraph=True, backend="eager")(**inputs).logits
    error = float((got - expected).norm() / expected.norm())
    assert 0 < error < 0.05
    assert torch.allclose(compiled, got, atol=1e-5)
    assert type(model.to("cpu").predictions.decoder.weight).__name__ == "Int8Tensor"  # not tied to the table again
    with pytest.raises(TypeError, match="expected a plain tensor, got Int8Tensor"):
        model.save_pretrained(tmp_path / "saved")
    assert not list(tmp_path.iterdir())


# -- hooks and parametrisations ------------------------------------------------------------------------------------


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def hooked(module: nn.Module, kind: str, fire: Any) -> None:
    {
        "forward": lambda: module.register_forward_hook(lambda *_: fire()),
        "forward_pre": lambda: module.register_forward_pre_hook(lambda *_: fire()),
        "full_backward": lambda: module.register_full_backward_hook(lambda *_: fire()),
        "full_backward_pre": lambda: module.register_full_backward_pre_hook(lambda *_: fire()),
    }[kind]()


@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward", "full_backward_pre"])
def test_hooks_on_every_linear_fire(kind: str) -> None:
    model = model_of("AlbertForPreTraining")
    fired: dict[str, int] = {}
    for name, module in linears(model).items():
        hooked(module, kind, lambda name=name: fired.update({name: fired.get(name, 0) + 1}))
    out = model(**batch(CONFIG))
    (out.prediction_logits.sum() + out.sop_logits.sum()).backward()
    depth = {name: 3 if "albert_layers" in name else 1 for name in linears(model)}
    assert fired == depth


def test_hooks_on_all_modules_fire_too() -> None:
    model, fired = model_of("AlbertModel"), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: fired.append(module))
    try:
        model(**batch(CONFIG))
    finally:
        handle.remove()
    assert set(linears(model).values()) <= set(fired)


def test_hooks_on_embeddings_fire_where_no_ids_are_given_too() -> None:
    model, fired = model_of("AlbertModel"), []
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    with torch.no_grad():
        before = model(batch(CONFIG)["input_ids"])[0]
        for table in tables:
            table.register_forward_hook(lambda module, *_: fired.append(module))
        assert torch.equal(model(batch(CONFIG)["input_ids"])[0], before)
    assert fired == tables[:1] + tables[:0:-1]


def test_a_hook_that_changes_an_output_is_heard() -> None:
    model = model_of("AlbertModel")
    query = model.encoder.albert_layer_groups[0].albert_layers[0].attention.query
    with torch.no_grad():
        before = model(**batch(CONFIG))[0]
        handle = query.register_forward_hook(lambda module, given, out: out * 2)
        changed = model(**batch(CONFIG))[0]
        handle.remove()
        assert (changed - before).abs().max() > 1e-3
        assert torch.equal(model(**batch(CONFIG))[0], before)
        query.forward = lambda x: nn.functional.linear(x, query.weight * 2, query.bias * 2)  # as offloading does
        assert torch.allclose(model(**batch(CONFIG))[0], changed, atol=1e-5)


class Half(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_a_parametrisation_acts(name: str) -> None:
    model, other = model_of("AlbertModel", dtype="float64"), model_of("AlbertModel", dtype="float64")
    module, plain = (getattr(m.encoder.albert_layer_groups[0].albert_layers[0].attention, name) for m in (model, other))
    parametrize.register_parametrization(module, "weight", Half())
    with torch.no_grad():
        plain.weight /= 2
    out = model(**batch(CONFIG))[0]
    assert (out - other(**batch(CONFIG))[0]).abs().max() < 1e-13
    out.square().sum().backward()
    assert module.parametrizations.weight.original.grad.abs().max() > 0


@pytest.mark.parametrize("head", HEADS)
def test_every_head_counts_as_transformers_own(head: str) -> None:
    model = model_of(head)
    assert isinstance(model, transformers.PreTrainedModel)
    assert inspect.signature(model.__class__.forward) == inspect.signature(type(model).forward)  # where it finds labels
