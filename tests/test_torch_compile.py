"""torch.compile and torch.export: every head is one graph, a shared layer one program, a file runs without us."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Adapter, assert_close
from torch import Tensor, nn

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.outputs import AlbertForPreTrainingOutput
from albert_core.parity_suite import GROUPS, TINY, batch, drawn_state, labels_for, with_choices
from albert_torch.export import export_model, exported_program

TORCH = Adapter("torch")
TWO_LAYERS = {**TINY, "num_hidden_layers": 2}
BOUND = 1e-13  # float64: the same operations, perhaps in another order


@pytest.fixture(autouse=True)
def _nothing_compiled_yet() -> None:
    torch.compiler.reset()


class Counting:
    """A compiler that counts the programs it is given, and runs them as they are."""

    def __init__(self) -> None:
        self.programs: list[int] = []

    def __call__(self, program: torch.fx.GraphModule, examples: list[Any]) -> Any:
        self.programs.append(len(program.graph.nodes))
        return program.forward


def model_of(head: str, **changes: Any) -> Any:
    config = AlbertConfig(**{**TWO_LAYERS, **changes})
    return TORCH.model(head, config, "float64", drawn_state(config, head))


def inputs_of(head: str, config: AlbertConfig, labels: bool = False, **sizes: int) -> dict[str, Tensor]:
    inputs = batch(config, **sizes)
    inputs = with_choices(inputs) if HEADS[head].signature.choices else inputs
    inputs |= labels_for(config, head, inputs) if labels else {}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}


def found_by(run: Any, inputs: dict[str, Tensor], **flags: Any) -> dict[str, np.ndarray]:
    """Every field of the output."""
    with torch.no_grad():
        return dict(run(**inputs, **flags).map(lambda tensor: tensor.numpy()).items())


def gradients_by(run: Any, model: nn.Module, inputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    model.zero_grad()
    out = run(**inputs)
    (out.loss if "loss" in out else out[0].square().sum() + out[1].sum()).backward()
    return {n: p.grad.numpy().copy() for n, p in model.named_parameters() if p.grad is not None}


# -- torch.compile -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_a_head_and_its_gradients_are_one_graph(head: str) -> None:
    model = model_of(head, num_hidden_layers=1).train()
    inputs = inputs_of(head, model.config, labels=True)
    for module in (m for m in model.modules() if isinstance(m, nn.Dropout)):
        module.p = 0.0
    counting = Counting()
    compiled = torch.compile(model, fullgraph=True, backend=counting)
    expected = gradients_by(model, model, inputs)
    got = gradients_by(compiled, model, inputs)
    assert len(counting.programs) == 1
    assert got.keys() == expected.keys()
    scale = max(np.abs(value).max() for value in expected.values())
    for name, value in expected.items():
        assert np.abs(got[name] - value).max() <= BOUND * scale, name


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "groups, relative positions": ({**GROUPS["2x2"], "position_embedding_type": "relative_key_query"}, {}),
    "all outputs": ({}, {"output_attentions": True, "output_hidden_states": True}),
    "head masks, pruned heads": (
        {"albert_pruned_heads": {1: [0]}},
        {"head_mask": torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 0.2]], dtype=torch.float64)},
    ),
    "places asked for, an activation written out": (
        {"hidden_act": "mish"},
        {"masked_positions": torch.tensor([[1, 2], [0, 3], [0, 0]])},
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_a_model_can_be_asked_for_is_one_graph_too(name: str) -> None:
    changes, flags = OPTIONS[name]
    model = model_of("AlbertForPreTraining", **changes)
    inputs = inputs_of("AlbertForPreTraining", model.config)
    counting = Counting()
    compiled = torch.compile(model, fullgraph=True, backend=counting)
    assert_close(found_by(compiled, inputs, **flags), found_by(model, inputs, **flags), BOUND)
    assert len(counting.programs) == 1


def test_other_shapes_need_one_more_program_not_one_each() -> None:
    model, counting = model_of("AlbertForMaskedLM"), Counting()
    compiled = torch.compile(model, fullgraph=True, backend=counting)
    for batch_size, length in ((3, 7), (4, 9), (6, 13)):
        inputs = inputs_of("AlbertForMaskedLM", model.config, batch_size=batch_size, length=length)
        assert_close(found_by(compiled, inputs), found_by(model, inputs), BOUND)
    assert len(counting.programs) == 2


# -- one layer, one program ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "groups"), [(12, 1), (48, 1), (12, 3)])
def test_a_shared_layer_is_compiled_once_however_deep_the_model(layers: int, groups: int) -> None:
    model = model_of("AlbertForMaskedLM", num_hidden_layers=layers, num_hidden_groups=groups)
    inputs, counting = inputs_of("AlbertForMaskedLM", model.config), Counting()
    expected = found_by(model, inputs, output_hidden_states=True)
    assert model.compile_repeated_blocks(fullgraph=True, backend=counting) is model
    assert_close(found_by(model, inputs, output_hidden_states=True), expected, BOUND)
    assert len(counting.programs) == 1  # groups have weights of their own, and the same program


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # the compiler asks, and hides it
def test_a_layer_compiled_once_learns_as_before() -> None:
    model = model_of("AlbertForMaskedLM", num_hidden_layers=12)
    inputs = inputs_of("AlbertForMaskedLM", model.config, labels=True)
    expected = gradients_by(model, model, inputs)
    model.compile_repeated_blocks(fullgraph=True, backend="aot_eager")
    got = gradients_by(model, model, inputs)
    scale = max(np.abs(value).max() for value in expected.values())
    assert all(np.abs(got[name] - value).max() <= BOUND * scale for name, value in expected.items())
    assert set(model.state_dict()) == set(model_of("AlbertForMaskedLM").state_dict())


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="the default compiler of torch.compile needs g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what the compiler imports
@pytest.mark.parametrize("whole", [True, False])
def test_the_default_compiler(whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = model_of("AlbertForPreTraining", num_hidden_layers=12)
    inputs = inputs_of("AlbertForPreTraining", model.config)
    expected = found_by(model, inputs)
    run = torch.compile(model, fullgraph=True) if whole else model.compile_repeated_blocks(fullgraph=True)
    assert_close(found_by(run, inputs), expected, BOUND)


# -- torch.export --------------------------------------------------------------------------------------------------


def test_a_model_itself_can_be_exported() -> None:
    model = model_of("AlbertForPreTraining")
    inputs = inputs_of("AlbertForPreTraining", model.config)
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=16)}
    with torch.no_grad():
        program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, free), strict=True)
    other = inputs_of("AlbertForPreTraining", model.config, batch_size=4, length=16)
    got = program.module()(**other)
    assert isinstance(got, AlbertForPreTrainingOutput)
    assert_close(found_by(lambda **given: program.module()(**given), other), found_by(model, other), BOUND)


READER = """
import json, sys
import torch

case = json.load(open(sys.argv[1]))
program = torch.export.load(case["program"]).module()
answers = []
for batch in case["batches"]:
    out = program(**{name: torch.tensor(value) for name, value in batch.items()})
    answers.append({name: value.tolist() for name, value in out.items()})
assert not [name for name in sys.modules if name.startswith("albert")]
json.dump(answers, sys.stdout)
"""


@pytest.mark.parametrize("head", HEADS)
def test_an_exported_head_takes_any_batch_and_any_length(head: str) -> None:
    model = model_of(head, num_hidden_layers=1).train()
    program = exported_program(model).module()
    assert model.training
    model.eval()
    for batch_size, length in ((3, 7), (1, 16), (5, 1)):
        inputs = inputs_of(head, model.config, batch_size=max(batch_size, 3), length=max(length, 2))
        inputs = {n: v[:batch_size, ..., :length] for n, v in inputs.items()}
        with torch.no_grad():
            got = program(**inputs)
        expected = found_by(model, inputs)
        assert list(got) == list(expected)
        assert_close(got, expected, BOUND)


def test_a_file_runs_without_this_package(tmp_path: Path) -> None:
    model = model_of("AlbertForQuestionAnswering")
    export_model(model, tmp_path / "model.pt2")
    sizes = ({"batch_size": 3, "length": 7}, {"batch_size": 4, "length": 9})
    batches = [inputs_of("AlbertForQuestionAnswering", model.config, **each) for each in sizes]
    case = {"program": str(tmp_path / "model.pt2"), "batches": [{n: v.tolist() for n, v in b.items()} for b in batches]}
    (tmp_path / "case.json").write_text(json.dumps(case))
    command = [sys.executable, "-c", READER, "case.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    for inputs, answer in zip(batches, json.loads(done.stdout), strict=True):
        assert_close(answer, found_by(model, inputs), BOUND)


def test_a_program_has_the_inputs_it_is_asked_for(tmp_path: Path) -> None:
    model = model_of("AlbertForPreTraining", position_embedding_type="relative_key")
    names = ["inputs_embeds", "head_mask", "masked_positions"]
    export_model(model, tmp_path / "model.pt2", inputs=names, batch=2, length=5)
    program = torch.export.load(tmp_path / "model.pt2")
    assert list(program.graph_signature.user_inputs) == names
    given = {
        "inputs_embeds": torch.randn(2, 5, 6, dtype=torch.float64),
        "head_mask": torch.rand(2, 3, dtype=torch.float64),
        "masked_positions": torch.tensor([[1, 2, 3], [4, 0, 0]]),
    }
    with torch.no_grad():
        assert_close(program.module()(**given), found_by(model, given), BOUND)
    with pytest.raises(AssertionError, match=r"inputs_embeds.*5"):
        program.module()(**{**given, "inputs_embeds": torch.randn(2, 6, 6, dtype=torch.float64)})


def test_shared_weights_stand_once_in_the_file(tmp_path: Path) -> None:
    large = {"vocab_size": 20000, "embedding_size": 128, "hidden_size": 384, "intermediate_size": 1536}
    model = TORCH.cls("AlbertForMaskedLM")(AlbertConfig(**{**TINY, **large, "num_hidden_layers": 1}))
    export_model(model, tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2").stat().st_size <= 1.05 * 4 * model.num_parameters()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ["input_ids", "labels"]}, "inputs: expected some of input_ids, .*, got labels"),
        ({"inputs": ["masked_positions"]}, "got masked_positions"),
        ({"length": 17}, "length: expected 1 to max_position_embeddings = 16, got 17"),
    ],
)
def test_what_no_program_can_take_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        export_model(model_of("AlbertForTokenClassification"), tmp_path / "model.pt2", **options)
    assert not list(tmp_path.iterdir())
