"""The parameter table: one row per module, from which everything else about weights is derived.

Canonical names are those of transformers' PyTorch classes, so a directory written here opens there without a map.
Shapes, layouts, initialisers, weight decay, tied names and the leaf names of each framework follow from a row's
kind and dimensions. The TF1 paths are those of https://github.com/google-research/albert (modeling.py).
"""

from __future__ import annotations

import enum
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from albert_core.dimensions import dimension_sizes

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = [
    "ADDED_PART",
    "BIAS",
    "EMBEDDINGS_PART",
    "ENCODER_PART",
    "POOLER_PART",
    "PREFIX",
    "TIED",
    "WORDS",
    "Kind",
    "Parameter",
    "Row",
    "count",
    "encoder_size",
    "initial_state",
    "parameter_table",
    "part_of",
    "rows",
    "truncated_normal",
]

PREFIX = "albert."  # absent in the files of a bare encoder


class Kind(enum.Enum):
    """What a module is; decides its leaves, their layout and how they start."""

    EMBEDDING = "embedding"  # weight [rows, width]
    LINEAR = "linear"  # dims (in, out): weight [out, in] and bias [out]; kernels of other formats are [in, out]
    NORM = "norm"  # weight and bias [width]
    VECTOR = "vector"  # a bare array, zero at the start
    OUTPUT = "output"  # a LINEAR that the TF1 files hold as [out, in] "output_weights"


@dataclass(frozen=True)
class Row:
    """One module of the model.

    Attributes:
        part: The attribute of the head class it belongs to ("encoder" and "pooler" both live in `albert`).
        path: Its canonical path; `{g}` and `{i}` stand for the layer group and the inner layer.
        tf1: Its variable scope in Google's checkpoints, or None where Google has no such module.
        kind: What it is.
        dims: Dimension letters of `albert_core.dimensions`; LINEAR and OUTPUT name (in, out).
        tied: Leaf -> the canonical name whose values it shares.
    """

    part: str
    path: str
    tf1: str | None
    kind: Kind
    dims: tuple[str, ...]
    tied: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Parameter:
    """One array of the model, under its canonical name.

    Attributes:
        name: Canonical name, for example "albert.pooler.weight".
        shape: Canonical shape.
        module: Path of the module that holds it.
        leaf: "weight", "bias", or "" for a bare array.
        kind: The kind of its module.
        part: The part of its row.
        tied_to: Canonical name whose values it shares, or None.
    """

    name: str
    shape: tuple[int, ...]
    module: str
    leaf: str
    kind: Kind
    part: str
    tied_to: str | None = None

    @property
    def decay(self) -> bool:
        """Whether weight decay and LAMB's trust ratio apply to it (the exclusion list of Google's LAMBOptimizer)."""
        return self.leaf == "weight" and self.kind is not Kind.NORM

    @property
    def start(self) -> float | None:
        """The value that all of it starts at; None where it is drawn."""
        return None if self.decay else float(self.kind is Kind.NORM and self.leaf == "weight")


EMBEDDINGS_PART, ENCODER_PART, POOLER_PART = "embeddings", "encoder", "pooler"
ADDED_PART = "added"  # in no row: modules of a user's own
_LAYER = "albert.encoder.albert_layer_groups.{g}.albert_layers.{i}."
_TF1_LAYER = "bert/encoder/transformer/group_{g}/inner_group_{i}/"
_IN = "albert.encoder.embedding_hidden_mapping_in"
WORDS, BIAS = "albert.embeddings.word_embeddings.weight", "predictions.bias"
_EMB, _TF1_EMB = "albert.embeddings.", "bert/embeddings/"
_LINEAR, _NORM, _EMBEDDING = Kind.LINEAR, Kind.NORM, Kind.EMBEDDING

_DECODER_TIES = (("weight", WORDS), ("bias", BIAS))

# fmt: off
ROWS: tuple[Row, ...] = (
    Row("embeddings", _EMB + "word_embeddings", _TF1_EMB + "word_embeddings", _EMBEDDING, ("V", "E")),
    Row("embeddings", _EMB + "position_embeddings", _TF1_EMB + "position_embeddings", _EMBEDDING, ("X", "E")),
    Row("embeddings", _EMB + "token_type_embeddings", _TF1_EMB + "token_type_embeddings", _EMBEDDING, ("T", "E")),
    Row("embeddings", _EMB + "LayerNorm", _TF1_EMB + "LayerNorm", _NORM, ("E",)),
    Row("encoder", _IN, "bert/encoder/embedding_hidden_mapping_in", _LINEAR, ("E", "H")),
    Row("encoder", _LAYER + "full_layer_layer_norm", _TF1_LAYER + "LayerNorm_1", _NORM, ("H",)),
    Row("encoder", _LAYER + "attention.query", _TF1_LAYER + "attention_1/self/query", _LINEAR, ("H", "H")),
    Row("encoder", _LAYER + "attention.key", _TF1_LAYER + "attention_1/self/key", _LINEAR, ("H", "H")),
    Row("encoder", _LAYER + "attention.value", _TF1_LAYER + "attention_1/self/value", _LINEAR, ("H", "H")),
    Row("encoder", _LAYER + "attention.dense", _TF1_LAYER + "attention_1/output/dense", _LINEAR, ("H", "H")),
    Row("encoder", _LAYER + "attention.LayerNorm", _TF1_LAYER + "LayerNorm", _NORM, ("H",)),
    Row("encoder", _LAYER + "attention.distance_embedding", None, _EMBEDDING, ("R", "D")),
    Row("encoder", _LAYER + "ffn", _TF1_LAYER + "ffn_1/intermediate/dense", _LINEAR, ("H", "F")),
    Row("encoder", _LAYER + "ffn_output", _TF1_LAYER + "ffn_1/intermediate/output/dense", _LINEAR, ("F", "H")),
    Row("pooler", "albert.pooler", "bert/pooler/dense", _LINEAR, ("H", "H")),
    Row("predictions", BIAS, "cls/predictions/output_bias", Kind.VECTOR, ("V",)),
    Row("predictions", "predictions.LayerNorm", "cls/predictions/transform/LayerNorm", _NORM, ("E",)),
    Row("predictions", "predictions.dense", "cls/predictions/transform/dense", _LINEAR, ("H", "E")),
    Row("predictions", "predictions.decoder", None, _LINEAR, ("E", "V"), _DECODER_TIES),
    Row("sop_classifier", "sop_classifier.classifier", "cls/seq_relationship", Kind.OUTPUT, ("H", "2")),
    Row("classifier", "classifier", "", Kind.OUTPUT, ("H", "K")),
    Row("choice_classifier", "classifier", "", Kind.OUTPUT, ("H", "1")),
    Row("qa_outputs", "qa_outputs", "cls/squad", Kind.OUTPUT, ("H", "2")),
)
# fmt: on

TIED = {f"{row.path}.{leaf}": target for row in ROWS for leaf, target in row.tied}


def rows(config: AlbertConfig, parts: Iterable[str]) -> Iterator[Row]:
    """The rows of some parts of a model, with groups and inner layers written out."""
    wanted = set(parts)
    for row in ROWS:
        if row.part not in wanted or (row.dims[0] == "R" and config.position_embedding_type == "absolute"):
            continue
        if "{g}" not in row.path:
            yield row
            continue
        for g in range(config.num_hidden_groups):
            for i in range(config.inner_group_num):
                tf1 = row.tf1 and row.tf1.format(g=g, i=i)
                yield Row(row.part, row.path.format(g=g, i=i), tf1, row.kind, row.dims, row.tied)


def _leaves(row: Row, sizes: dict[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    dims = tuple(sizes[letter] for letter in row.dims)
    if row.kind in (Kind.LINEAR, Kind.OUTPUT):
        yield from (("weight", dims[::-1]), ("bias", dims[-1:]))
    elif row.kind is Kind.NORM:
        yield from (("weight", dims), ("bias", dims))
    else:
        yield "weight" if row.kind is Kind.EMBEDDING else "", dims


def parameter_table(config: AlbertConfig, parts: Iterable[str]) -> dict[str, Parameter]:
    """Every parameter of some parts of a model, tied ones included, by canonical name.

    Args:
        config: The model's sizes.
        parts: Part names, as in `albert_core.heads`.
    """
    return dict(_parameter_table(config.replace(), tuple(parts)))


@lru_cache(maxsize=64)
def _parameter_table(config: AlbertConfig, parts: tuple[str, ...]) -> dict[str, Parameter]:
    sizes, table = dimension_sizes(config), {}
    for row in rows(config, parts):
        tied = dict(row.tied)
        for leaf, shape in _leaves(row, sizes):
            name = f"{row.path}.{leaf}" if leaf else row.path
            table[name] = Parameter(name, shape, row.path, leaf, row.kind, row.part, tied.get(leaf))
    return table


def part_of(name: str) -> str | None:
    """The part that a canonical name belongs to in any public head, or None when no ALBERT has it."""
    for row in ROWS:
        pattern = re.escape(row.path).replace(r"\{g\}", r"\d+").replace(r"\{i\}", r"\d+")
        leaves = "" if row.kind is Kind.VECTOR else r"\.weight" if row.kind is Kind.EMBEDDING else r"\.(weight|bias)"
        if re.fullmatch(pattern + leaves, name):
            return row.part
    return None


def count(config: AlbertConfig, parts: Iterable[str]) -> int:
    """Number of trained values of some parts of a model; tied ones count once."""
    return sum(math.prod(p.shape) for p in parameter_table(config, parts).values() if p.tied_to is None)


def encoder_size(config: AlbertConfig) -> int:
    """Number of values of the encoder and the pooler, found without building the table of every group."""
    sizes, total = dimension_sizes(config), 0
    copies = config.num_hidden_groups * config.inner_group_num
    for row in ROWS:
        absent = row.dims[0] == "R" and config.position_embedding_type == "absolute"
        if row.path.startswith(PREFIX) and not absent:
            size = sum(math.prod(shape) for _, shape in _leaves(row, sizes))
            total += size * (copies if "{g}" in row.path else 1)
    return total


def truncated_normal(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    """A float64 normal of scale `std` cut at two standard deviations, without correcting the variance."""
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2.0).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values * std


def initial_state(config: AlbertConfig, parts: Iterable[str], seed: int) -> dict[str, np.ndarray]:
    """A fresh model as NumPy arrays, for experiments that must start alike in every framework.

    Each parameter has a stream of its own, so it does not depend on which other parts the model has.

    Args:
        config: The model's sizes and `initializer_range`.
        parts: Part names, as in `albert_core.heads`.
        seed: Any non-negative integer.

    Returns:
        float64 arrays by canonical name; tied names share one array.
    """
    state: dict[str, Any] = {}
    table = parameter_table(config, parts)
    for p in (p for p in table.values() if p.tied_to is None):
        if p.start is None:
            rng = np.random.default_rng([seed, zlib.crc32(p.name.encode())])
            state[p.name] = truncated_normal(rng, p.shape, config.initializer_range)
        else:
            state[p.name] = np.full(p.shape, p.start)
    if WORDS in state and config.pad_token_id is not None:
        state[WORDS][config.pad_token_id] = 0.0
    return state | {p.name: state[p.tied_to] for p in table.values() if p.tied_to}
