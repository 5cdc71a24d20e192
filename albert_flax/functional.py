"""A model as a function of its parameters, for code written for transformers' Flax classes.

There the parameters are a nested dict, `model.params`, and a call may take another one in their place. The names are
those of transformers 4, as in its flax_model.msgpack; the arrays are the model's own, not copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from albert_core.foreign_names import places
from albert_core.parameters import PREFIX, Parameter

__all__ = ["bound", "cast", "get_params", "initial_params", "is_empty", "seed_dropout", "set_params"]

Params = dict[str, Any]
Path = tuple[str, ...]


def get_params(model: Any) -> Params:
    """The model's parameters as a nested dict.

    Raises:
        ValueError: It was made with `_do_init=False` and has none.
    """
    check_filled(model)
    return _nested({path: model.leaf(p).value[...] for path, p in _paths(model).items()})


def set_params(model: Any, params: Mapping[str, Any]) -> None:
    """Put a nested dict's arrays in the place of the model's own.

    Raises:
        ValueError: One is missing, is of another shape, or is none that the model has; nothing has changed.
    """
    check_filled(model)
    _put(model, params)


def bound(model: Any, params: Mapping[str, Any] | None, dropout_rng: Any, train: bool | None) -> Any:
    """A copy of the model that computes with other parameters, dropouts and mode; arrays are shared.

    Args:
        model: Stays as it is.
        params: As `get_params` gives them; the model's own when None.
        dropout_rng: A key, or a dict that has one for "dropout"; for the dropouts in training.
        train: Whether to train; not when None, as in transformers.

    Raises:
        ValueError: As `set_params`; or training with dropout has no key, or one that is none.
    """
    structure, state = nnx.split(model)
    copy = nnx.merge(structure, state, copy=True)
    if params is not None:
        _put(copy, params)
    copy.train() if train else copy.eval()
    if dropout_rng is not None:
        seed_dropout(copy, dropout_rng)
    elif train and any(isinstance(node, nnx.Dropout) and node.rate > 0 for _, node in nnx.iter_graph(copy)):
        raise ValueError("dropout_rng: expected a key, as train=True and the model has dropout, got None")
    return copy


def initial_params(model: Any, rng: Any, params: Mapping[str, Any] | None = None) -> Params:
    """Freshly drawn parameters; with `params` only what they lack, beside them. The model stays as it is."""
    rngs, given = nnx.Rngs(params=_typed_key(rng, "rng")), dict(_flat(params or {}))
    return _nested({path: given[path] if path in given else model.draw(p, rngs) for path, p in _paths(model).items()})


def cast(params: Params, dtype: Any, mask: Any = None) -> Params:
    """Floating-point parameters in another dtype; where a tree `mask` is given, those that are True in it."""

    def one(value: Any, wanted: Any = True) -> Any:
        return value.astype(dtype) if wanted and jnp.issubdtype(value.dtype, jnp.floating) else value

    return jax.tree.map(one, params) if mask is None else jax.tree.map(one, params, mask)


def seed_dropout(model: nnx.Module, key: Any) -> None:
    """Give each stream of dropout keys a key of its own, counted from zero."""
    key = _typed_key(key)
    streams = (node for _, node in nnx.iter_graph(model) if isinstance(node, nnx.RngStream))
    for number, stream in enumerate(streams):
        stream.key.set_value(jax.random.fold_in(key, number))
        stream.count.set_value(jnp.zeros((), jnp.uint32))


def is_empty(leaf: nnx.Variable) -> bool:
    """Whether it has a shape and a dtype alone."""
    return isinstance(leaf.get_value(), jax.ShapeDtypeStruct)


def check_filled(model: Any) -> None:
    """Raise a ValueError for a model without parameters."""
    if is_empty(model.get_input_embeddings().embedding):
        raise ValueError(
            "params: this model was made with _do_init=False and has none; give them with each call, "
            "`model(input_ids, params=params)`"
        )


def _put(model: Any, params: Mapping[str, Any]) -> None:
    given, paths = dict(_flat(params)), _paths(model)
    missing, unknown = ([_name(p) for p in sorted(a.keys() - b.keys())] for a, b in ((paths, given), (given, paths)))
    wrong = [
        f"{_name(path)} (expected {list(shape)}, got {list(given[path].shape)})"
        for path, p in paths.items()
        if path in given and given[path].shape != (shape := model.leaf(p).value.shape)
    ]
    problems = {"missing": missing, "unknown": unknown, "of a wrong shape": wrong}
    if any(problems.values()):
        raise ValueError("params: " + "; ".join(f"{what}: {', '.join(n)}" for what, n in problems.items() if n))
    for path, p in paths.items():
        model.leaf(p).value.set_value(jnp.asarray(given[path]))


def _paths(model: Any) -> dict[Path, Parameter]:
    """Where transformers keeps each parameter."""
    found = places("flax", model.config, model.all_parts(model._has_pooler()))
    prefix = "" if hasattr(model, model.base_model_prefix) else PREFIX.replace(".", "/")
    return {tuple(found[p.name][0].name.removeprefix(prefix).split("/")): p for p in model.own_parameters()}


def _typed_key(key: Any, name: str = "dropout_rng") -> Any:
    """`jax.random.PRNGKey` gives plain numbers, `jax.random.key` a key; linen's modules take it in a dict."""
    found = key.get("dropout") if isinstance(key, Mapping) else key
    dtype = getattr(found, "dtype", np.dtype(object))
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return found
    if dtype != np.uint32:
        raise ValueError(f"{name}: expected a key of jax.random, got {key!r}")
    return jax.random.wrap_key_data(found)


def _name(path: Path) -> str:
    return "/".join(path)


def _flat(tree: Mapping[str, Any], at: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*at, name))
        else:
            yield (*at, name), value


def _nested(flat: Mapping[Path, Any]) -> Params:
    tree: Params = {}
    for path, value in flat.items():
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = value
    return tree
