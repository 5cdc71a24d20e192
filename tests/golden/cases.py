"""The cases of the stored float64 numbers, with their weights and inputs, which are drawn again instead of stored.

`make_golden.py` runs every case through the PyTorch classes of transformers 4.57.6 and stores what they answer; tests
run the same cases through our code. Only NumPy is needed here. What that release does otherwise has no number:

- head_mask [L, N]: it applies row `first layer of the group + inner index` to every use of a group. That is the
  documented meaning only where all uses of a group have the same row, so these cases have equal rows per group.
- attention_mask: its model class takes 2-D masks only; [B, S, S] and [B, N, S, S] break or mix examples. Its layers
  take any additive mask, so the others go to its encoder as `(1 - mask) * float64 minimum`, its formula for 2-D ones.
- Masked-LM labels that are all -100: its loss and gradients are NaN, ours are 0; that case stores the logits alone.
- Answer positions below 0, which it moves to 0: only positions from S on stand here.
- "gelu_fast": it cuts sqrt(2 / pi) after ten digits; ours is the exact "gelu_new".

Two things that hold for both: distances between relative positions are those of the places in the sequence, whatever
the position ids; and there is no dropout, everything runs in evaluation mode.

A query that may attend to nothing (`empty_row`) attends uniformly, whatever its scores are. The gradients stored for
such a case are those of automatic differentiation through `softmax(scores + minimum)`, which let the scores act; by
finite differences they do not act. All other gradients agree with finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

FOLDER = Path(__file__).parent
SCALE = 0.2  # standard deviation of weights; above it positions grow alike in deep cases and gradients lose digits

# No two sizes agree, so that no transposed or swapped axis goes unseen.
TINY = {
    "vocab_size": 37,
    "embedding_size": 6,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_act": "gelu_new",
    "position_embedding_type": "absolute",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
SMALLER = {
    "vocab_size": 11,
    "embedding_size": 7,
    "hidden_size": 6,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "layer_norm_eps": 1e-2,  # an activation may give zeros only, which a norm would blow up
}
ACTIVATIONS = (
    *("gelu", "gelu_python", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "relu2", "relu6", "leaky_relu"),
    *("silu", "swish", "mish", "sigmoid", "tanh", "linear"),
)


@dataclass(frozen=True)
class Case:
    """One call of one model.

    Attributes:
        head: Class name, without a framework's prefix.
        changes: What its config changes in TINY.
        mask: None, "padded", or the dimensions of a random mask: "BS", "BSS", "B1SS", "BNSS".
        empty_row: The mask lets some query attend to nothing; with a 2-D mask that is the whole last example.
        head_mask: None, "N" or "LN".
        labels: Whether labels are given: with them a loss and its gradients are stored, unless `ignored`.
        ignored: Every label is -100.
        states: Whether hidden_states and attentions are stored.
    """

    name: str
    head: str = "AlbertModel"
    changes: Mapping[str, Any] = field(default_factory=dict)
    mask: str | None = "padded"
    empty_row: bool = True
    segments: bool = True
    position_ids: bool = False
    inputs_embeds: bool = False
    head_mask: str | None = None
    labels: bool = False
    ignored: bool = False
    states: bool = False
    add_pooling_layer: bool = True
    batch: int = 3
    sequence: int = 7
    choices: int = 4
    scale: float = SCALE

    @property
    def seed(self) -> int:
        return crc32(self.name.encode())

    @property
    def config(self) -> dict[str, Any]:
        """Keywords of an AlbertConfig."""
        return {**TINY, **self.changes}

    @property
    def has_loss(self) -> bool:
        return self.labels and not self.ignored

    def state(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """The case's weights, for parameters of these names and shapes."""
        return make_state(shapes, self.seed, self.config["pad_token_id"], self.scale)


def _encoder(name: str, layers: int = 4, groups: int = 1, inner: int = 1, **options: Any) -> Case:
    positions = options.pop("positions", "absolute")
    shape = {"num_hidden_layers": layers, "num_hidden_groups": groups, "inner_group_num": inner}
    changes = {**shape, "position_embedding_type": positions, **options.pop("changes", {})}
    return Case(f"model_{name}", changes=changes, **{"states": True, **options})


def _head(name: str, head: str, **options: Any) -> Case:
    return Case(name, head=f"AlbertFor{head}", **{"labels": True, "empty_row": False, **options})


_ENCODER_CASES = (
    _encoder("one_group"),
    _encoder("no_mask_no_segments", mask=None, segments=False),
    _encoder("two_groups_two_inner", groups=2, inner=2),
    _encoder("three_groups_three_layers", layers=3, groups=3),
    _encoder("three_groups_six_layers", layers=6, groups=3, states=False),
    _encoder("uneven_groups", layers=4, groups=3, states=False),
    _encoder("relative_key", layers=2, positions="relative_key"),
    _encoder("relative_key_query", layers=3, groups=3, positions="relative_key_query"),
    _encoder("relative_key_query_two_inner", groups=2, inner=2, positions="relative_key_query", states=False),
    _encoder("relative_key_given_positions", layers=2, positions="relative_key", position_ids=True, states=False),
    _encoder("mask_with_holes", layers=2, mask="BS", sequence=9),
    _encoder("mask_3d", layers=2, mask="BSS"),
    _encoder("mask_4d", layers=2, groups=2, mask="B1SS"),
    _encoder("mask_4d_per_head", layers=2, mask="BNSS"),
    _encoder("mask_3d_relative_key", layers=2, mask="BSS", positions="relative_key", states=False),
    _encoder("position_ids", layers=2, position_ids=True, states=False),
    _encoder("inputs_embeds", layers=2, inputs_embeds=True, states=False),
    _encoder("head_mask", layers=2, head_mask="N"),
    _encoder("head_mask_two_inner", groups=2, inner=2, head_mask="N", states=False),
    _encoder("head_mask_per_layer", layers=3, groups=3, head_mask="LN"),
    _encoder("head_mask_per_group", groups=2, inner=2, head_mask="LN", states=False),
    _encoder("equal_widths", layers=2, changes={"embedding_size": 12}, states=False),
    _encoder("no_pooler", layers=2, add_pooling_layer=False, states=False),
    _encoder("full_length", layers=2, sequence=16, batch=2, states=False),
    _encoder("one_piece", layers=2, sequence=1, mask=None, states=False),
    _encoder("large_epsilon", layers=2, changes={"layer_norm_eps": 1e-2, "type_vocab_size": 3}, states=False),
)
_GROUPS = {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}
_THREE = {"num_hidden_layers": 3, "num_hidden_groups": 3, "hidden_act": "gelu"}
_RELATIVE = {"position_embedding_type": "relative_key_query"}
_HEAD_CASES = (
    _head("pretraining", "PreTraining", states=True),
    _head("pretraining_two_groups_two_inner", "PreTraining", changes=_GROUPS, sequence=11),
    _head("pretraining_without_labels", "PreTraining", labels=False, empty_row=True),
    _head("pretraining_empty_row", "PreTraining", empty_row=True),
    _head("masked_lm", "MaskedLM", sequence=9),
    _head("masked_lm_no_mask", "MaskedLM", mask=None, segments=False),
    _head("masked_lm_three_groups", "MaskedLM", changes=_THREE),
    _head("masked_lm_relative_key", "MaskedLM", changes={"position_embedding_type": "relative_key"}),
    _head("masked_lm_relative_key_query", "MaskedLM", changes={**_RELATIVE, **_GROUPS}),
    _head("masked_lm_head_mask", "MaskedLM", head_mask="N"),
    _head("masked_lm_inputs_embeds", "MaskedLM", inputs_embeds=True, position_ids=True),
    _head("masked_lm_mask_3d", "MaskedLM", mask="BSS"),
    _head("masked_lm_other_pad", "MaskedLM", changes={"pad_token_id": 5, "embedding_size": 12}),
    _head("masked_lm_empty_row", "MaskedLM", empty_row=True),
    _head("masked_lm_mask_3d_empty_row", "MaskedLM", mask="BSS", empty_row=True),
    _head("masked_lm_all_ignored", "MaskedLM", ignored=True),
    _head(
        "single_label",
        "SequenceClassification",
        changes={"num_labels": 5, "problem_type": "single_label_classification"},
    ),
    _head("single_label_inferred", "SequenceClassification", changes={"num_labels": 2}),
    _head("single_label_empty_row", "SequenceClassification", changes={"num_labels": 5}, empty_row=True),
    _head(
        "multi_label", "SequenceClassification", changes={"num_labels": 5, "problem_type": "multi_label_classification"}
    ),
    _head("regression", "SequenceClassification", changes={"num_labels": 1}),
    _head("regression_many", "SequenceClassification", changes={"num_labels": 5, "problem_type": "regression"}),
    _head("multiple_choice", "MultipleChoice"),
    _head("multiple_choice_empty_row", "MultipleChoice", empty_row=True),
    _head("multiple_choice_inputs_embeds", "MultipleChoice", inputs_embeds=True, changes=_THREE),
    _head("token_classification", "TokenClassification", changes={"num_labels": 5, **_GROUPS}),
    _head("question_answering", "QuestionAnswering"),
    _head("question_answering_relative_key_query", "QuestionAnswering", changes={**_RELATIVE, **_THREE}),
)
_ACTIVATION_CASES = tuple(
    _head(
        f"activation_{act}",
        "MaskedLM",
        changes={**SMALLER, "hidden_act": act},
        sequence=5,
        scale=1.2 if act == "relu6" else 0.5,  # relu6 has to reach 6
    )
    for act in ACTIVATIONS
)
CASES: tuple[Case, ...] = (*_ENCODER_CASES, *_HEAD_CASES, *_ACTIVATION_CASES)

_TIED = {  # drawn under the second name
    "predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "predictions.decoder.bias": "predictions.bias",
}


def make_state(
    shapes: Mapping[str, tuple[int, ...]], seed: int, pad_token_id: int = 0, scale: float = SCALE
) -> dict[str, np.ndarray]:
    """Weights by name, float64. A tensor's values depend on its own name and shape, not on what else is there."""
    return {name: _draw(name, tuple(shapes[name]), seed, pad_token_id, scale) for name in sorted(shapes)}


def _draw(name: str, shape: tuple[int, ...], seed: int, pad_token_id: int, scale: float) -> np.ndarray:
    name = name.removeprefix("albert.")  # a bare AlbertModel's names have no prefix
    name = _TIED.get(name, name)
    values = _uniform(np.random.default_rng([seed, crc32(name.encode())]), shape, scale)
    if name.endswith(("LayerNorm.weight", "layer_norm.weight")):
        values += 1.0
    if name == "embeddings.word_embeddings.weight":
        values[pad_token_id] = 0.0
    return values


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    """Uniform with mean 0: unlike a normal draw it calls no mathematical function that differs between machines."""
    return (rng.random(shape) - 0.5) * (std * math.sqrt(12.0))


def make_inputs(case: Case) -> dict[str, np.ndarray]:
    """The arguments of the call by name, labels included; ids are int64, floats float64."""
    rng = np.random.default_rng([case.seed, 0])
    config, choice = case.config, case.head.endswith("MultipleChoice")
    shape = (case.batch, case.choices, case.sequence) if choice else (case.batch, case.sequence)
    lengths = _lengths(shape, case.empty_row)
    ids = rng.integers(1, config["vocab_size"], shape)
    ids[np.arange(case.sequence) >= np.maximum(lengths, case.sequence - 2)[..., None]] = config["pad_token_id"]
    inputs = {"input_ids": ids}
    if case.inputs_embeds:
        inputs = {"inputs_embeds": _uniform(rng, (*shape, config["embedding_size"]), 1.0)}
    if case.mask is not None:
        inputs["attention_mask"] = _mask(case, rng, lengths)
    if case.segments:
        inputs["token_type_ids"] = rng.integers(0, config["type_vocab_size"], shape)
    if case.position_ids:
        inputs["position_ids"] = rng.integers(0, config["max_position_embeddings"], shape)
    if case.head_mask is not None:
        inputs["head_mask"] = _head_mask(case, rng)
    return inputs | (_labels(case, rng) if case.labels else {})


def _lengths(shape: tuple[int, ...], empty_row: bool) -> np.ndarray:
    """Full, three pieces shorter, six shorter, full, ... and with `empty_row` none at all at last: [B] or [B, C]."""
    rows = math.prod(shape[:-1])
    lengths = np.maximum(shape[-1] - 3 * (np.arange(rows) % 3), 1)
    lengths[-1] = 0 if empty_row else lengths[-1]
    return lengths.reshape(shape[:-1])


def _mask(case: Case, rng: np.random.Generator, lengths: np.ndarray) -> np.ndarray:
    """1 where a position may be attended to; [B, N, S, S] as booleans."""
    if case.mask == "padded":
        return (np.arange(case.sequence) < lengths[..., None]).astype(np.int64)
    sizes = {"B": case.batch, "1": 1, "N": case.config["num_attention_heads"], "S": case.sequence}
    mask = rng.integers(0, 3, [sizes[d] for d in str(case.mask)]) > 0
    mask[..., 0] = True
    if case.empty_row:
        mask[(-1,) if case.mask == "BS" else (-1, ..., 2, slice(None))] = False
    return mask if case.mask == "BNSS" else mask.astype(np.int64)


def _head_mask(case: Case, rng: np.random.Generator) -> np.ndarray:
    """Factors 0, 1 and fractions; rows of layers that share a group are equal."""
    config = case.config
    layers, groups = config["num_hidden_layers"], config["num_hidden_groups"]
    rows = rng.integers(0, 5, (groups, config["num_attention_heads"])) / 4.0
    rows[0, 0], rows[0, 1] = 0.0, 0.75
    return rows[0] if case.head_mask == "N" else rows[np.arange(layers) * groups // layers]


def _labels(case: Case, rng: np.random.Generator) -> dict[str, np.ndarray]:
    B, S, config = case.batch, case.sequence, case.config
    K = config.get("num_labels", 2)
    if case.head in ("AlbertForPreTraining", "AlbertForMaskedLM", "AlbertForTokenClassification"):
        tokens = rng.integers(0, K if "Token" in case.head else config["vocab_size"], (B, S))
        tokens[rng.random((B, S)) < (1.0 if case.ignored else 0.5)] = -100
        if not case.ignored:
            tokens[-1, 0] = 1  # a label in the empty row, where there is one
        order = np.where(np.arange(B) == 1, -100, np.arange(B) // 2 % 2)
        return {"labels": tokens} | ({"sentence_order_label": order} if case.head == "AlbertForPreTraining" else {})
    if (
        case.head == "AlbertForQuestionAnswering"
    ):  # the first end lies outside the sequence, the last start right behind it
        return {"start_positions": np.array([1, 3, S]), "end_positions": np.array([S + 3, 4, 2])}
    if case.head == "AlbertForMultipleChoice":
        return {"labels": rng.integers(0, case.choices, B)}
    if config.get("problem_type") == "multi_label_classification":
        return {"labels": rng.integers(0, 2, (B, K)).astype(np.float64)}
    if config.get("problem_type") == "regression" or K == 1:
        return {"labels": _uniform(rng, (B,) if K == 1 else (B, K), 1.0)}
    return {"labels": rng.integers(0, K, B)}


def read_golden(case: Case) -> dict[str, np.ndarray]:
    """The stored numbers of a case by name: output fields, `hidden_states.0`, `attentions.0`, `grad.<parameter>`."""
    from safetensors.numpy import load_file

    stored = load_file(FOLDER / f"{case.head}.safetensors")
    prefix = f"{case.name}/"
    return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
