"""What goes into a model: the dimension letters, and every input with its order, dimensions, type and meaning.

`Signature.bind` turns positional and keyword arguments into a checked `Inputs`, the same in every backend.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = [
    "DIMENSIONS",
    "INPUTS",
    "LABELS",
    "Input",
    "Inputs",
    "Signature",
    "check_ids",
    "dimension_sizes",
    "dtype_name",
    "dummy_batch",
]

DIMENSIONS = {
    "B": "batch",
    "C": "choices",
    "S": "sequence",
    "P": "masked positions per sequence",
    "E": "embedding size",
    "H": "hidden size",
    "N": "attention heads",
    "D": "head size",
    "F": "feed-forward size",
    "V": "vocabulary",
    "X": "position embeddings",
    "T": "segment types",
    "R": "relative distances, 2 X - 1",
    "L": "layers",
    "I": "inner layers of a group",
    "G": "layer groups",
    "K": "labels",
}


def dimension_sizes(config: AlbertConfig) -> dict[str, int]:
    """The sizes that a config fixes, by dimension letter; digits stand for themselves."""
    return {
        "E": config.embedding_size,
        "H": config.hidden_size,
        "N": config.num_attention_heads,
        "D": config.head_size,
        "F": config.intermediate_size,
        "V": config.vocab_size,
        "X": config.max_position_embeddings,
        "T": config.type_vocab_size,
        "R": 2 * config.max_position_embeddings - 1,
        "L": config.num_hidden_layers,
        "I": config.inner_group_num,
        "G": config.num_hidden_groups,
        "K": config.num_labels,
        "1": 1,
        "2": 2,
    }


@dataclass(frozen=True)
class Input:
    """One argument of a model.

    Attributes:
        dtype: "int", "float", "mask" (int, bool or 0/1 float), "label" (decided by the head) or "flag".
        shapes: The accepted dimension strings, for example ("BS",); a flag has none.
        doc: What it means.
        default: What an absent value stands for.
    """

    name: str
    dtype: str
    shapes: tuple[str, ...]
    doc: str
    default: str = ""


# In the order of transformers 4.57; a head picks its own from this list and keeps the order.
INPUTS: tuple[Input, ...] = (
    Input("input_ids", "int", ("BS",), "Ids of the pieces."),
    Input(
        "attention_mask",
        "mask",
        ("BS", "BSS", "B1SS", "BNSS"),
        "1 where a position may be attended to, 0 where not; a row of zeros attends uniformly to all S positions",
        "all ones",
    ),
    Input("token_type_ids", "int", ("BS",), "Segment of each piece.", "all zeros"),
    Input("position_ids", "int", ("BS", "1S"), "Position of each piece.", "0 to S - 1"),
    Input(
        "head_mask",
        "float",
        ("N", "LN"),
        "Factor on each attention head, per layer when it has a row for each.",
        "all ones",
    ),
    Input("inputs_embeds", "float", ("BSE",), "Token embeddings in place of input_ids; their width is embedding_size."),
    Input("labels", "label", (), "What the loss compares with."),
    Input("start_positions", "int", ("B",), "First piece of each answer; from S on it is ignored, below 0 it means 0."),
    Input("end_positions", "int", ("B",), "Last piece of each answer; from S on it is ignored, below 0 it means 0."),
    Input(
        "sentence_order_label",
        "int",
        ("B",),
        "0 where the segments stand in their order, 1 where they are swapped; -100 is ignored.",
    ),
    Input("output_attentions", "flag", (), "Whether to return attention probabilities.", "config.output_attentions"),
    Input("output_hidden_states", "flag", (), "Whether to return all hidden states.", "config.output_hidden_states"),
    Input("return_dict", "flag", (), "False returns a tuple of the present fields.", "config.return_dict"),
    Input(
        "masked_positions",
        "int",
        ("BP",),
        "Where alone masked-LM logits are computed, [B, P, V]; labels are then [B, P], -100 in unused places.",
        "all positions",
    ),
)
_BY_NAME = {i.name: i for i in INPUTS}
FLAGS = tuple(i.name for i in INPUTS if i.dtype == "flag")
LABELS = ("labels", "start_positions", "end_positions", "sentence_order_label")  # what only a loss reads
_ENCODER_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds")
PER_CHOICE = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")


@dataclass
class Inputs:
    """The bound arguments of one call; absent ones are None, flags are resolved against the config."""

    input_ids: Any = None
    attention_mask: Any = None
    token_type_ids: Any = None
    position_ids: Any = None
    head_mask: Any = None
    inputs_embeds: Any = None
    masked_positions: Any = None  # checked before labels, whose shape it decides
    labels: Any = None
    start_positions: Any = None
    end_positions: Any = None
    sentence_order_label: Any = None
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True

    def for_encoder(self) -> dict[str, Any]:
        """What a head passes on to the encoder: everything but labels and masked positions, as an output object."""
        names = (*_ENCODER_INPUTS, "output_attentions", "output_hidden_states")
        return {"return_dict": True} | {name: getattr(self, name) for name in names}

    def arrays(self) -> dict[str, Any]:
        """The present arrays by name."""
        present = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in FLAGS}
        return {name: value for name, value in present.items() if value is not None}


def dtype_name(array: Any) -> str:
    """The dtype of any framework's array as NumPy names it, for example "int64"."""
    dtype = getattr(array, "dtype", None)
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def _is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


_ACCEPTS = {
    "int": _is_integer,
    "mask": lambda d: _is_integer(d) or d.startswith(("bool", "float", "bfloat")),
    "float": lambda d: d.startswith(("float", "bfloat")),
    "label": lambda d: _is_integer(d) or d.startswith(("float", "bfloat", "bool")),
}
_KINDS = {
    "int": "integers",
    "mask": "integers, booleans or floats of 0 and 1",
    "float": "floats",
    "label": "integers or floats",
}


@dataclass(frozen=True)
class Signature:
    """The inputs that one head takes.

    Attributes:
        names: Input names in positional order.
        label_shapes: The accepted shapes of `labels`.
        choices: Whether the inputs carry a choice axis, [B, C, S].
    """

    names: tuple[str, ...]
    label_shapes: tuple[str, ...] = ()
    choices: bool = False
    extra: tuple[inspect.Parameter, ...] = field(default=(), compare=False)

    @property
    def python(self) -> inspect.Signature:
        """As `help` and `inspect` show it."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        own = [inspect.Parameter("self", kind)]
        return inspect.Signature([*own, *(inspect.Parameter(n, kind, default=None) for n in self.names), *self.extra])

    def named(self, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Positional and keyword arguments as one dict; a first argument may also be a dict or a list of all.

        Raises:
            TypeError: Too many arguments, an unknown name, or one given twice.
        """
        if len(args) == 1 and isinstance(args[0], Mapping):
            args, kwargs = (), {**args[0], **kwargs}
        elif len(args) == 1 and isinstance(args[0], list | tuple):
            args = args[0]
        if len(args) > len(self.names):
            raise TypeError(f"expected at most {len(self.names)} inputs ({', '.join(self.names)}), got {len(args)}")
        given = dict(zip(self.names, args, strict=False))
        for name, value in kwargs.items():
            if name not in self.names:
                raise TypeError(f"unexpected input {name!r}; expected one of {', '.join(self.names)}")
            if name in given:
                raise TypeError(f"input {name!r} was given twice")
            given[name] = value
        return given

    def bind(self, config: AlbertConfig, args: Sequence[Any], kwargs: dict[str, Any]) -> Inputs:
        """Arguments as checked `Inputs`.

        Raises:
            TypeError: Too many arguments, an unknown name, or one given twice.
            ValueError: A wrong shape or dtype, a sequence longer than the positions, or neither or both of input_ids
                and inputs_embeds. The message names the input, what was expected and what came.
        """
        given = self.named(args, kwargs)
        for name in FLAGS:
            if given.get(name) is None:
                given[name] = getattr(config, name)
        inputs = Inputs(**given)
        self.check(config, inputs)
        return inputs

    def check(self, config: AlbertConfig, inputs: Inputs) -> None:
        """Raise the ValueErrors of `bind`; looks at shapes and dtypes only, never at values."""
        if (inputs.input_ids is None) == (inputs.inputs_embeds is None):
            came = "neither" if inputs.input_ids is None else "both"
            raise ValueError(f"expected exactly one of input_ids and inputs_embeds, got {came}")
        sizes: dict[str, Any] = dimension_sizes(config)
        for name, value in inputs.arrays().items():
            _check_dtype(_BY_NAME[name], value)
            _check_shape(name, value, self._shapes(_BY_NAME[name], inputs), sizes)
        longest, sequence = sizes["X"], sizes["S"]
        if isinstance(sequence, int) and sequence > longest and inputs.position_ids is None:
            raise ValueError(f"expected a sequence of at most max_position_embeddings = {longest}, got {sequence}")

    def _shapes(self, spec: Input, inputs: Inputs) -> tuple[str, ...]:
        if spec.name == "labels":
            return self.label_shapes if inputs.masked_positions is None else ("BP",)
        if self.choices and spec.name in PER_CHOICE:
            leading = tuple("BC" + s[1:] for s in spec.shapes if s[0] == "B")
            return (*leading, *spec.shapes) if spec.name == "attention_mask" else leading
        return spec.shapes


def _check_shape(name: str, value: Any, accepted: tuple[str, ...], sizes: dict[str, Any]) -> None:
    """Compare a shape with the accepted ones; the first input to name B, C, S or P decides it for the rest."""
    shape = tuple(value.shape)
    for letters in accepted:
        if len(letters) == len(shape) and all(_same(sizes.get(d), n) for d, n in zip(letters, shape, strict=True)):
            for letter, n in zip(letters, shape, strict=True):
                sizes.setdefault(letter, n)
            return
    wanted = " or ".join("[" + ", ".join(_described(d, sizes) for d in letters) + "]" for letters in accepted)
    raise ValueError(f"{name}: expected shape {wanted}, got {list(shape)}")


def _same(expected: Any, got: Any) -> bool:
    return expected is None or got is None or expected == got


def _described(letter: str, sizes: dict[str, Any]) -> str:
    return letter if letter.isdigit() or sizes.get(letter) is None else f"{letter}={sizes[letter]}"


def _check_dtype(spec: Input, value: Any) -> None:
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise ValueError(f"{spec.name}: expected an array of {_KINDS[spec.dtype]}, got {type(value).__name__}")
    name = dtype_name(value)
    if not _ACCEPTS[spec.dtype](name):
        raise ValueError(f"{spec.name}: expected an array of {_KINDS[spec.dtype]}, got {name}")
    if spec.dtype == "mask" and len(value.shape) == 4 and name.startswith(("float", "bfloat")):
        raise ValueError(
            f"{spec.name}: expected a 4-D mask of integers or booleans (1 attends, 0 does not), got {name}"
        )


def check_ids(config: AlbertConfig, name: str, low: int, high: int) -> None:
    """Raise a ValueError when the ids of an input, from `low` to `high`, leave its table."""
    limits = {
        "input_ids": ("vocab_size", config.vocab_size),
        "token_type_ids": ("type_vocab_size", config.type_vocab_size),
        "position_ids": ("max_position_embeddings", config.max_position_embeddings),
    }
    field_name, limit = limits[name]
    if low < 0 or high >= limit:
        raise ValueError(
            f"{name}: expected ids from 0 to {limit - 1} ({field_name} = {limit}), got {low if low < 0 else high}"
        )


CHECKED_IDS = ("input_ids", "token_type_ids", "position_ids")


def dummy_batch(config: AlbertConfig, batch: int = 2, sequence: int = 8) -> dict[str, np.ndarray]:
    """A small valid batch of NumPy arrays: ids, mask and segments, [B, S]."""
    sequence = min(sequence, config.max_position_embeddings)
    ids = np.arange(batch * sequence, dtype=np.int32).reshape(batch, sequence) % config.vocab_size
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
