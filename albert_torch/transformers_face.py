"""What lets transformers' own tools take these models for theirs; nothing of that library is imported here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from albert_core.config import AlbertConfig
from albert_core.outputs import seen_as_both
from albert_core.parameters import WORDS
from albert_core.pretrained import PreTrained

__all__ = ["TransformersFace"]


class TransformersFace(PreTrained):
    """A model of which `isinstance(model, transformers.PreTrainedModel)` is true, once that library is loaded.

    transformers' Trainer calls `save_pretrained` of such models only. Of any other module it writes a bare state dict
    without a config.json, and fails where weights are tied. isinstance also asks an object for its `__class__`, which
    is how weakref and unittest.mock pass for what they stand for. The type stays what it is.
    """

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        """Tied names and whose values they share: PEFT trains, and merges, both ends of a tie as one."""
        return {p.name: p.tied_to for p in self.parameter_table.values() if p.tied_to}

    @property
    def _keys_to_ignore_on_save(self) -> list[str]:
        """What `save_pretrained` leaves out, so that the Trainer does not warn of it as it resumes."""
        return [name for name, source in self._tied_weights_keys.items() if source == WORDS]

    main_input_name = "input_ids"
    config_class = AlbertConfig

    def post_init(self) -> None:
        """Called at the end of constructors written for transformers; here nothing is left to be done."""

    @property
    def __class__(self) -> type:
        other = getattr(sys.modules.get("transformers.modeling_utils"), "PreTrainedModel", None)
        return type(self) if other is None or issubclass(type(self), other) else seen_as_both(type(self), other)

    @__class__.setter
    def __class__(self, cls: type) -> None:
        object.__dict__["__class__"].__set__(self, cls)  # sharding replaces it

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        _, args, *rest = super().__reduce_ex__(protocol)
        return (_blank, args, *rest)  # pickle's own way checks `__class__`

    @classmethod
    def is_custom_code(cls) -> bool:
        """Yes: what transformers knows of its own ALBERT does not hold for this one."""
        return True

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """`gradient_checkpointing_enable` under the name that transformers 5 gives it.

        Raises:
            ValueError: Anything but every layer's input is to be kept, or not where it is.
        """
        if (every_n_layers, offload) != (1, False):
            came = f"every_n_layers={every_n_layers}, offload={offload}"
            raise ValueError(f"activation checkpointing: expected every_n_layers=1, offload=False, got {came}")
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs)

    def activation_checkpointing_disable(self) -> None:
        """The same as `gradient_checkpointing_disable`."""
        self.gradient_checkpointing_disable()

    @property
    def is_activation_checkpointing(self) -> bool:
        """The same as `is_gradient_checkpointing`."""
        return self.is_gradient_checkpointing


def _blank(cls: type) -> Any:
    return cls.__new__(cls)
