"""One writer per format: a model's arrays into a folder, each file whole or not at all."""

from __future__ import annotations

import math
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from albert_conversion import flax_msgpack, keras_h5, orbax_folder, tensor_bundle, tf_h5, torch_bin
from albert_conversion.plan import State
from albert_core.atomic import write_file
from albert_core.config import AlbertConfig
from albert_core.foreign_names import places
from albert_core.formats import FORMATS, Format
from albert_core.heads import HEADS
from albert_core.keras_names import HUB_BACKBONE
from albert_core.parameters import PREFIX, TIED
from albert_core.safetensors_io import save_sharded, split_into_shards
from albert_core.shard_files import remove, replace_weights

__all__ = ["WRITERS", "Model"]


@dataclass(frozen=True)
class Model:
    """What a writer gets.

    Attributes:
        config: The config, as it will be read back.
        head: The class name.
        pooling: Whether the encoder has a pooler.
        state: Untied arrays by canonical name in canonical layout, lazily.
        max_shard_size: Most bytes in one file, where the format has shards.
        filled: Canonical names of arrays that were made up because the format demands them.
    """

    config: AlbertConfig
    head: str
    pooling: bool
    state: State
    max_shard_size: int | str = "5GB"
    filled: tuple[str, ...] = ()

    def laid_out(self, target: Format) -> State:
        """The arrays under a format's own names and layouts, copies included."""
        found = places(target.scheme, self.config, HEADS[self.head].all_parts(self.pooling))
        names = {}
        for name in self.state:
            for place in (place for place in found[name] if place.written):
                names[self._own_name(target, place.name)] = (name, place.transposed, place.shape)
        return self.state.renamed(names)

    def _own_name(self, target: Format, name: str) -> str:
        """The encoder alone has no prefix in PyTorch and Flax."""
        if self.head != "AlbertModel" or target.scheme not in ("torch", "flax", "nnx"):
            return name
        return name.removeprefix("albert/" if target.scheme == "flax" else PREFIX)


def _write_safetensors(folder: Path, model: Model) -> None:
    save_sharded(folder, model.laid_out(FORMATS["safetensors"]), model.max_shard_size)


def _write_bin(folder: Path, model: Model) -> None:
    """With both names of each tie over one storage, as `torch.save` writes a model; a tie never crosses two shards."""
    tensors = model.laid_out(FORMATS["bin"])
    tied = {name: target for name, target in TIED.items() if target in tensors and name.startswith("predictions")}
    if "predictions.bias" not in tensors:
        tied = {}
    own = [name for name in tensors if name not in tied]
    sizes = {name: math.prod(tensors.shape(name)) * tensors.dtype(name).itemsize for name in own}
    shards = split_into_shards(sizes, model.max_shard_size)
    shards = [[*names, *(copy for copy, target in tied.items() if target in names)] for names in shards]

    def write(path: Path, names: Sequence[str]) -> None:
        here = {copy: target for copy, target in tied.items() if copy in names}
        some = _some(tensors, [name for name in names if name not in tied])
        write_file(path, lambda file: torch_bin.write_bin(file, some, here))

    replace_weights(folder, FORMATS["bin"].weights, shards, write, sum(sizes.values()))


def _write_h5(folder: Path, model: Model) -> None:
    _write_whole(folder, model, "h5", lambda file, tensors: tf_h5.write_h5(file, tensors, model.head))


def _write_msgpack(folder: Path, model: Model) -> None:
    _write_whole(folder, model, "msgpack", flax_msgpack.write_msgpack)


def _write_whole(folder: Path, model: Model, kind: str, writer: Callable[[BinaryIO, State], object]) -> None:
    """One file of a format whose shards are only read: those of an older checkpoint go."""
    tensors = model.laid_out(FORMATS[kind])

    def write(path: Path, _: Sequence[str]) -> None:
        write_file(path, lambda file: writer(file, tensors))

    replace_weights(folder, FORMATS[kind].weights, [list(tensors)], write, 0)


def _write_tf1(folder: Path, model: Model) -> None:
    prefix = FORMATS["tf1"].weights.removesuffix(tensor_bundle.INDEX_SUFFIX)
    tensor_bundle.write_bundle(folder / prefix, model.laid_out(FORMATS["tf1"]))


def _write_keras(folder: Path, model: Model) -> None:
    tensors = model.laid_out(FORMATS["keras"])
    prefix = "albert/" if model.head == "AlbertModel" else ""
    write_file(folder / keras_h5.WEIGHTS_NAME, lambda file: keras_h5.write_weights(file, tensors, prefix))
    remove(folder, keras_h5.TASK_FILES)


def _write_keras_hub(folder: Path, model: Model) -> None:
    """The backbone and the task's own layers in two files, as a preset has them."""
    tensors = model.laid_out(FORMATS["keras-hub"])
    files: dict[str, list[str]] = {keras_h5.WEIGHTS_NAME: [], keras_h5.TASK_WEIGHTS: []}
    for name in tensors:
        files[keras_h5.WEIGHTS_NAME if name.startswith(HUB_BACKBONE) else keras_h5.TASK_WEIGHTS].append(name)
    for file, names in files.items():
        if names:
            some = _some(tensors, names)
            write_file(folder / file, lambda target, t=some: keras_h5.write_weights(target, t, HUB_BACKBONE))
    if not files[keras_h5.TASK_WEIGHTS]:  # an older preset's task would be taken for this one's
        remove(folder, keras_h5.TASK_FILES)


def _write_orbax(folder: Path, model: Model) -> None:
    """Under a fresh name first: orbax writes no folder that is there already."""
    fresh = folder / f".{orbax_folder.FOLDER_NAME}.{secrets.token_hex(6)}.tmp"
    try:
        orbax_folder.write_orbax(fresh, model.laid_out(FORMATS["orbax"]))
        shutil.rmtree(folder / orbax_folder.FOLDER_NAME, ignore_errors=True)
        fresh.rename(folder / orbax_folder.FOLDER_NAME)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _some(tensors: State, names: list[str]) -> State:
    return tensors.renamed({name: (name, False, tensors.shape(name)) for name in names})


WRITERS: dict[str, Callable[[Path, Model], None]] = {
    "safetensors": _write_safetensors,
    "bin": _write_bin,
    "h5": _write_h5,
    "msgpack": _write_msgpack,
    "tf1": _write_tf1,
    "keras-hub": _write_keras_hub,
    "keras": _write_keras,
    "orbax": _write_orbax,
}
