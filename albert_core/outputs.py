"""What comes out of a model: one frozen dataclass per head, the same classes in every backend.

An output is used like transformers' `ModelOutput`: `out.logits`, `out["logits"]`, `out[0]`, `out[1:]`, `len`,
iteration over the present keys. Absent fields are structure, not leaves, for every framework's tree functions.

transformers' Trainer and accelerate look at an output only where `isinstance(out, dict)`, TensorFlow's tree functions
only where it is no mapping: those of PyTorch's tensors are dicts for isinstance, and the type stays what it is.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, ClassVar, Self

__all__ = [
    "OUTPUTS",
    "AlbertForPreTrainingOutput",
    "BaseModelOutputWithPooling",
    "MaskedLMOutput",
    "ModelOutput",
    "MultipleChoiceModelOutput",
    "QuestionAnsweringModelOutput",
    "SequenceClassifierOutput",
    "TokenClassifierOutput",
    "flatten",
    "register_with_jax",
    "seen_as_both",
    "unflatten",
]

Array = Any


def _array(dims: str, doc: str) -> Any:
    return dataclasses.field(default=None, metadata={"dims": dims, "doc": doc})


@dataclass(frozen=True)
class ModelOutput:
    """Base of all outputs; the fields are those of the subclass.

    Attributes:
        dict_of: Kinds of arrays whose outputs are dicts for isinstance.
    """

    dict_of: ClassVar[tuple[type, ...]] = ()

    def __post_init__(self) -> None:
        """One mapping or iterator of pairs holds all fields: accelerate and `DataParallel` call `type(out)` with it."""
        names = [f.name for f in dataclasses.fields(self)]
        first = getattr(self, names[0]) if names else None
        first = dict(first) if isinstance(first, Iterator) else first
        if isinstance(first, dict) and first and first.keys() <= {*names}:
            type(self).__init__(self, **first)

    @property
    def __class__(self) -> type:  # type: ignore[override]  # nobody sets it
        is_dict = isinstance(next(iter(self.values()), None), self.dict_of)
        return seen_as_both(type(self), dict) if is_dict else type(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return unflatten, (type(self), self.keys(), self.values())  # pickle's own way checks `__class__`

    def keys(self) -> tuple[str, ...]:
        """Names of the present fields, in order."""
        return tuple(f.name for f in dataclasses.fields(self) if getattr(self, f.name) is not None)

    def values(self) -> tuple[Any, ...]:
        """The present fields, in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def items(self) -> tuple[tuple[str, Any], ...]:
        """Names and values of the present fields, in order."""
        return tuple((name, getattr(self, name)) for name in self.keys())

    def to_tuple(self) -> tuple[Any, ...]:
        """The same as `values`."""
        return self.values()

    def get(self, name: str, default: Any = None) -> Any:
        """The field, or `default` when it is absent."""
        return self[name] if name in self else default

    def map(self, function: Callable[[Array], Any]) -> Self:
        """A new output whose every array, also inside tuples, is `function` of the old one."""
        values = (tuple(map(function, v)) if isinstance(v, tuple) else function(v) for v in self.values())
        return type(self)(**dict(zip(self.keys(), values, strict=True)))

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.values()[key]
        if key not in self.keys():
            raise KeyError(f"{type(self).__name__} has no {key!r}; present: {', '.join(self.keys())}")
        return getattr(self, key)

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    # TensorFlow's CustomNestProtocol: tf.nest, tf.function and keras take outputs apart without a registration.
    def __tf_flatten__(self) -> tuple[Any, tuple[Any, ...]]:
        return (type(self), self.keys()), self.values()

    @classmethod
    def __tf_unflatten__(cls, metadata: Any, components: tuple[Any, ...]) -> ModelOutput:
        kind, names = metadata
        return unflatten(kind, names, components)


def flatten(output: ModelOutput) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The present values, and the names that `unflatten` needs."""
    return output.values(), output.keys()


def unflatten(kind: type[ModelOutput], names: tuple[str, ...], values: Any) -> ModelOutput:
    """The inverse of `flatten`; values may be anything a tree function puts in their place."""
    return kind(**dict(zip(names, values, strict=True)))


@cache
def seen_as_both(cls: type, other: type) -> type:
    """A subclass of both, for an object's `__class__` to name and isinstance to find; what it makes is of the first."""

    def make(_: type, *args: Any, **kwargs: Any) -> Any:
        return cls(*args, **kwargs) if args or kwargs else object.__new__(cls)

    own = {"__new__": make, "__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls, other), own)


_LOSS = "Scalar loss, when labels were given."
_HIDDEN_STATES = "L + 1 states: after the embedding projection, then after each layer."
_ATTENTIONS = "L * I attention probabilities, after dropout and head mask."


@dataclass(frozen=True)
class BaseModelOutputWithPooling(ModelOutput):
    """Output of the encoder."""

    last_hidden_state: Array = _array("BSH", "Hidden states of the last layer; [B, P, H] with output_positions.")
    pooler_output: Array = _array(
        "BH", "tanh of a linear map of the first position put out, when the model has a pooler."
    )
    hidden_states: tuple[Array, ...] | None = _array("BSH", _HIDDEN_STATES)
    attentions: tuple[Array, ...] | None = _array("BNSS", _ATTENTIONS)


@dataclass(frozen=True)
class AlbertForPreTrainingOutput(ModelOutput):
    """Output of the pretraining head."""

    loss: Array = _array("", "Masked-LM loss plus sentence-order loss, when both labels were given.")
    prediction_logits: Array = _array("BSV", "Scores of every piece; [B, P, V] with masked_positions.")
    sop_logits: Array = _array("B2", "Scores of in order and swapped.")
    hidden_states: tuple[Array, ...] | None = _array("BSH", _HIDDEN_STATES)
    attentions: tuple[Array, ...] | None = _array("BNSS", _ATTENTIONS)


@dataclass(frozen=True)
class MaskedLMOutput(ModelOutput):
    """Output of the masked-LM head."""

    loss: Array = _array("", _LOSS)
    logits: Array = _array("BSV", "Scores of every piece; [B, P, V] with masked_positions.")
    hidden_states: tuple[Array, ...] | None = _array("BSH", _HIDDEN_STATES)
    attentions: tuple[Array, ...] | None = _array("BNSS", _ATTENTIONS)


@dataclass(frozen=True)
class SequenceClassifierOutput(ModelOutput):
    """Output of the sequence classifier."""

    loss: Array = _array("", _LOSS)
    logits: Array = _array("BK", "Scores of each label, or the regressed values.")
    hidden_states: tuple[Array, ...] | None = _array("BSH", _HIDDEN_STATES)
    attentions: tuple[Array, ...] | None = _array("BNSS", _ATTENTIONS)


@dataclass(frozen=True)
class MultipleChoiceModelOutput(ModelOutput):
    """Output of the multiple-choice head."""

    loss: Array = _array("", _LOSS)
    logits: Array = _array("BC", "Score of each choice.")
    hidden_states: tuple[Array, ...] | None = _array("BSH", _HIDDEN_STATES)
    attentions: tuple[Array, ...] | None = _array("BNSS", _ATTENTIONS)


@dataclass(frozen=True)
class TokenClassifierOutput(ModelOutput):
    """Output of the token classifier."""

    loss: Array = _array("", _LOSS)
    logits: Array = _array("BSK", "Scores of each label at each piece.")
    hidden_states: tuple[Array, ...] | None = _array("BSH", _HIDDEN_STATES)
    attentions: tuple[Array, ...] | None = _array("BNSS", _ATTENTIONS)


@dataclass(frozen=True)
class QuestionAnsweringModelOutput(ModelOutput):
    """Output of the question-answering head."""

    loss: Array = _array("", "Mean of the losses of start and end, when both positions were given.")
    start_logits: Array = _array("BS", "Score of each piece as the first of the answer.")
    end_logits: Array = _array("BS", "Score of each piece as the last of the answer.")
    hidden_states: tuple[Array, ...] | None = _array("BSH", _HIDDEN_STATES)
    attentions: tuple[Array, ...] | None = _array("BNSS", _ATTENTIONS)


OUTPUTS: tuple[type[ModelOutput], ...] = (
    BaseModelOutputWithPooling,
    AlbertForPreTrainingOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
    MultipleChoiceModelOutput,
    TokenClassifierOutput,
    QuestionAnsweringModelOutput,
)


@lru_cache(maxsize=1)
def register_with_jax() -> None:
    """Make every output a JAX pytree: for Flax, and for Keras where it runs on JAX; the second call does nothing."""
    register = importlib.import_module("jax").tree_util.register_dataclass
    for output in OUTPUTS:
        register(output, data_fields=[f.name for f in dataclasses.fields(output)], meta_fields=[])
