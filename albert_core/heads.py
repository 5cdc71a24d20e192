"""What each public model class is, without a framework: one mixin per class.

A backend class puts its mixin first and adds arithmetic only. From the mixin come its documentation, its parts (rows
of the parameter table), whether it needs the pooler, its inputs, its output type and its labels.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable
from typing import Any, ClassVar

from albert_core import outputs
from albert_core.config import AlbertConfig
from albert_core.parameters import EMBEDDINGS_PART, ENCODER_PART, POOLER_PART
from albert_core.signature import DIMENSIONS, INPUTS, Inputs, Signature

__all__ = ["HEADS", "ForMaskedLM", "ForMultipleChoice", "ForPreTraining", "ForQuestionAnswering",
           "ForSequenceClassification", "ForTokenClassification", "Head", "Model"]  # fmt: skip

ENCODER_PARTS = (EMBEDDINGS_PART, ENCODER_PART)
_FORWARD_NAMES = ("forward", "call", "__call__")
_BEFORE_LABELS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds")
_AFTER_LABELS = ("output_attentions", "output_hidden_states", "return_dict")


def _signature(
    *labels: str, shapes: tuple[str, ...] = (), index: str = "", last: tuple[str, ...] = (), choices: bool = False
) -> Signature:
    return Signature((*_BEFORE_LABELS, *labels, *_AFTER_LABELS, *last), shapes, index, choices)


class Head:
    """Base of the mixins; gives the backend class its documentation.

    Attributes:
        head_name: The class name without a backend's prefix.
        about: What the class is, one paragraph.
        parts: Attributes beside the encoder that hold parameters, as parts of the parameter table.
        pooling: Whether the head reads the pooler.
        pooled_alone: Whether it reads nothing else.
        signature: The inputs it takes.
        output_class: What it returns.
        labels_doc: What `labels` holds, when it takes them.
    """

    head_name: ClassVar[str]
    about: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ()
    pooling: ClassVar[bool] = False
    pooled_alone: ClassVar[bool] = False
    signature: ClassVar[Signature]
    output_class: ClassVar[type[outputs.ModelOutput]]
    labels_doc: ClassVar[str] = ""

    @classmethod
    def all_parts(cls, pooling: bool | None = None) -> tuple[str, ...]:
        """Every part of the parameter table this class holds.

        Args:
            pooling: Whether the pooler is there; the class's own answer when None.
        """
        pooler = (POOLER_PART,) if (cls.pooling if pooling is None else pooling) else ()
        return (*ENCODER_PARTS, *pooler, *cls.parts)

    def read_positions(self, xp: Any, inputs: Inputs) -> Any:
        """Where the head reads the encoder, [B, P], the pooler's position first; None: everywhere.

        Args:
            xp: Has `zeros_like`, `concatenate` and `int32`.
            inputs: Checked.
        """
        masked, lead = inputs.masked_positions, inputs.lead
        if not self.pooled_alone and (masked is None or not self.pooling):
            return masked
        first = xp.zeros_like(lead[:, :1] if len(lead.shape) == 2 else lead[:, :1, 0], dtype=xp.int32)
        return first if masked is None else xp.concatenate([first, masked], 1)

    def masked_rows(self, inputs: Inputs, x: Any) -> Any:
        """Those of the last hidden states that masked LM scores: all but the pooler's where some were picked."""
        return x[:, 1:] if self.pooling and inputs.masked_positions is not None else x

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "head_name" in cls.__dict__ or not hasattr(cls, "head_name"):
            return  # a mixin of this file, or a base class of a backend
        cls.__doc__ = cls.__doc__ or cls.about
        if not any("head_name" in base.__dict__ for base in cls.__bases__):
            return  # a user's subclass: what it defines is its own, the rest is inherited
        for name in _FORWARD_NAMES:
            inherited = next(
                (
                    base.__dict__[name]
                    for base in cls.__mro__
                    if getattr(base, "framework", None) and name in base.__dict__
                ),
                None,
            )
            if inherited is not None:
                setattr(cls, name, _documented(inherited, cls))


def _documented(forward: Any, cls: type[Head]) -> Any:
    """A copy of a backend's one forward function that carries this head's signature and documentation."""
    own = types.FunctionType(
        forward.__code__, forward.__globals__, forward.__name__, forward.__defaults__, forward.__closure__
    )
    own.__kwdefaults__, own.__module__, own.__annotations__ = (
        forward.__kwdefaults__,
        cls.__module__,
        forward.__annotations__,
    )
    own.__qualname__, own.__doc__ = f"{cls.__qualname__}.{forward.__name__}", forward_doc(cls)
    extra = tuple(p for p in inspect.signature(forward).parameters.values() if p.kind is p.KEYWORD_ONLY)
    own.__signature__ = Signature(cls.signature.names, extra=extra).python  # type: ignore[attr-defined]
    return own


def forward_doc(cls: type[Head]) -> str:
    """The documentation of a head's forward pass: every input with its shape, every output field, the errors."""
    by_name = {i.name: i for i in INPUTS}
    lines = [f"Run {cls.head_name}.", "", "Args:"]
    for name in cls.signature.names:
        spec = by_name[name]
        shapes = cls.signature.label_shapes if name == "labels" else spec.shapes
        shown = " or ".join(_dims(s) for s in shapes)
        doc = cls.labels_doc if name == "labels" else spec.doc
        default = f" Default: {spec.default}." if spec.default else ""
        lines.append(f"    {name}: {doc.rstrip('.')}{', ' + shown if shown else ''}.{default}")
    lines += ["", "Returns:", f"    {cls.output_class.__name__}, or a tuple of its present fields:"]
    for f in dataclasses.fields(cls.output_class):
        lines.append(f"    {f.name}: {f.metadata['doc'].rstrip('.')}, {_dims(f.metadata['dims'])}.")
    letters = "".join(f.metadata["dims"] for f in dataclasses.fields(cls.output_class))
    named = ", ".join(f"{k} {v}" for k, v in DIMENSIONS.items() if k in letters)
    lines += ["", f"Dimensions: {named}.", "", "Raises:"]
    lines.append("    ValueError: An input's shape, dtype or ids; the message names what was expected and what came.")
    return "\n".join(lines)


def _dims(letters: str) -> str:
    return f"[{', '.join(letters)}]" if letters else "scalar"


class Model(Head):
    """The encoder with its optional pooler."""

    head_name = "AlbertModel"
    about = (
        "ALBERT's encoder: factorised embeddings, then one layer per group applied again and again; hidden states out."
    )
    pooling = True
    signature = _signature(last=("output_positions",))
    output_class = outputs.BaseModelOutputWithPooling
    config: AlbertConfig

    def picked(self, gathered: Callable[[Any, Any], Any], inputs: Inputs, x: Any) -> Any:
        """The last hidden states that are put out, where the last layer has computed them all."""
        late = inputs.output_positions is not None and inputs.last_queries(self.config) is None
        return gathered(x, inputs.output_positions) if late else x


class ForPreTraining(Head):
    """Masked LM and sentence order."""

    head_name = "AlbertForPreTraining"
    about = "ALBERT with both heads it was pretrained with: masked pieces and the order of two segments."
    parts = ("predictions", "sop_classifier")
    pooling = True
    signature = _signature("labels", "sentence_order_label", shapes=("BS",), index="V", last=("masked_positions",))
    output_class = outputs.AlbertForPreTrainingOutput
    labels_doc = "Id of the right piece at each position; -100 is ignored."


class ForMaskedLM(Head):
    """Masked LM."""

    head_name = "AlbertForMaskedLM"
    about = "ALBERT with the masked-LM head: a score for every piece at every position."
    parts = ("predictions",)
    signature = _signature("labels", shapes=("BS",), index="V", last=("masked_positions",))
    output_class = outputs.MaskedLMOutput
    labels_doc = "Id of the right piece at each position; -100 is ignored."


class ForSequenceClassification(Head):
    """A label for a text or a pair of texts."""

    head_name = "AlbertForSequenceClassification"
    about = "ALBERT with a classifier or regressor over the pooled first position (GLUE)."
    parts = ("classifier",)
    pooling = pooled_alone = True
    signature = _signature("labels", shapes=("B", "BK"))
    output_class = outputs.SequenceClassifierOutput
    labels_doc = "Index of the right label, a 0/1 row of labels, or values to regress, as config.problem_type says."


class ForMultipleChoice(Head):
    """One of several continuations."""

    head_name = "AlbertForMultipleChoice"
    about = "ALBERT with a score for each of several choices (RACE, SWAG); inputs are [B, C, S]."
    parts = ("choice_classifier",)
    pooling = pooled_alone = True
    signature = _signature("labels", shapes=("B",), index="C", choices=True)
    output_class = outputs.MultipleChoiceModelOutput
    labels_doc = "Index of the right choice."


class ForTokenClassification(Head):
    """A label for each piece."""

    head_name = "AlbertForTokenClassification"
    about = "ALBERT with a classifier over every position (named entities)."
    parts = ("classifier",)
    signature = _signature("labels", shapes=("BS",), index="K")
    output_class = outputs.TokenClassifierOutput
    labels_doc = "Index of the right label at each piece; -100 is ignored."


class ForQuestionAnswering(Head):
    """The span that answers a question."""

    head_name = "AlbertForQuestionAnswering"
    about = "ALBERT with scores for the first and the last piece of an answer (SQuAD)."
    parts = ("qa_outputs",)
    signature = _signature("start_positions", "end_positions")
    output_class = outputs.QuestionAnsweringModelOutput


HEADS: dict[str, type[Head]] = {
    cls.head_name: cls
    for cls in (
        Model,
        ForPreTraining,
        ForMaskedLM,
        ForSequenceClassification,
        ForMultipleChoice,
        ForTokenClassification,
        ForQuestionAnswering,
    )
}
