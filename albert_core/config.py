"""AlbertConfig: every hyper-parameter of an ALBERT, its default and its range.

Sources: the paper (https://arxiv.org/abs/1909.11942), `AlbertConfig` of
https://github.com/google-research/albert/blob/master/modeling.py, and the keys of the published config.json files.
"""

from __future__ import annotations

import dataclasses
import difflib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from albert_core.config_fields import choice, flag, is_int, number, rate, size, token_id
from albert_core.config_files import CONFIG_NAME, KNOWN_EXTRAS, ConfigFiles
from albert_core.config_maps import (
    DEFAULT_LABELS,
    agreed_labels,
    int_keys,
    is_id2label,
    is_label2id,
    is_pruned,
    named,
    pruned_heads,
)
from albert_core.errors import ConfigError
from albert_core.numerics import ACTIVATIONS
from albert_core.presets import PRESETS
from albert_core.problem_types import PROBLEM_TYPES

__all__ = ["CONFIG_NAME", "POSITION_EMBEDDING_TYPES", "PRESETS", "PROBLEM_TYPES", "AlbertConfig", "AutoConfig"]

POSITION_EMBEDDING_TYPES = ("absolute", "relative_key", "relative_key_query")
MAX_PARAMETERS = 20_000_000_000  # beyond it a config.json is a mistake or an attack, not a model


@dataclass(init=False, repr=False, eq=False)
class AlbertConfig(ConfigFiles):
    """The hyper-parameters of an ALBERT. The defaults are those of ALBERT xxlarge, as in transformers.

    Fields that shape parameters cannot be set after construction: use `replace`. The others can, and each
    assignment is checked. An unknown keyword is kept in `extra` with a warning that names the nearest field; every
    key of a config.json comes back on save. An attribute that is no field is stored aside and never saved.

    Raises:
        ConfigError: A value is out of range; the error names the field, the value and what is allowed.
    """

    vocab_size: int = size(30000, "Number of pieces in the vocabulary, V.")
    embedding_size: int = size(128, "Width of the factorised token embeddings, E.")
    hidden_size: int = size(4096, "Width of the hidden states, H; a multiple of num_attention_heads.")
    num_hidden_layers: int = size(12, "How often a layer group's inner layers are applied, L.")
    num_hidden_groups: int = size(1, "Number of layer groups with parameters of their own, G; at most L.")
    num_attention_heads: int = size(64, "Number of attention heads, N.")
    intermediate_size: int = size(16384, "Width of the feed-forward layer, F.")
    inner_group_num: int = size(1, "Number of layers with parameters of their own inside a group.")
    hidden_act: str | Callable[..., Any] = field(
        default="gelu_new",
        metadata={
            "doc": 'Activation, by name ("gelu" is the erf form, "gelu_new" the tanh form), or a callable in code.',
            "check": lambda v: callable(v) or (isinstance(v, str) and v in ACTIVATIONS),
            "allowed": "a callable or one of " + ", ".join(ACTIVATIONS),
        },
    )
    hidden_dropout_prob: float = rate(0.0, "Dropout after the embeddings, the attention and the feed-forward layer.")
    attention_probs_dropout_prob: float = rate(0.0, "Dropout on the attention probabilities.")
    max_position_embeddings: int = size(512, "Longest sequence the position embeddings know.")
    type_vocab_size: int = size(2, "Number of segment types.")
    initializer_range: float = number(
        0.02,
        "Standard deviation of the truncated normal that draws weights.",
        "a number of at least 0",
        lambda v: v >= 0,
    )
    layer_norm_eps: float = number(1e-12, "Epsilon of every layer norm.", "a number of at least 0", lambda v: v >= 0)
    classifier_dropout_prob: float = rate(0.1, "Dropout in front of attached classifiers.")
    position_embedding_type: str = choice(
        "absolute",
        POSITION_EMBEDDING_TYPES,
        "Absolute, or relative as in Shaw et al. 2018 / Huang et al. 2020.",
        shapes=True,
    )
    pad_token_id: int | None = token_id(0, "Id of the padding piece; its embedding starts at zero.")
    bos_token_id: int | None = token_id(2, "Id of the piece that opens a text, [CLS].")
    eos_token_id: int | None = token_id(3, "Id of the piece that closes a text, [SEP].")
    num_labels: int = field(
        default=DEFAULT_LABELS,
        metadata={
            "doc": "Number of labels K of a classifier; `id2label` decides where both are given.",
            "check": lambda v: is_int(v) and 1 <= v <= 10**6,
            "allowed": "an int from 1 to 1000000",
        },
    )
    id2label: dict[int, str] = field(
        default=None,  # type: ignore[assignment]
        metadata={
            "doc": "Names of the labels, 0 to K - 1.",
            "check": is_id2label,
            "allowed": "a mapping from 0 to K - 1 to names",
        },
    )
    label2id: dict[str, int] = field(
        default=None,  # type: ignore[assignment]
        metadata={
            "doc": "The inverse of id2label.",
            "check": is_label2id,
            "allowed": "a mapping from names to 0 to K - 1",
        },
    )
    problem_type: str | None = choice(
        None, (None, *PROBLEM_TYPES), "What a sequence classifier's labels mean; inferred per call when None."
    )
    output_attentions: bool = flag(False, "Whether models return attention probabilities.")
    output_hidden_states: bool = flag(False, "Whether models return all hidden states.")
    return_dict: bool = flag(True, "Whether models return an output object rather than a tuple.")
    albert_pruned_heads: dict[int, list[int]] = field(
        default=None,  # type: ignore[assignment]
        metadata={
            "doc": "Attention heads that are switched off, by virtual layer; see prune_heads of the models.",
            "check": is_pruned,
            "allowed": "a mapping from layers to lists of heads",
        },
    )
    extra: dict[str, Any] = field(default_factory=dict, metadata={"doc": "Keys that are no field, kept for saving."})

    def __init__(self, **values: Any) -> None:
        aside = self.__dict__
        aside["extra"] = dict(values.pop("extra", {}))
        path = values.pop("_path", None)
        for name in [name for name in values if name not in _FIELDS]:
            self._keep_extra(name, values.pop(name))
        labels = {name: values.pop(name) for name in _LABELS if name in values}
        pruned = values.pop("albert_pruned_heads", None)
        for f in _FIELDS.values():
            if f.name not in _MAPS:
                aside[f.name] = _checked(f, values.get(f.name, f.default), path)
        self._set_labels(path=path, **labels)
        self._set_pruned(pruned, path)
        self._check_whole(path)

    def _keep_extra(self, name: str, value: Any) -> None:
        self.extra[name] = value
        if name not in KNOWN_EXTRAS:
            near = difflib.get_close_matches(name, _FIELDS, n=1, cutoff=0.8)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            warnings.warn(f"AlbertConfig has no field {name!r}; it is kept and saved but not used{hint}", stacklevel=4)

    def _set_labels(
        self,
        num_labels: int | None = None,
        id2label: Mapping[Any, str] | None = None,
        label2id: Mapping[str, int] | None = None,
        path: str | Path | None = None,
    ) -> None:
        """Bring the three ways of naming labels into agreement."""
        if num_labels is not None:
            _checked(_FIELDS["num_labels"], num_labels, path)
        if label2id is not None:
            _checked(_FIELDS["label2id"], label2id, path)
        if id2label is not None:
            id2label = _checked_map("id2label", named(id2label), path)
        names, ids = agreed_labels(num_labels, id2label, label2id)
        self.__dict__.update(num_labels=len(names), id2label=_checked_map("id2label", names, path), label2id=ids)

    def _set_pruned(self, value: Mapping[Any, Any] | None, path: str | Path | None = None) -> None:
        pruned = pruned_heads(None if value is None else _checked_map("albert_pruned_heads", value, path))
        layers, heads = range(self.num_hidden_layers), range(self.num_attention_heads)
        if any(layer not in layers or any(h not in heads for h in found) for layer, found in pruned.items()):
            allowed = f"layers from 0 to {layers[-1]} and heads from 0 to {heads[-1]}"
            raise ConfigError(path, "albert_pruned_heads", value, allowed)
        self.__dict__["albert_pruned_heads"] = pruned

    def _check_whole(self, path: str | Path | None) -> None:
        """What no field can say alone."""
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                path, "hidden_size", self.hidden_size, f"a multiple of num_attention_heads = {self.num_attention_heads}"
            )
        if self.num_hidden_groups > self.num_hidden_layers:
            raise ConfigError(
                path,
                "num_hidden_groups",
                self.num_hidden_groups,
                f"at most num_hidden_layers = {self.num_hidden_layers}",
            )
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise ConfigError(path, "pad_token_id", self.pad_token_id, f"less than vocab_size = {self.vocab_size}")
        from albert_core.parameters import encoder_size

        if (size := encoder_size(self)) > MAX_PARAMETERS:
            raise ConfigError(path, "(all sizes)", size, f"at most {MAX_PARAMETERS} parameters in all")

    def __setattr__(self, name: str, value: Any) -> None:
        f = _FIELDS.get(name)
        if f is None:
            object.__setattr__(self, name, value)
        elif f.metadata.get("shapes"):
            raise ConfigError(None, name, value, f"to stay {getattr(self, name)!r}; use config.replace({name}=...)")
        elif name == "albert_pruned_heads":
            self._set_pruned(value)
        elif name in _LABELS:
            self._set_labels(**{name: value})
        else:
            self.__dict__[name] = _checked(f, value, None)

    def __hash__(self) -> int:
        """Of the read-only fields alone, so that it stays valid while the others change."""
        return hash(tuple(self.__dict__[f.name] for f in _FIELDS.values() if f.metadata.get("shapes")))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AlbertConfig) and self._values() == other._values()

    def __repr__(self) -> str:
        changed = {n: v for n, v in self._values().items() if n == "vocab_size" or v not in (_DEFAULTS.get(n), {})}
        return f"AlbertConfig({', '.join(f'{n}={v!r}' for n, v in changed.items())})"

    def _values(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in _FIELDS}

    @property
    def head_size(self) -> int:
        """Width of one attention head, D."""
        return self.hidden_size // self.num_attention_heads

    @property
    def use_return_dict(self) -> bool:
        """Another name of `return_dict`, as in transformers."""
        return self.return_dict

    def group_of(self, layer: int) -> int:
        """The layer group that virtual layer `layer` applies: layer * G // L, in integers."""
        return layer * self.num_hidden_groups // self.num_hidden_layers

    def replace(self, **changes: Any) -> AlbertConfig:
        """A new config with the given fields changed and everything else kept.

        Raises:
            ConfigError: A value is out of range.
        """
        values = {n: v for n, v in self._values().items() if n not in _LABELS}
        values["extra"] = dict(self.extra)
        given = set(_LABELS) & changes.keys()
        if not given:
            values.update(id2label=dict(self.id2label), label2id=dict(self.label2id))
        return type(self)(**{**values, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Every field and every kept key, under the names of config.json."""
        values = self._values()
        values.pop("extra")
        if not values["albert_pruned_heads"]:
            values.pop("albert_pruned_heads")  # a key of ours alone: files without pruned heads stay without it
        return {**self.extra, **values, "model_type": self.model_type}

    def get_text_config(self, *args: Any, **kwargs: Any) -> AlbertConfig:
        """This config, which is all about text; PEFT asks for it."""
        return self

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> AlbertConfig:
        """The config of a published model, for example "albert-base-v2"; see `PRESETS`.

        Raises:
            ConfigError: No published model has this name.
        """
        if name not in PRESETS:
            raise ConfigError(None, "preset", name, "one of " + ", ".join(PRESETS))
        return cls(**{**PRESETS[name], **overrides})


class AutoConfig:
    """`AutoConfig.from_pretrained` of code written for transformers; every config here is an `AlbertConfig`."""

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: str | Path, **options: Any) -> AlbertConfig:
        """See `AlbertConfig.from_pretrained`."""
        return AlbertConfig.from_pretrained(pretrained_model_name_or_path, **options)


def _checked(f: dataclasses.Field[Any], value: Any, path: str | Path | None) -> Any:
    if "check" in f.metadata and not f.metadata["check"](value):
        raise ConfigError(path, f.name, value, f.metadata["allowed"])
    return value


def _checked_map(name: str, value: Any, path: str | Path | None) -> dict[int, Any]:
    """A map with int keys, also where JSON gave strings."""
    if (found := int_keys(value)) is None:
        raise ConfigError(path, name, value, _FIELDS[name].metadata["allowed"])
    return _checked(_FIELDS[name], found, path)


_FIELDS: dict[str, dataclasses.Field[Any]] = {f.name: f for f in dataclasses.fields(AlbertConfig)}
_LABELS = ("num_labels", "id2label", "label2id")
_MAPS = (*_LABELS, "albert_pruned_heads", "extra")
_DEFAULTS: dict[str, Any] = {name: f.default for name, f in _FIELDS.items()}
