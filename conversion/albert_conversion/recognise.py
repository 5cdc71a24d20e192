"""What kind of checkpoint a path holds, told by content and not by what files are called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from albert_conversion import (
    flax_msgpack,
    hdf5,
    keras_h5,
    leveldb_table,
    orbax_folder,
    safetensors_source,
    tensor_bundle,
    tf_h5,
    torch_bin,
)
from albert_conversion.source import Source
from albert_core.errors import FormatError, NotFound
from albert_core.formats import FORMATS
from albert_core.shard_index import MAX_INDEX
from albert_core.sniff import looks_like

__all__ = ["Found", "find_checkpoints", "recognise", "taken_before"]

SAVED_MODEL_VARIABLES = "variables/variables.index"  # in a SavedModel or a module of TF-Hub
_HEAD = 4096  # bytes that tell a file's kind
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_INDEX_OPENERS: dict[str, Callable[[Path], Source]] = {
    "safetensors": safetensors_source.open_safetensors_source,
    "bin": torch_bin.open_bin_index,
    "h5": tf_h5.open_h5_index,
    "msgpack": flax_msgpack.open_msgpack_index,
}


@dataclass(frozen=True)
class Found:
    """A checkpoint that was recognised.

    Attributes:
        format: Its format's name.
        path: The file to open.
        open: Opens it.
    """

    format: str
    path: Path
    open: Callable[[Path], Source]


def recognise(path: Path) -> Found:
    """Tell what a file is, or which checkpoint a folder holds; see `find_checkpoints` for which of several.

    Raises:
        NotFound: There is nothing, or a folder without any checkpoint.
        FormatError: The file is no checkpoint of a known format, or the folder holds several of one format and none has
            the usual name.
    """
    found = find_checkpoints(_with_suffix(path))
    rivals = [f for f in found if f.format == found[0].format and not _is_usual(f)]
    if found and (_is_usual(found[0]) or len(rivals) == 1):
        return found[0]
    if found:
        names = ", ".join(f.path.name for f in rivals)
        reason = f"expected one {found[0].format} checkpoint, got {names}"
        raise FormatError(path, None, reason, "name the file to take")
    if not path.exists():
        raise NotFound(path, None, "expected a checkpoint, there is none")
    if path.is_dir():
        usual = (path / f.weights for f in FORMATS.values() if f.weights)
        none = NotFound(path, None, f"{_expected()}, the folder holds none")
        raise next((_strange(file) for file in usual if file.is_file()), none)
    raise _strange(path)


def _is_usual(found: Found) -> bool:
    """Whether a checkpoint has the name that its format's own software looks for."""
    usual = FORMATS[found.format].weights
    return found.path.name in (usual, f"{usual}.index.json") or is_saved_model(found.path)


def is_saved_model(path: Path) -> bool:
    """Whether a file is the index of a SavedModel's variables."""
    return path.parts[-2:] == Path(SAVED_MODEL_VARIABLES).parts


def _expected() -> str:
    return f"expected a checkpoint ({', '.join(f.title for f in FORMATS.values())})"


def _strange(path: Path) -> FormatError:
    """What to say of a file that is none: what it looks like."""
    head = _head(path)
    what, hint = looks_like(head) or (f"a file that begins with {head[:16]!r}", "")
    return FormatError(path, None, f"{_expected()}, got {what}", "" if "convert" in hint else hint)


def find_checkpoints(path: Path) -> list[Found]:
    """Every checkpoint that a path holds; a shard that an index names is none by itself.

    Those of a usual name come first, because much else is an archive of tensors too (training_args.bin, optimizer.pt);
    then the order is that of `FORMATS`.
    """
    if not path.is_dir():
        found = list(_of_file(path))
    else:
        found = [f for file in sorted(path.iterdir()) if file.is_file() for f in _of_file(file)]
        shards = {shard for f in found if f.path.suffix == ".json" for shard in _shards(f.path)}
        found = [f for f in found if f.path.name not in shards]
        found += _of_file(path / SAVED_MODEL_VARIABLES)
        folders = [folder for folder in (path, path / orbax_folder.FOLDER_NAME) if orbax_folder.is_orbax(folder)]
        found += [Found("orbax", folder, orbax_folder.open_orbax) for folder in folders]
    order = list(FORMATS)
    return sorted(found, key=lambda f: (not _is_usual(f), order.index(f.format)))


def taken_before(folder: Path, name: str) -> list[Found]:
    """The checkpoints of a folder that are read first where a writer puts, or has put, one of the format `name`."""
    formats = list(FORMATS)
    usual = [f for f in find_checkpoints(folder) if _is_usual(f) and f.path.name != FORMATS[name].weights]
    return [f for f in usual if formats.index(f.format) < formats.index(name)]


def _with_suffix(path: Path) -> Path:
    """The index of a TensorFlow checkpoint, which is named by its prefix or by any of its files."""
    if path.is_dir():
        return path
    stem = re.sub(r"\.(data-\d+-of-\d+|meta)$", "", path.name)
    index = path.with_name(stem + tensor_bundle.INDEX_SUFFIX)
    return index if (stem != path.name or not path.exists()) and index.is_file() else path


def _of_file(path: Path) -> Iterator[Found]:
    if not path.is_file():
        return
    head = _head(path)
    if head.startswith(b"PK\x03\x04"):
        if torch_bin.is_torch_archive(path):  # other archives lie in such folders too
            yield Found("bin", path, torch_bin.open_bin)
    elif head[:2] in _PICKLES:  # older than the archive; its reader says what to do
        yield Found("bin", path, torch_bin.open_bin)
    elif head.startswith(hdf5.MAGIC):
        yield from _of_h5(path)
    elif _tail(path, len(leveldb_table.MAGIC)) == leveldb_table.MAGIC and path.name.endswith(
        tensor_bundle.INDEX_SUFFIX
    ):
        if tensor_bundle.OBJECT_GRAPH.encode() in head:
            yield Found("tf-models", path, tensor_bundle.open_object_bundle)
        else:
            yield Found("tf1", path, tensor_bundle.open_bundle)
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        yield Found("safetensors", path, safetensors_source.open_safetensors_source)
    elif path.name.endswith(".index.json"):
        yield from _of_index(path)
    elif flax_msgpack.looks_like_msgpack(head):
        yield Found("msgpack", path, flax_msgpack.open_msgpack)


def _of_h5(path: Path) -> Iterator[Found]:
    kind = keras_h5.kind_of_h5(path)
    if path.name == keras_h5.TASK_WEIGHTS and path.with_name(keras_h5.WEIGHTS_NAME).is_file():
        return  # the second file of a preset
    yield Found(kind, path, tf_h5.open_h5 if kind == "h5" else partial(keras_h5.open_keras, kind=kind))


def _of_index(path: Path) -> Iterator[Found]:
    """An index is of the kind of its shards."""
    for shard in _shards(path):
        for found in _of_file(path.parent / shard):
            yield Found(found.format, path, _INDEX_OPENERS[found.format])
            return


def _shards(index: Path) -> list[str]:
    """File names an index names, for telling what it is; whoever opens it checks them."""
    try:
        if index.stat().st_size > MAX_INDEX:
            return []
        values = json.loads(index.read_bytes())["weight_map"].values()
        return sorted({v for v in values if isinstance(v, str) and len(v) < 256 and not {"/", "\\"} & set(v)})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        return []


def _tail(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(-min(count, path.stat().st_size), 2)
            return file.read(count)
    except OSError:
        return b""


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
