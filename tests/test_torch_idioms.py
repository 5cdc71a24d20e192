"""Our models are ordinary PyTorch modules: copied, pickled, moved, loaded, transformed and fed like any other."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Adapter
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from albert_core.config import AlbertConfig
from albert_core.errors import SaveError
from albert_core.heads import HEADS
from albert_core.numerics import ACTIVATIONS
from albert_core.parity_suite import TINY, batch, drawn_state
from albert_torch import AlbertForMaskedLM

TORCH = Adapter("torch")
CONFIG = AlbertConfig(**{**TINY, "num_hidden_layers": 2})
INPUTS = {name: torch.from_numpy(array) for name, array in batch(CONFIG).items()}
ROOT = Path(__file__).resolve().parents[1]


def model_of(head: str = "AlbertForMaskedLM", dtype: str = "float64", seed: int = 7, **changes: Any) -> Any:
    config = CONFIG.replace(**changes)
    return TORCH.model(head, config, dtype, drawn_state(config, head, seed))


def answer(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        return model(**INPUTS)[0]


def is_tied(model: Any) -> bool:
    predictions, words = model.predictions, model.get_input_embeddings()
    return predictions.decoder.weight is words.weight and predictions.decoder.bias is predictions.bias


# -- copies --------------------------------------------------------------------------------------------------------


def through_torch_save(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": through_torch_save,
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_one_of_its_own(how: str) -> None:
    model = model_of()
    other = COPIES[how](model)
    assert type(other) is AlbertForMaskedLM
    assert is_tied(other)
    assert other.config == model.config
    assert not other.training
    expected = answer(model)
    assert torch.equal(answer(other), expected)
    with torch.no_grad():
        other.get_input_embeddings().weight.add_(1)
    assert torch.equal(answer(model), expected)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_can_be_pickled(head: str) -> None:
    changes = {"position_embedding_type": "relative_key"} if head == "AlbertModel" else {}
    model = model_of(head, **changes)
    other = pickle.loads(pickle.dumps(model))
    assert [name for name, _ in other.named_parameters()] == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_a_model_with_any_activation_can_be_pickled(act: str) -> None:
    model = model_of("AlbertModel", hidden_act=act)
    assert torch.equal(answer(pickle.loads(pickle.dumps(model))), answer(model))


# -- state dicts ---------------------------------------------------------------------------------------------------


def test_a_state_dict_goes_in_strictly() -> None:
    model, other = model_of(), model_of(seed=8)
    assert str(other.load_state_dict(model.state_dict(), strict=True)) == "<All keys matched successfully>"
    assert torch.equal(answer(other), answer(model))


def test_a_saved_file_goes_in_strictly_though_it_holds_tied_arrays_once(tmp_path: Path) -> None:
    model, other = model_of(), model_of(seed=8)
    model.save_pretrained(tmp_path / "saved")
    tensors = load_file(tmp_path / "saved" / "model.safetensors")
    assert "predictions.decoder.weight" not in tensors
    other.load_state_dict(tensors, strict=True)
    assert torch.equal(answer(other), answer(model))
    assert "predictions.decoder.weight" not in tensors  # a reader does not write into what it is given
    holder = nn.ModuleDict({"inner": model_of(seed=8)})
    holder.load_state_dict({f"inner.{name}": tensor for name, tensor in tensors.items()}, strict=True)
    assert torch.equal(answer(holder["inner"]), answer(model))


def test_a_missing_or_strange_key_is_still_an_error() -> None:
    state = model_of().state_dict()
    del state["predictions.dense.weight"]
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*predictions\.dense\.weight.*Unexpected key.*more"):
        model_of().load_state_dict({**state, "more": torch.zeros(1)})


def test_tied_weights_stay_tied() -> None:
    model = model_of()
    copied = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.device("meta"):
        empty = AlbertForMaskedLM(CONFIG)
    for changed in (
        model.to(torch.float32).to("meta").to_empty(device="cpu"),
        model.half(),
        empty.to_empty(device="cpu"),
    ):
        assert is_tied(changed)
    empty.load_state_dict(copied, assign=True)
    assert is_tied(empty)
    assert empty.dtype is torch.float64
    assert torch.equal(answer(empty.eval()), answer(model_of()))


@pytest.mark.parametrize("leaf", ["weight", "bias"])
def test_a_decoder_of_its_own_is_not_lost_on_save(leaf: str, tmp_path: Path) -> None:
    decoder = (model := model_of()).predictions.decoder
    setattr(decoder, leaf, nn.Parameter(getattr(decoder, leaf).detach().clone()))
    model.save_pretrained(tmp_path / "equal")
    with torch.no_grad():
        getattr(decoder, leaf).add_(1)
    with pytest.raises(SaveError, match=rf"predictions\.decoder\.{leaf} differs from .*, to which it is tied"):
        model.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other").exists()


class Added(nn.Linear):
    """An adapter in the place of a layer: the layer's weight, and one beside it."""

    def __init__(self, old: nn.Linear) -> None:
        super().__init__(old.in_features, old.out_features, device="meta")
        self.weight, self.bias, self.beside = old.weight, old.bias, nn.Linear(2, 2)


def test_an_adapter_is_not_lost_in_saving(tmp_path: Path) -> None:
    model = model_of()
    nn.utils.parametrizations.weight_norm(model.predictions.dense)  # what it computes is what is saved
    model.save_pretrained(tmp_path / "saved")
    model.predictions.dense = Added(model_of().predictions.dense)
    with pytest.raises(
        ValueError, match=r"^predictions\.dense\.beside\.weight, .*bias: is no part of ALBERT and would not"
    ):
        model.save_pretrained(tmp_path / "lost")
    assert not (tmp_path / "lost").exists()


class Simple(AlbertForMaskedLM):
    """What a subclass written for transformers looks like."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.post_init()


def test_a_subclass_whose_constructor_takes_a_config_alone_is_loaded(tmp_path: Path) -> None:
    model = model_of()
    model.save_pretrained(tmp_path / "saved")
    assert torch.equal(answer(Simple.from_pretrained(tmp_path / "saved")), answer(model))


@pytest.mark.parametrize("name", ["auto", "balanced", "balanced_low_0", "sequential"])
def test_a_device_map_of_accelerate_is_the_device_there_is(name: str, tmp_path: Path) -> None:
    model_of().save_pretrained(tmp_path / "saved")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert AlbertForMaskedLM.from_pretrained(tmp_path / "saved", device_map=name).device.type == expected


# -- dtypes and modes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_a_model_moves_to_another_dtype(name: str) -> None:
    dtype, model = getattr(torch, name), model_of("AlbertForPreTraining")
    expected = answer(model)
    assert model.to(dtype).dtype is dtype
    got = answer(model)
    assert got.dtype is dtype
    assert (got.double() - expected).norm() / expected.norm() < 0.05
    assert {p.dtype for p in model.parameters()} == {dtype}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_the_loss_and_the_gradients_wide(dtype: torch.dtype) -> None:
    model = model_of(dtype="float32").train()
    with torch.autocast("cpu", dtype):
        out = model(**INPUTS, labels=INPUTS["input_ids"])
    assert (out.logits.dtype, out.loss.dtype) == (dtype, torch.float32)
    out.loss.backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    assert norm > 0.01
    after = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert after == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_shapes_are_found_on_the_meta_device(head: str) -> None:
    with torch.device("meta"):
        model = TORCH.cls(head)(CONFIG)
        shape = (2, 3, 5) if head == "AlbertForMultipleChoice" else (2, 5)
        ids = torch.ones(shape, dtype=torch.int64)
        out = model(ids, attention_mask=ids)
    assert out[0].device.type == "meta"
    assert out[0].shape[0] == 2


# -- functions of parameters ---------------------------------------------------------------------------------------


def loss_of(model: nn.Module, parameters: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
    return functional_call(model, parameters, (), {**inputs, "labels": inputs["input_ids"]}).loss


def test_a_function_of_the_parameters_has_the_gradients_of_backward() -> None:
    model = model_of()
    got = grad(lambda parameters: loss_of(model, parameters, INPUTS))(dict(model.named_parameters()))
    model(**INPUTS, labels=INPUTS["input_ids"]).loss.backward()
    for name, p in model.named_parameters():
        assert torch.allclose(got[name], p.grad, rtol=1e-12, atol=1e-13), name


def test_each_example_can_have_its_own_gradient() -> None:
    model = model_of()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def of_one(parameters: dict[str, Tensor], row: dict[str, Tensor]) -> Tensor:
        return loss_of(model, parameters, {name: tensor[None] for name, tensor in row.items()})

    got = vmap(grad(of_one), in_dims=(None, 0))(parameters, INPUTS)
    for i in range(3):
        one = grad(of_one)(parameters, {name: tensor[i] for name, tensor in INPUTS.items()})
        assert all(torch.allclose(got[name][i], value, rtol=1e-12, atol=1e-13) for name, value in one.items())


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # fused attention on a CPU
def test_an_ensemble_is_one_call() -> None:
    models = [model_of(seed=seed) for seed in range(3)]
    stacked = stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")

    def call(parameters: Any, buffers: Any) -> Tensor:
        return functional_call(skeleton, (parameters, buffers), (), INPUTS).logits

    with torch.no_grad():
        got = vmap(call)(*stacked)
    assert torch.allclose(got, torch.stack([answer(model) for model in models]), rtol=1e-12, atol=1e-12)


def test_parameters_freeze_and_optimizers_take_groups() -> None:
    model = model_of().train()
    model.albert.embeddings.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW([{"params": trained[:2], "lr": 0.0}, {"params": trained[2:], "lr": 0.1}])
    model(**INPUTS, labels=INPUTS["input_ids"]).loss.backward()
    optimizer.step()
    still = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert {name for name, p in model.named_parameters() if not p.requires_grad} < still
    assert len(still) == len(before) - len(trained) + 2
    averaged = torch.optim.swa_utils.AveragedModel(model)
    assert torch.equal(answer(averaged.module.eval()), answer(model.eval()))


# -- data ----------------------------------------------------------------------------------------------------------

LOADER = """
import torch
from torch.utils.data import DataLoader
from albert_torch import AlbertForMaskedLM, AutoTokenizer

texts = [f"Plants create energy {n} times." + " Cells divide." * (n % 3) for n in range(12)]
tokenizer = AutoTokenizer.from_pretrained("albert-openstax")
model = AlbertForMaskedLM.from_pretrained("albert-openstax", dtype="float32")
collate = lambda rows: tokenizer(rows, padding=True, return_tensors="pt")
seen = [batch["input_ids"].tolist() for batch in DataLoader(texts, batch_size=4, collate_fn=collate, num_workers=2)]
assert seen == [collate(texts[n : n + 4])["input_ids"].tolist() for n in (0, 4, 8)]
batch = next(iter(DataLoader(texts, batch_size=4, collate_fn=collate, num_workers=2, multiprocessing_context="fork")))
print(tuple(model(**batch).logits.shape))
"""


def test_the_workers_of_a_data_loader_tokenise() -> None:
    path = os.pathsep.join([str(ROOT), *sys.path])
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    command = [sys.executable, "-W", "error", "-c", LOADER]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(4, ")


@pytest.mark.parametrize("name", ["bool", "int32", "float32", "bfloat16"])
def test_a_mask_may_be_of_any_dtype_in_training_too(name: str) -> None:
    model = model_of().train()
    mask = INPUTS["attention_mask"].to(getattr(torch, name))
    got = model(**{**INPUTS, "attention_mask": mask}, labels=INPUTS["input_ids"]).loss
    assert got.item() == pytest.approx(model(**INPUTS, labels=INPUTS["input_ids"]).loss.item(), rel=1e-12)
    got.backward()


def test_numpy_arrays_and_tensors_are_the_same_inputs() -> None:
    model = model_of()
    with torch.no_grad():
        got = model(**batch(CONFIG)).logits
    assert np.array_equal(got.numpy(), answer(model).numpy())
