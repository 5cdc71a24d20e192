"""Output objects: used as transformers' are, and taken apart by every framework's tree functions."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping

import numpy as np
import pytest

from albert_core.outputs import OUTPUTS, MaskedLMOutput, ModelOutput

LOGITS = np.arange(6.0).reshape(1, 2, 3)
STATES = (np.zeros(2), np.ones(2))
OUT = MaskedLMOutput(logits=LOGITS, hidden_states=STATES)


def test_it_is_used_like_transformers_outputs() -> None:
    assert OUT.logits is OUT["logits"] is OUT[0]
    assert OUT[1:] == (STATES,)
    assert (len(OUT), list(OUT), dict(OUT).keys()) == (2, ["logits", "hidden_states"], {"logits", "hidden_states"})
    assert "loss" not in OUT
    assert OUT.loss is None
    assert OUT.get("loss", 3) == 3
    assert OUT.to_tuple() == OUT.values()
    with pytest.raises(KeyError, match="'loss'; present: logits"):
        OUT["loss"]
    with pytest.raises(IndexError):
        OUT[2]


def test_it_is_frozen_and_can_be_pickled() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        OUT.logits = None
    assert np.array_equal(pickle.loads(pickle.dumps(OUT)).logits, LOGITS)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda out: pickle.loads(pickle.dumps(out)),
    "replace": lambda out: dataclasses.replace(out),
    "a mapping": lambda out: type(out)({**out}),  # accelerate
    "pairs": lambda out: type(out)(pair for pair in out.items()),  # DataParallel
    "class": lambda out: out.__class__(**out),
}


@pytest.mark.parametrize("how", COPIES)
def test_outputs_of_tensors_are_dicts_for_isinstance_and_stay_what_they_are(how: str) -> None:
    import torch

    import albert_torch  # noqa: F401

    out = OUT.map(torch.from_numpy)
    assert isinstance(out, dict)
    assert isinstance(out, Mapping)
    assert not isinstance(OUT, Mapping), "TensorFlow's tree functions would sort its keys"
    other = COPIES[how](out)
    assert type(other) is MaskedLMOutput
    assert other.keys() == out.keys()
    assert torch.equal(other.logits, out.logits)
    assert other != {}


def test_a_mapping_that_a_tree_function_puts_in_a_fields_place_stays_there() -> None:
    assert MaskedLMOutput({"mean": 1}, {"mean": 2}).loss == {"mean": 1}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_field_says_its_dimensions(kind: type[ModelOutput]) -> None:
    assert all(f.metadata["doc"] and "dims" in f.metadata for f in dataclasses.fields(kind))


def _torch_tree(out: ModelOutput) -> tuple[list, ModelOutput]:
    from torch.utils import _pytree

    import albert_torch  # noqa: F401

    leaves, structure = _pytree.tree_flatten(out)
    return leaves, _pytree.tree_unflatten(leaves, structure)


def _flax_tree(out: ModelOutput) -> tuple[list, ModelOutput]:
    import jax

    import albert_flax  # noqa: F401

    leaves, structure = jax.tree.flatten(out)
    return leaves, jax.tree.unflatten(structure, leaves)


def _tf_tree(out: ModelOutput) -> tuple[list, ModelOutput]:
    import tensorflow as tf

    return tf.nest.flatten(out), tf.nest.pack_sequence_as(out, tf.nest.flatten(out))


def _keras_tree(out: ModelOutput) -> tuple[list, ModelOutput]:
    import keras

    import albert_tf  # noqa: F401

    return keras.tree.flatten(out), keras.tree.pack_sequence_as(out, keras.tree.flatten(out))


@pytest.mark.parametrize("tree", [_torch_tree, _flax_tree, _tf_tree, _keras_tree])
def test_absent_fields_are_structure_and_not_leaves(tree) -> None:
    leaves, back = tree(OUT)
    assert len(leaves) == 3
    assert type(back) is MaskedLMOutput
    assert back.keys() == OUT.keys()
