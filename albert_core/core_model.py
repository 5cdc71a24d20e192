"""What core knows of a living model: its arrays by canonical name, and the hooks that a backend supplies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from albert_core.config import AlbertConfig
from albert_core.heads import Head
from albert_core.outputs import ModelOutput
from albert_core.parameters import PREFIX, Kind, Parameter, parameter_table
from albert_core.signature import Inputs
from albert_core.walker import LAYOUTS, Leaf, find

__all__ = ["CoreModel", "given"]


class CoreModel(Head):
    """Base of the model classes of every backend.

    Attributes:
        framework: "torch", "tf" or "flax"; names the leaf layout.
        base_model_prefix: The attribute that holds the encoder.
    """

    framework: ClassVar[str]
    base_model_prefix: ClassVar[str] = PREFIX.rstrip(".")

    # -- the hooks -------------------------------------------------------------------------------------------------

    @classmethod
    def _construct(cls, config: AlbertConfig, dtype: str, **options: Any) -> Self:
        """A freshly initialised model whose arrays are of `dtype`."""
        raise TypeError(f"{cls.__name__} is abstract")

    @classmethod
    def _prepare(cls, config: AlbertConfig, dtype: str, device: Any, **options: Any) -> Self:
        """A model that a checkpoint is about to fill; without arrays of its own where a backend can do that."""
        return cls._construct(config, dtype, **options)

    def _get_array(self, leaf: Leaf) -> np.ndarray:
        """The leaf's values as NumPy, as stored."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def _stage(self, leaf: Leaf, array: np.ndarray) -> Any:
        """What `_set_array` is to get once every other array has passed its checks."""
        return array

    def _set_array(self, leaf: Leaf, array: Any) -> None:
        """Overwrite the leaf's values; shape and dtype are already right."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def _set_vocabulary(self, config: AlbertConfig, words: np.ndarray, bias: np.ndarray | None) -> Any:
        """Take another vocabulary: words [V, E] and the masked-LM bias [V], of a new V.

        Returns:
            The word embeddings, or a new model where a model of this backend cannot change.
        """
        raise TypeError(f"{type(self).__name__} is abstract")

    def _finish(self, device: Any) -> Self:
        """Move to a device (None: stay) and switch to evaluation mode."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def _known(self, array: Any) -> np.ndarray | None:
        """An array's values, or None where they are not at hand: on a device, or in a program being traced."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def _is_trainable(self, leaf: Leaf) -> bool:
        """Whether training changes the leaf."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def _gradients(self, inputs: dict[str, Any], parameters: Sequence[Parameter]) -> list[np.ndarray | None]:
        """The gradient of the loss for each parameter, as stored; None where the loss does not depend on it."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def _added(self) -> list[str]:
        """Paths of the arrays that no module of the table holds: those of modules that a user added."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def _changed(self) -> None:
        """Called when the model's program has changed; where a framework keeps compiled ones, they no longer hold."""

    def run_numpy(self, **inputs: Any) -> ModelOutput:
        """Run without gradients, from NumPy arrays to NumPy arrays; what pipelines and tests call."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def compute(self, inputs: Inputs) -> ModelOutput:
        """The head's own arithmetic on checked inputs."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def build_head(self, config: AlbertConfig, *args: Any, **kwargs: Any) -> None:
        """Make the modules beside the encoder."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def init_weights(self, *args: Any, **kwargs: Any) -> None:
        """Draw arrays anew: normal cut at two standard deviations, norms one, biases and the pad row zero.

        Args:
            *args: In Flax the rngs whose `params` stream is drawn from; then the parts of the parameter table, all
                that this model has when None.
            **kwargs: The same by name, `rngs` and `parts`.
        """
        raise TypeError(f"{type(self).__name__} is abstract")

    # -- the encoder -----------------------------------------------------------------------------------------------

    @property
    def base_model(self) -> Any:
        """The encoder; the model itself where it is one."""
        return getattr(self, self.base_model_prefix, self)

    @property
    def config(self) -> AlbertConfig:
        """The encoder's, of which there is one: it may be resized or pruned by itself."""
        return self.base_model._config

    @config.setter
    def config(self, config: AlbertConfig) -> None:
        self.base_model._config = config

    def encode(self, xp: Any, inputs: Inputs) -> Any:
        """What the encoder gives where this head reads it; `xp` as for `read_positions`."""
        return self.base_model(**inputs.for_encoder(self.read_positions(xp, inputs)))

    def get_input_embeddings(self) -> Any:
        """The word embeddings."""
        return self.base_model.embeddings.word_embeddings

    def get_output_embeddings(self) -> Any:
        """What the masked-LM head multiplies with: the word embeddings again; None for a head without one."""
        return self.get_input_embeddings() if hasattr(self, "predictions") else None

    def tie_weights(self) -> None:
        """Make the masked-LM head use the word embeddings; they are tied by themselves where it reads them."""

    def _has_pooler(self) -> bool:
        return getattr(self.base_model, "pooler", None) is not None

    def _set_config(self, config: AlbertConfig) -> None:
        self.config = config
        self._changed()

    def _check_ids(self, inputs: Inputs) -> None:
        """Refuse indices outside their tables where that needs no device sync."""
        self.signature.check_ids(self.config, inputs, self._known)

    # -- arrays by name --------------------------------------------------------------------------------------------

    @property
    def parameter_table(self) -> dict[str, Parameter]:
        """The parameters this model holds, tied ones included, by canonical name."""
        return parameter_table(self.config, self.all_parts(self._has_pooler()))

    def _beyond_table(self, paths: Iterable[str]) -> list[str]:
        """Those paths that lead to no module of the table, nor to what an adapter keeps inside one."""
        table = parameter_table(self.config, self.all_parts(self._has_pooler()))
        prefix = PREFIX if self.base_model is self else ""
        known = tuple(f"{p.module.removeprefix(prefix)}." for p in table.values())
        return [path for path in paths if not f"{path}.".startswith(known)]

    def own_parameters(self, parts: Iterable[str] | None = None) -> list[Parameter]:
        """The parameters without the tied ones, of some parts of the table or of all."""
        return [p for p in self.parameter_table.values() if p.tied_to is None and (parts is None or p.part in parts)]

    def leaf(self, parameter: Parameter) -> Leaf:
        """Where this model holds a parameter."""
        return find(self, parameter, LAYOUTS[self.framework])

    def numpy_state(self) -> dict[str, np.ndarray]:
        """Every array by canonical name in canonical layout; tied names share one array.

        Raises:
            ValueError: An array has not the shape that the config gives it, or stands in no table.
        """
        if strange := [name for name in self._added() if name not in self.parameter_table]:
            raise ValueError(f"{', '.join(strange)}: expected arrays of {self.head_name} alone, got a user's module")
        state = {}
        for p in self.own_parameters():
            leaf = self.leaf(p)
            array = self._get_array(leaf)
            state[p.name] = array.T if leaf.transposed else array
            if state[p.name].shape != p.shape:
                came = f"expected {list(p.shape)}, as the config says, got {list(state[p.name].shape)}"
                raise ValueError(f"{p.name}: {came}; was the encoder resized alone, or a module replaced?")
        return state | {p.name: state[p.tied_to] for p in self.parameter_table.values() if p.tied_to}

    def gradients_numpy(self, **inputs: Any) -> dict[str, np.ndarray]:
        """Gradients of the loss by canonical name in canonical layout, in the mode that the model is in.

        Args:
            **inputs: NumPy arrays by input name, labels among them.
        """
        parameters, found = self.own_parameters(), {}
        for p, gradient in zip(parameters, self._gradients(inputs, parameters), strict=True):
            transposed = self.leaf(p).transposed
            gradient = np.zeros(p.shape[::-1] if transposed else p.shape) if gradient is None else gradient
            found[p.name] = gradient.T if transposed else gradient
        return found

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Number of values; tied ones count once.

        Args:
            only_trainable: Leave out those that are frozen.
            exclude_embeddings: Leave out the embedding tables.
        """
        wanted = [p for p in self.own_parameters() if not (exclude_embeddings and p.kind is Kind.EMBEDDING)]
        return sum(math.prod(p.shape) for p in wanted if not only_trainable or self._is_trainable(self.leaf(p)))


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Options but those that are None: the constructor of a user's subclass need not take what nobody has given."""
    return {name: value for name, value in options.items() if value is not None}
