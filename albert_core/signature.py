"""What goes into a model: every input with its order, dimensions, type and meaning.

`Signature.bind` turns positional and keyword arguments into a checked `Inputs`, the same in every backend.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from albert_core.dimensions import DIMENSIONS, dimension_sizes
from albert_core.input_checks import check_dtype, check_ids, check_shape, dtype_name, is_integer
from albert_core.problem_types import LABEL_RULES, problem_type

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = [
    "DIMENSIONS",
    "INPUTS",
    "LABELS",
    "Input",
    "Inputs",
    "Signature",
    "dimension_sizes",
    "dummy_batch",
    "flat_choices",
    "problem_type",
]


@dataclass(frozen=True)
class Input:
    """One argument of a model.

    Attributes:
        dtype: "int", "float", "mask" (int, bool or 0/1 float), "label" (decided by the head) or "flag".
        shapes: The accepted dimension strings, for example ("BS",); a flag has none.
        doc: What it means.
        default: What an absent value stands for.
        index: The dimension that its values count, where they are indices.
    """

    name: str
    dtype: str
    shapes: tuple[str, ...]
    doc: str
    default: str = ""
    index: str = ""


# In the order of transformers 4.57; a head picks its own from this list and keeps the order.
INPUTS: tuple[Input, ...] = (
    Input("input_ids", "int", ("BS",), "Ids of the pieces.", index="V"),
    Input(
        "attention_mask",
        "mask",
        ("BS", "BSS", "B1SS", "BNSS"),
        "1 where a position may be attended to, 0 where not; a row of zeros attends uniformly to all S positions",
        "all ones",
    ),
    Input("token_type_ids", "int", ("BS",), "Segment of each piece.", "all zeros", "T"),
    Input("position_ids", "int", ("BS", "1S"), "Position of each piece.", "0 to S - 1", "X"),
    Input(
        "head_mask",
        "float",
        ("N", "LN"),
        "Factor on each attention head, per layer when it has a row for each.",
        "all ones",
    ),
    Input("inputs_embeds", "float", ("BSE",), "Token embeddings in place of input_ids; their width is embedding_size."),
    Input("labels", "label", (), "What the loss compares with."),
    Input(
        "start_positions",
        "int",
        ("B", "B1"),
        "First piece of each answer; ignored from S on, 0 below 0.",
    ),
    Input("end_positions", "int", ("B", "B1"), "Last piece of each answer; ignored from S on, 0 below 0."),
    Input(
        "sentence_order_label",
        "int",
        ("B",),
        "0 where the segments stand in their order, 1 where they are swapped; -100 is ignored.",
        index="2",
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
    Input(
        "output_positions",
        "int",
        ("BP",),
        "Where alone the last hidden state is computed, [B, P, H]; the pooler reads the first of them.",
        "all positions",
    ),
)
_BY_NAME = {i.name: i for i in INPUTS}
FLAGS = tuple(i.name for i in INPUTS if i.dtype == "flag")
WHOLE = tuple(i.name for i in INPUTS if i.dtype in ("int", "mask"))  # what whole numbers say
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
    output_positions: Any = None
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True

    def for_encoder(self, output_positions: Any = None) -> dict[str, Any]:
        """What a head passes on to the encoder: everything but labels and masked positions, as an output object.

        Args:
            output_positions: The positions that the head reads, [B, P]; all when None.
        """
        names = (*_ENCODER_INPUTS, "output_attentions", "output_hidden_states")
        given = {name: getattr(self, name) for name in names}
        return given | {"return_dict": True, "output_positions": output_positions}

    def last_queries(self, config: AlbertConfig) -> Any:
        """Positions that are the only queries of the last layer, [B, P]; None where all are.

        All positions are, where other states or the probabilities are returned too, and where each query has its own
        row in the mask or in the relative positions.
        """
        one_row = self.attention_mask is None or len(self.attention_mask.shape) == 2
        alone = not (self.output_hidden_states or self.output_attentions)
        return self.output_positions if one_row and alone and config.position_embedding_type == "absolute" else None

    @property
    def lead(self) -> Any:
        """The pieces, or the embeddings in their place."""
        return self.inputs_embeds if self.input_ids is None else self.input_ids

    def arrays(self) -> dict[str, Any]:
        """The present arrays by name."""
        present = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in FLAGS}
        return {name: value for name, value in present.items() if value is not None}


@dataclass(frozen=True)
class Signature:
    """The inputs that one head takes.

    Attributes:
        names: Input names in positional order.
        label_shapes: The accepted shapes of `labels`.
        label_index: The dimension that labels count; "" where the problem type decides it, and the shape too.
        choices: Whether the inputs carry a choice axis, [B, C, S].
    """

    names: tuple[str, ...]
    label_shapes: tuple[str, ...] = ()
    label_index: str = ""
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
            check_dtype(_BY_NAME[name], value)
            check_shape(name, value, self._rule(_BY_NAME[name], config, inputs)[0], sizes)
        longest, sequence = sizes["X"], sizes["S"]
        counted = inputs.position_ids is None or config.position_embedding_type != "absolute"
        if isinstance(sequence, int) and sequence > longest and counted:
            raise ValueError(f"expected a sequence of at most max_position_embeddings = {longest}, got {sequence}")

    def check_ids(self, config: AlbertConfig, inputs: Inputs, known: Callable[[Any], np.ndarray | None]) -> None:
        """Raise a ValueError for an index outside its table or its labels.

        Args:
            config: Gives the sizes.
            inputs: Already checked by `check`.
            known: Gives an array's values as NumPy, or None where looking at them would wait for a device.
        """
        for name, value in inputs.arrays().items():
            letter = self._rule(_BY_NAME[name], config, inputs)[1]
            if not letter or not is_integer(dtype_name(value)) or (ids := known(value)) is None:
                continue
            limit = inputs.lead.shape[1] if letter == "C" else dimension_sizes(config)[letter]
            check_ids(name, ids, limit, _LIMITS[letter], name in LABELS)

    def _rule(self, spec: Input, config: AlbertConfig, inputs: Inputs) -> tuple[tuple[str, ...], str]:
        """The accepted shapes of an input, and the dimension that its values count."""
        if spec.name == "labels":
            if inputs.masked_positions is not None:
                return ("BP",), self.label_index
            by_head = (self.label_shapes, self.label_index)
            shapes, index = by_head if self.label_index else LABEL_RULES[problem_type(config, inputs.labels)]
            alone = "B1" in shapes and inputs.lead.shape[0] == 1  # one label for a batch of one needs no axis
            return (*shapes, "") if alone else shapes, index
        if self.choices and spec.name in PER_CHOICE:
            leading = tuple("BC" + s[1:] for s in spec.shapes if s[0] == "B")
            return (*leading, *spec.shapes) if spec.name == "attention_mask" else leading, spec.index
        return spec.shapes, spec.index


_LIMITS = {
    "V": "vocab_size",
    "T": "type_vocab_size",
    "X": "max_position_embeddings",
    "K": "num_labels",
    "C": "choices",
    "2": "orders",
}


def flat_choices(xp: Any, inputs: Inputs) -> Inputs:
    """[B, C, S] inputs as [B * C, S]; a mask without a choice axis holds for every choice.

    Args:
        xp: Has `shape`, `reshape` and `broadcast_to`.
        inputs: Of the multiple-choice head.
    """
    batch, choices = xp.shape(inputs.lead)[:2]
    flat = {}
    for name in PER_CHOICE:
        if (x := getattr(inputs, name)) is None:
            continue
        rank = len(x.shape)
        if name == "attention_mask" and (rank == 2 or (rank < 5 and x.shape[1] != inputs.lead.shape[1])):
            x = xp.broadcast_to(x[:, None], (batch, choices, *xp.shape(x)[1:]))
        flat[name] = xp.reshape(x, (-1, *xp.shape(x)[2:]))
    return replace(inputs, **flat)


def dummy_batch(config: AlbertConfig, batch: int = 2, sequence: int = 8) -> dict[str, np.ndarray]:
    """A small valid batch of NumPy arrays: ids, mask and segments, [B, S]."""
    sequence = min(sequence, config.max_position_embeddings)
    ids = np.arange(batch * sequence, dtype=np.int32).reshape(batch, sequence) % config.vocab_size
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
