"""Checkpoints for the tests of conversion: random configs, random bits, any format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from albert_conversion import flax_msgpack, tf_h5, torch_bin
from albert_conversion.convert import convert, plan_of
from albert_conversion.opened import open_checkpoint
from albert_conversion.plan import State
from albert_conversion.source import Stored
from hypothesis import strategies as st

from albert_core import reference
from albert_core.config import AlbertConfig
from albert_core.dtypes import DTYPES
from albert_core.foreign_names import places
from albert_core.formats import FORMATS, losses
from albert_core.heads import HEADS
from albert_core.parameters import PREFIX, parameter_table
from albert_core.safetensors_file import save_safetensors

SIZES = {
    "vocab_size": 7,
    "embedding_size": 2,
    "hidden_size": 6,
    "num_attention_heads": 3,
    "intermediate_size": 5,
    "num_hidden_layers": 4,
    "max_position_embeddings": 4,
}


class Model(NamedTuple):
    """What a checkpoint is written from."""

    config: AlbertConfig
    head: str
    dtype: str
    state: dict[str, np.ndarray]


@st.composite
def models(draw: Callable[..., Any]) -> Model:
    """Models of every layout, head and dtype; every second one is such that every format holds it."""
    everywhere = draw(st.booleans())
    heads, width, layers = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    groups = [g for g in range(1, layers + 1) if layers % g == 0 or not everywhere]
    embedding = st.integers(1, 4)
    config = AlbertConfig(
        vocab_size=draw(st.integers(4, 9)),
        embedding_size=draw(embedding.filter(lambda e: e != heads * width) if everywhere else embedding),
        hidden_size=heads * width,
        num_attention_heads=heads,
        intermediate_size=draw(st.integers(1, 5)),
        num_hidden_layers=layers,
        num_hidden_groups=draw(st.sampled_from(groups)),
        inner_group_num=draw(st.integers(1, 2)),
        max_position_embeddings=draw(st.integers(1, 5)),
        type_vocab_size=draw(st.integers(1, 3)),
        num_labels=draw(st.integers(1, 4)),
        hidden_act="gelu_new" if everywhere else draw(st.sampled_from(["gelu_new", "gelu", "relu"])),
        position_embedding_type="absolute" if everywhere else draw(st.sampled_from(["absolute", "relative_key"])),
        classifier_dropout_prob=draw(st.sampled_from([0.1, 0.25])),
        pad_token_id=draw(st.sampled_from([0, 1, None])),
        extra={"net_structure_type": 0} if draw(st.booleans()) else {},
    )
    held = FORMATS.values() if everywhere else [FORMATS["safetensors"]]
    head = draw(st.sampled_from(sorted(frozenset.intersection(*(f.heads for f in held if f.writable)))))
    dtype = draw(st.sampled_from(sorted(frozenset.intersection(*(f.dtypes for f in held if f.writable)))))
    return Model(config, head, dtype, random_bits(config, head, dtype, draw(st.integers(0, 2**32))))


def random_bits(config: AlbertConfig, head: str, dtype: str, seed: int) -> dict[str, np.ndarray]:
    """A model of random bits: NaN payloads, infinities, subnormals and -0.0 among them; tied names share an array."""
    rng, kind = np.random.default_rng(seed), DTYPES[dtype]
    table = parameter_table(config, HEADS[head].all_parts())
    own = [p for p in table.values() if p.tied_to is None]
    state = {p.name: rng.bytes(int(np.prod(p.shape)) * kind.itemsize) for p in own}
    state = {p.name: np.frombuffer(state[p.name], kind).reshape(p.shape) for p in own}
    first = next(iter(state))
    state[first] = state[first].copy()
    state[first].reshape(-1)[:2] = -0.0, np.nan
    return state


def saved(folder: Path, config: AlbertConfig, head: str, state: dict[str, np.ndarray]) -> Path:
    """A safetensors checkpoint written without any framework."""
    dtype = next(iter(state.values())).dtype.name
    extra = {**config.extra, "architectures": [head], "torch_dtype": dtype}
    config.replace(extra=extra).save_pretrained(folder)
    bare = head == "AlbertModel"
    save_safetensors(folder / "model.safetensors", {n.removeprefix(PREFIX) if bare else n: a for n, a in state.items()})
    return folder


def written_as(kind: str, folder: Path, config: AlbertConfig, state: dict[str, np.ndarray], parts: list[str]) -> Path:
    """A state of some parts, which need not be those of one class, as a bin, h5 or msgpack folder."""
    layout = {
        place.name: (name, place.transposed, place.shape)
        for name, several in places(FORMATS[kind].scheme, config, parts).items()
        for place in several
        if name in state and place.written
    }
    tensors = State({n: Stored(a.dtype, a.shape, lambda a=a: a) for n, a in state.items()}).renamed(layout)
    config.save_pretrained(folder)
    with (folder / FORMATS[kind].weights).open("w+b") as file:
        if kind == "bin":
            torch_bin.write_bin(file, tensors, {})
        elif kind == "h5":
            tf_h5.write_h5(file, tensors, "AlbertModel")
        else:
            flax_msgpack.write_msgpack(file, tensors)
    return folder


def tensors_of(path: Path, head: str | None = None) -> dict[str, tuple[str, bytes]]:
    """dtype and bytes of every untied tensor by canonical name."""
    with open_checkpoint(path) as opened:
        plan = plan_of(opened, head)
        return {n: (plan.state.dtype(n).name, plan.state[n].tobytes()) for n in plan.state}


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def can_hold(name: str, config: AlbertConfig, head: str, dtype: str) -> bool:
    equal = name == "tf1" and config.embedding_size == config.hidden_size  # there Google's graph has no projection
    return not equal and not losses(FORMATS[name], config, head, dtype)


@contextmanager
def hub_epsilon() -> Iterator[None]:
    """The reference with 1e-5 in the norm of the masked-LM head, which is what keras-hub computes."""
    norm = reference._norm

    def hub_norm(ns: Any, config: AlbertConfig, x: Any, state: Any, at: str) -> Any:
        config = config.replace(layer_norm_eps=1e-5) if at == "predictions.LayerNorm" else config
        return norm(ns, config, x, state, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_norm", hub_norm)
        yield


__all__ = [
    "SIZES",
    "Model",
    "bytes_of",
    "can_hold",
    "convert",
    "hub_epsilon",
    "models",
    "random_bits",
    "saved",
    "tensors_of",
    "written_as",
]
